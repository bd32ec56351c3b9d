"""Who signs: approved requests become certificates, revoked ones go on the list, and whoever holds one is thrown out.

The only process that has the authority's key. It asks the database once a second, so that neither the pages nor ingest
need that key: they only write down what somebody decided.

Revoking takes effect in this order: (1) ingest refuses the gateway's messages from the row on, whatever the broker does;
(2) the serial is on the list and the broker has read it, so that no new connection succeeds; (3) the open connection is
taken over under the same name by a certificate of minutes, which is what ends it: a broker checks the list at the
handshake only. The gateway's queue at the broker goes with it.
"""

import asyncio
import contextlib
import shlex
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import structlog
from cryptography.hazmat.primitives import serialization
from psycopg_pool import AsyncConnectionPool

from deploy.database import OUTAGES
from deploy.native.certificates import Authority
from ingest import fleet, fleet_store
from ingest.mqtt import Broker, LineDropped, dial

log = structlog.get_logger()

EVERY_S = 1.0
THROWN_OUT_AGAIN_AFTER_S = 2.0  # the broker may have been slower than we at reading the list


async def keep(
    pool: AsyncConnectionPool,
    authority: Authority,
    *,
    reload: Callable[[], Awaitable[None]],
    throw_out: Callable[[Iterable[str]], Awaitable[None]],
    clock: Callable[[], datetime],
    stopping: asyncio.Event,
) -> None:
    """Sign and revoke until `stopping`."""
    while not stopping.is_set():
        try:
            await sign(pool, authority, now=clock())
            if ended := await revoke(pool, authority, now=clock()):
                await reload()
                await throw_out(ended)
                await asyncio.sleep(THROWN_OUT_AGAIN_AFTER_S)
                await throw_out(ended)
        except OUTAGES as error:
            log.warning("authority.database_away", error=type(error).__name__)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVERY_S):
                await stopping.wait()


async def sign(pool: AsyncConnectionPool, authority: Authority, *, now: datetime) -> int:
    """Sign what was approved; a request that is not what it was when it was approved is refused. How many were signed."""
    signed = 0
    async with pool.connection() as conn:
        for one in await fleet_store.approved(conn):
            asked = fleet.understood(one.request)
            if isinstance(asked, str) or asked.gateway_id != one.gateway_id:
                await fleet_store.unsignable(conn, one)
                continue
            made = authority.sign_request(one.request, now=now)
            signed += await fleet_store.issued(
                conn,
                one,
                certificate=made.public_bytes(serialization.Encoding.PEM).decode(),
                authority=authority.ca.read_text(),
                serial=f"{made.serial_number:x}",
                ends_at=made.not_valid_after_utc.astimezone(UTC),
                now=now,
            )
    return signed


async def revoke(pool: AsyncConnectionPool, authority: Authority, *, now: datetime) -> set[str]:
    """List what the database says is revoked and the list does not; returns the gateways concerned."""
    async with pool.connection() as conn:
        found = await fleet_store.revoked(conn, now=now)
    serials = {
        int(serial, 16) if serial is not None else authority.serial(gateway): gateway
        for gateway, serial in found
    }
    fresh = {
        serial: gateway
        for serial, gateway in serials.items()
        if serial is not None and serial not in authority.listed()
    }
    if fresh:
        authority.list_as_revoked(fresh, now=now)
        log.info("authority.revoked", certificates=len(fresh))
    return set(fresh.values())


def reloading(command: str) -> Callable[[], Awaitable[None]]:
    """Runs `command`, which makes the broker read the revocation list again; without one, that is somebody else's task."""

    async def reload() -> None:
        if not command:
            return
        process = await asyncio.create_subprocess_exec(
            *shlex.split(command), stdout=asyncio.subprocess.DEVNULL
        )
        if await process.wait() != 0:
            log.error("authority.reload_failed", code=process.returncode)

    return reload


def throwing_out(
    authority: Authority, host: str, port: int, clock: Callable[[], datetime]
) -> Callable[[Iterable[str]], Awaitable[None]]:
    """Takes over the sessions of gateways, one after the other, and ends them."""

    async def throw_out(gateways: Iterable[str]) -> None:
        for gateway_id in gateways:
            with tempfile.TemporaryDirectory(prefix="lamplight-authority-") as folder:
                mine = authority.stand_in(gateway_id, Path(folder), now=clock())
                broker = Broker(
                    host=host,
                    port=port,
                    client_id=gateway_id,
                    ca=mine.ca,
                    cert=mine.cert,
                    key=mine.key,
                    session_s=0,
                )
                try:
                    async with dial(broker, topics=[]):
                        pass
                except LineDropped as dropped:
                    log.warning("authority.not_thrown_out", why=str(dropped))

    return throw_out
