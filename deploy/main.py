"""The composition root: which edges each service opens, in order, and how they meet. One straight line each.

The services with pages are in `pages`, which only they load; what both open alike is in `edges`.
"""

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from alerts.burden_service import keep_measuring
from alerts.escalation import Channel
from alerts.events import ALERTS, EpisodeMoved
from alerts.notify import Mail, Way, Webhook
from alerts.page_service import keep_calling
from alerts.service import AlertsRoom, keep_time
from ccm_bridge.anchor_service import keep_anchoring
from ccm_bridge.service import CcmRoom
from deploy import authority as signing
from deploy import bus, database, metrics
from deploy.course import Course, consumer
from deploy.edges import models, signer, strongbox, utc_now
from deploy.homes import Hubs
from deploy.lifecycle import Life, Service
from deploy.native.certificates import Authority
from deploy.people import Staff
from deploy.pump import Pump
from deploy.relay import Relay
from deploy.settings import Settings
from ingest import wire
from ingest.archive import ReadingArchive, RefusalArchive
from ingest.events import READINGS, REFUSED, Refused, Told
from ingest.fleet_service import Errands
from ingest.mqtt import Broker, dial
from ingest.replay_store import Orders
from ingest.service import run as listening
from ingest.store import Registry
from ingest.stream import Stream
from risk.events import SCORES, Said
from risk.service import RiskRoom

READS: Any = Told
HEARS: Any = Said
"""Unions of tagged events: the decoder takes them, the type checker does not take them for a type."""

BRIDGE = "bridge"
"""Ingest's name at the broker: the common name of its certificate, and so its user and its client id."""


