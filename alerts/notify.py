"""The ways out: SMTP and webhooks. Each answers by returning, or fails by raising `NotSent`; what it sends is given."""

import asyncio
import hashlib
import hmac
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Protocol
from urllib.error import URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import msgspec

from alerts.escalation import Channel, Message

TIMEOUT_S = 10


class NotSent(Exception):
    """It was not taken; the name of what went wrong, never a text that could quote the message."""


class Way(Protocol):
    """One channel."""

    async def send(self, target: str, message: Message) -> None: ...


class Mail:
    """SMTP with STARTTLS wherever the server offers it. The key is the Message-ID: a second delivery looks the same."""

    def __init__(self, server: str, *, sender: str, user: str = "", password: str = "") -> None:
        self._host, _, port = server.rpartition(":")
        self._port, self._sender, self._user, self._password = int(port), sender, user, password

    async def send(self, target: str, message: Message) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self._sender, target, message.subject
        mail["Message-ID"] = f"<{message.key.replace(':', '.')}@lamplight>"
        mail["X-Lamplight-Key"] = message.key
        mail.set_content(message.text)
        try:
            await asyncio.to_thread(self._deliver, mail)
        except (OSError, smtplib.SMTPException) as error:
            raise NotSent(type(error).__name__) from None

    def _deliver(self, mail: EmailMessage) -> None:
        with smtplib.SMTP(self._host, self._port, timeout=TIMEOUT_S) as server:
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=ssl.create_default_context())
                server.ehlo()
            if self._user:
                server.login(self._user, self._password)
            server.send_message(mail)


class Stays(HTTPRedirectHandler):
    """A webhook that redirects is not followed: the signature was meant for the address that was agreed."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


class Webhook:
    """JSON by POST, signed: `Lamplight-Signature: sha256=<HMAC of the body>`, and the key as `Idempotency-Key`."""

    def __init__(self, *, secret: bytes) -> None:
        self._secret = secret
        self._open = build_opener(Stays).open

    async def send(self, target: str, message: Message) -> None:
        body = msgspec.json.encode(message)
        signed = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        headers = {
            "content-type": "application/json",
            "idempotency-key": message.key,
            "lamplight-signature": f"sha256={signed}",
        }
        request = Request(target, data=body, headers=headers, method="POST")  # noqa: S310 - https only: see `escalation.refusal`
        try:
            await asyncio.to_thread(self._post, request)
        except (OSError, URLError) as error:
            raise NotSent(type(error).__name__) from None

    def _post(self, request: Request) -> None:
        with self._open(request, timeout=TIMEOUT_S):
            return


Ways = Mapping[Channel, Way]
"""The channels that are set up; a rung whose channel is missing fails as any other failure does."""
