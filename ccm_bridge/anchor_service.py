"""The daily anchor as a duty: every practice's ledger is signed once a day, and whoever watches learns when it is not.

The day is UTC's. A round looks at every practice: who has no anchor of today gets one, in a transaction of its own, so
one practice's trouble is not another's; who has one is believed only if this key signed it. The meter hears of a round
in which every practice stood signed, and of nothing else, so silence of any kind (no key, no database, no process, a
foreign signature) grows old in the same gauge.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol

import psycopg
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ccm_bridge import anchor_store
from ccm_bridge.anchor import read
from ccm_bridge.store import Connection

log = structlog.get_logger()

Transact = Callable[[], AbstractAsyncContextManager[Connection]]


class Meter(Protocol):
    """Where the numbers go."""

    def anchored(self, at: datetime) -> None:
        """Every practice's ledger stood signed for the day, as of now."""
        ...


async def sign_day(
    transact: Transact, key: Ed25519PrivateKey, elsewhere: Path | None, *, now: datetime
) -> list[str]:
    """One round. Returns why not, a sentence for each practice that does not stand signed.

    1. The anchor is written in a transaction; one that another process wrote first is taken as it stands.
    2. Before the commit its line goes to the file elsewhere: a line too many is true and harmless, one too few is not.
    3. Whatever stands must be signed by this key.
    """
    async with transact() as conn:
        practices = await anchor_store.practices(conn)
    wrong = []
    for practice in practices:
        try:
            async with transact() as conn:
                stands = await anchor_store.of_day(conn, practice, now.date())
                if stands is None and (made := await anchor_store.add(conn, practice, key, now=now)):
                    if elsewhere is not None:
                        anchor_store.keep(elsewhere, [anchor_store.as_line(made)])
                    log.info("ccm.anchored", practice=practice, day=str(now.date()), key=made.key_id)
                    stands = made
        except (psycopg.Error, OSError) as error:
            wrong.append(f"practice {practice}: not signed, {type(error).__name__}")
            continue
        if stands is not None and read(stands, key.public_key()) is None:
            wrong.append(f"practice {practice}: today's anchor is signed by another key")
    return wrong


async def keep_anchoring(
    transact: Transact,
    key: Ed25519PrivateKey,
    meter: Meter,
    clock: Callable[[], datetime],
    stopping: asyncio.Event,
    *,
    elsewhere: Path | None,
    every_s: float = 300.0,
) -> None:
    """Look every few minutes until asked to stop. What cannot be signed now is tried again next time."""
    while not stopping.is_set():
        try:
            wrong = await sign_day(transact, key, elsewhere, now=clock())
        except psycopg.Error as error:
            wrong = [f"no practice could be read, {type(error).__name__}"]
        if wrong:
            log.error("ccm.not_anchored", why=wrong)
        else:
            meter.anchored(clock())
        with suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await stopping.wait()
