"""The demo's mail server: takes the calls that go out when nobody comes, delivers to nobody, keeps each as a file."""

import signal
from datetime import UTC, datetime
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Mailbox:
    """One `.eml` per mail, named by when it came."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - the library's name
        content = envelope.content or b""
        name = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S-%f}.eml"
        to = ", ".join(envelope.rcpt_tos)
        text = content if isinstance(content, bytes) else content.encode()
        (self._folder / name).write_bytes(f"X-Kept-For: {to}\r\n".encode() + text)
        return "250 kept"


def keep(folder: Path, port: int) -> None:
    """Take mail on this machine until the process is asked to end."""
    folder.mkdir(parents=True, exist_ok=True)
    Controller(Mailbox(folder), hostname="127.0.0.1", port=port).start()
    signal.pause()
