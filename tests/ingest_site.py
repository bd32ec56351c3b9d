"""The Devices pages over a home's database, with people to sign in, and refusals to look at."""

import secrets
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import msgspec
import psycopg

from deploy import database
from deploy.settings import Secret
from deploy.web import session
from deploy.web.frame import Desk, Link
from deploy.web.site import site
from ingest import web
from ingest.archive import RefusalArchive
from ingest.identity import Assignment, Device, Gateway
from ingest.recent import Recent
from ingest.sorting import Known, read, sort
from tests.ingest_home import STRONGBOX, utc_now

HERE = "http://testserver"
EVERYBODY = frozenset({"nurse", "coordinator", "physician", "admin", "auditor"})


class Site:
    """Ana is nurse and Otto auditor of practice 1, Chris is nurse of practice 2."""

    def __init__(self, home, pool, *, strongbox=STRONGBOX, clock=utc_now, more=()):
        self.home, self.clock = home, clock
        links = [Link(label="Devices", url="/devices", roles=EVERYBODY)]
        self.desk = Desk(pool=pool, clock=clock, rooms=("ingest",), links=links, secure=False)
        self.app = site(self.desk, [web.router(self.desk, strongbox), *more], static=["ingest"])
        self.staff = {"ana": (1, "nurse"), "otto": (1, "auditor"), "chris": (2, "nurse")}
        self.ids = {name: uuid4() for name in self.staff}
        with psycopg.connect(home.fresh.pipeline) as conn:
            for name, (practice, role) in self.staff.items():
                conn.execute(
                    """INSERT INTO who.staff (staff_id, practice_id, email, name, role, password_hash)
                       VALUES (%s, %s, %s, %s, %s, 'nobody signs in with it')""",
                    (self.ids[name], practice, f"{name}@example.org", name.title(), role),
                )

    async def token(self, name):
        """A cookie and its CSRF word."""
        token, csrf = secrets.token_urlsafe(16), secrets.token_urlsafe(8)
        async with self.desk.pool.connection() as conn:
            await conn.execute(
                "INSERT INTO who.session (token_hash, staff_id, csrf, created_at, seen_at) VALUES (%s, %s, %s, %s, %s)",
                (session.token_hash(token), self.ids[name], csrf, self.clock(), self.clock()),
            )
        return token, csrf

    @asynccontextmanager
    async def browser(self, name):
        token, csrf = await self.token(name)
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(
            transport=transport, base_url=HERE, cookies={"lamplight": token}
        ) as client:
            yield Hands(client, csrf)


class Hands:
    def __init__(self, client, csrf):
        self.client, self.csrf = client, csrf

    async def get(self, url):
        return await self.client.get(url)

    async def post(self, url, **fields):
        return await self.client.post(url, data={"csrf": self.csrf, **fields}, headers={"origin": HERE})


@asynccontextmanager
async def a_site(home, **more):
    async with database.pool(Secret(home.fresh.web)) as pool:
        yield Site(home, pool, **more)


async def refuse(home, *payloads, gateway=None, family="canonical", at=None):
    """Say these at the door, and archive what was refused, sealed, as ingest and archive do; returns the ids."""
    at = at or utc_now()
    gateway = gateway or home.gateway
    raws = [one if isinstance(one, bytes) else msgspec.json.encode(one) for one in payloads]
    messages = [read(gateway, family, raw)[0] for raw in raws]
    hers = Assignment(home.maria, at - timedelta(days=900), None, "America/New_York")
    known = Known(
        {home.gateway: Gateway(1), home.other_gateway: Gateway(2)},
        {
            home.meter: Device(1, [hers], True),
            home.cuff: Device(1, [hers], True),
            home.drawer_meter: Device(1, [], False),
        },
    )
    refused = []
    for one in sort(messages, known, Recent(), at).refused:
        key_id, raw = STRONGBOX.close(one.raw, one.event_id)
        refused.append(msgspec.structs.replace(one, key_id=key_id, raw=raw))
    async with await psycopg.AsyncConnection.connect(home.fresh.pipeline) as conn:
        await RefusalArchive().handle(conn, refused, now=at)
    return [one.event_id for one in refused]


def pressure(device, systolic, diastolic, **more):
    return {
        "id": str(uuid4()), "device": device, "kind": "bp", "systolic": systolic, "diastolic": diastolic, "pulse": 71, **more,
    }  # fmt: skip


__all__ = ["HERE", "UUID", "Site", "a_site", "pressure", "refuse"]