def owner() -> str:
    """Who we are in the partition table: for people who look, the epoch is what counts."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def pumped(
    settings: Settings, opened: AsyncExitStack, life: Life, *courses: tuple[Course[Any], Any]
) -> None:
    """Run rooms on their courses, each with its relay where it has a target, until asked to stop."""
    settings.require("kafka", "database")
    pool = await opened.enter_async_context(database.pool(settings.database, size=1 + len(courses)))
    async with asyncio.TaskGroup() as group:
        for course, room in courses:
            meter = metrics.RoomMeter(course.room)
            wake = None
            if course.target:
                relay = Relay(course.room, bootstrap=settings.kafka, dsn=settings.database, meter=meter)
                wake = relay.wake
                group.create_task(relay.run(life.stopping), name=f"{course.room}.relay")
            feed = await opened.enter_async_context(consumer(settings.kafka, course))
            pump = Pump(
                course,
                room,
                consumer=feed,
                pool=pool,
                clock=utc_now,
                meter=meter,
                owner=owner(),
                wake=wake or (lambda: None),
            )
            group.create_task(pump.run(life.stopping), name=f"{course.room}.pump")
        life.ready.set()


async def listen(settings: Settings, opened: AsyncExitStack, life: Life) -> None:
    """MQTT → readings.v1 and refused.v1"""
    settings.require("kafka", "database", "mqtt", "mqtt_ca", "mqtt_cert", "mqtt_key", "refusal_key")
    assert settings.mqtt_ca and settings.mqtt_cert and settings.mqtt_key  # noqa: PT018, S101 - just required
    pool = await opened.enter_async_context(database.pool(settings.database))
    stream = Stream(lambda: bus.producer(settings.kafka))
    opened.push_async_callback(stream.close)
    meter = metrics.IngestMeter()
    host, _, port = settings.mqtt.rpartition(":")
    broker = Broker(
        host=host,
        port=int(port),
        client_id=BRIDGE,
        ca=settings.mqtt_ca,
        cert=settings.mqtt_cert,
        key=settings.mqtt_key,
    )
    await listening(
        partial(dial, broker, topics=[wire.EVERYTHING, wire.DROPPED]),
        Registry(pool),
        stream,
        name=BRIDGE,
        clock=utc_now,
        meter=meter,
        stopping=life.stopping,
        ready=life.ready,
        strongbox=strongbox(settings),
        orders=Orders(pool),
        errands=Errands(pool, clock=utc_now, meter=meter),
    )


async def authority(settings: Settings, opened: AsyncExitStack, life: Life) -> None:
    """Approved requests → certificates; revoked gateways → the revocation list, and out"""
    settings.require("database", "authority", "mqtt")
    assert settings.authority  # noqa: S101 - just required
    pool = await opened.enter_async_context(database.pool(settings.database, size=2))
    holder = Authority(settings.authority)
    host, _, port = settings.mqtt.rpartition(":")
    life.ready.set()
    await signing.keep(
        pool,
        holder,
        reload=signing.reloading(settings.broker_reload),
        throw_out=signing.throwing_out(holder, host, int(port), utc_now),
        clock=utc_now,
        stopping=life.stopping,
    )


async def archive(settings: Settings, opened: AsyncExitStack, life: Life) -> None:
    """readings.v1 and refused.v1 → the archive; what people take back or correct → readings.v1"""
    settings.require("kafka", "database")
    relay = Relay(
        "ingest", bootstrap=settings.kafka, dsn=settings.database, meter=metrics.RoomMeter("ingest")
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(relay.run(life.stopping), name="ingest.relay")
        await archives(settings, opened, life)


async def archives(settings: Settings, opened: AsyncExitStack, life: Life) -> None:
    """The two courses of the archive."""
    await pumped(
        settings,
        opened,
        life,
        (
            Course(room="archive", source=READINGS, reads=READS, target=None, recognises=True),
            ReadingArchive(),
        ),
        (
            Course(room="refusals", source=REFUSED, reads=Refused, target=None, recognises=True),
            RefusalArchive(),
        ),
    )


async def risk(settings: Settings, opened: AsyncExitStack, life: Life) -> None:
    """readings.v1 → scores.v1"""
    settings.require("kafka", "database")
    live, shadow = await models(settings.database)
    await pumped(
        settings,
        opened,
        life,
        (Course(room="risk", source=READINGS, reads=READS, target=SCORES), RiskRoom(live, shadow=shadow)),
    )


def ways(settings: Settings) -> dict[Channel, Way]:
    """The channels that are set up for calls to people."""
    found: dict[Channel, Way] = {}
    if settings.smtp:
        settings.require("smtp_from")
        found[Channel.EMAIL] = Mail(
            settings.smtp,
            sender=settings.smtp_from,
            user=settings.smtp_user,
            password=settings.smtp_password.reveal(),
        )
    if settings.webhook_secret:
        found[Channel.WEBHOOK] = Webhook(secret=settings.webhook_secret.reveal().encode())
    return found


async def alerts(settings: Settings, opened: AsyncExitStack, life: Life) -> None:
    """scores.v1 → alerts.v1; what ends by itself (forgotten claims, snoozes, rests); calls when nobody comes"""
    settings.require("database")
    pool = await opened.enter_async_context(database.pool(settings.database, size=2))
    async with asyncio.TaskGroup() as group:
        group.create_task(
            keep_calling(
                pool.connection,
                ways(settings),
                utc_now,
                life.stopping,
                public_url=settings.public_url,
                people=Staff(),
            ),
            name="alerts.calls",
        )
        group.create_task(
            keep_time(pool.connection, utc_now, life.stopping, homes=Hubs()), name="alerts.timers"
        )
        group.create_task(
            keep_measuring(pool.connection, metrics.BurdenMeter(), utc_now, life.stopping),
            name="alerts.burden",
        )
        await pumped(
            settings,
            opened,
            life,
            (Course(room="alerts", source=SCORES, reads=HEARS, target=ALERTS), AlertsRoom()),
        )


async def ccm(settings: Settings, opened: AsyncExitStack, life: Life) -> None:
    """alerts.v1 → tasks; every practice's ledger → its signed anchor of the day"""
    settings.require("database")
    key = signer(settings)
    async with asyncio.TaskGroup() as group:
        if key:
            pool = await opened.enter_async_context(database.pool(settings.database, size=1))
            group.create_task(
                keep_anchoring(
                    pool.connection,
                    key,
                    metrics.LedgerMeter(),
                    utc_now,
                    life.stopping,
                    elsewhere=settings.anchors,
                ),
                name="ccm.anchor",
            )
        await pumped(
            settings,
            opened,
            life,
            (Course(room="ccm", source=ALERTS, reads=EpisodeMoved, target=None), CcmRoom()),
        )


SERVICES: dict[str, Service] = {
    "ingest": listen,
    "archive": archive,
    "risk": risk,
    "alerts": alerts,
    "ccm": ccm,
    "authority": authority,
}


def service(name: str) -> Service:
    """The service of that name. Those with pages load what pages need; the others start without it in half the time."""
    if name in SERVICES:
        return SERVICES[name]
    from deploy import pages  # noqa: PLC0415 - see above

    return pages.SERVICES[name]
