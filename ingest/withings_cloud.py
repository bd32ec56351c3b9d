"""Withings over HTTPS: measures of one account, with its tokens renewed when they have run out."""

import asyncio
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ingest.webhook_service import Renewed
from ingest.webhook_store import Account, Tokens

BASE: Final = "https://wbsapi.withings.net"
PRESSURES: Final = "9,10,11"  # diastolic, systolic, pulse
TOKEN_OVER: Final = frozenset({100, 101, 102, 200, 401})  # HTTP says 200 all the same
PATIENCE_S: Final = 20
LARGEST: Final = 1 << 20


class Withings:
    """`POST /measure` (action getmeas) and `POST /v2/oauth2` (action requesttoken)."""

    def __init__(self, base: str = BASE) -> None:
        self._base = base

    async def measures(self, account: Account, *, since: int | None, until: int | None) -> Renewed:
        """The answer of the vendor as it is; a status other than 0 inside an HTTP 200 is trouble, not data."""
        form: dict[str, str] = {"action": "getmeas", "meastypes": PRESSURES, "category": "1"}
        form |= {
            name: str(second)
            for name, second in (("startdate", since), ("enddate", until))
            if second is not None
        }
        body, status = await self._post("/measure", form, account.tokens.access)
        tokens = None
        if status in TOKEN_OVER:
            tokens, trouble = await self._renew(account)
            if tokens is None:
                return Renewed(None, trouble=trouble)
            body, status = await self._post("/measure", form, tokens.access)
        if status != 0:
            return Renewed(None, tokens, trouble=f"status-{status}")
        return Renewed(body, tokens)

    async def _renew(self, account: Account) -> tuple[Tokens | None, str]:
        form = {
            "action": "requesttoken",
            "grant_type": "refresh_token",
            "client_id": account.client.client_id,
            "client_secret": account.client.client_secret,
            "refresh_token": account.tokens.refresh,
        }
        body, status = await self._post("/v2/oauth2", form)
        if status != 0:
            return None, f"token-status-{status}"
        told = _object(_object(_json(body)).get("body"))
        access, refresh = told.get("access_token"), told.get("refresh_token")
        if not isinstance(access, str) or not isinstance(refresh, str):
            return None, "token-missing"
        return Tokens(access=access, refresh=refresh), ""

    async def _post(self, path: str, form: Mapping[str, str], token: str | None = None) -> tuple[bytes, int]:
        """Body and the vendor's own status; -1: no answer, or one that is not theirs."""
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        data = urllib.parse.urlencode(form).encode()
        asked = urllib.request.Request(self._base + path, data, headers)  # noqa: S310 - our own constant

        def ask() -> bytes:
            with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:  # noqa: S310
                body: bytes = answer.read(LARGEST)
                return body

        try:
            body = await asyncio.to_thread(ask)
        except (urllib.error.URLError, OSError):
            return b"", -1
        status = _object(_json(body)).get("status")
        return body, status if isinstance(status, int) else -1


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None


def _object(said: Any) -> dict[str, Any]:
    return said if isinstance(said, dict) else {}
