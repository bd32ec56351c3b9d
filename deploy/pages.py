"""The composition root of what people and vendors' clouds talk to: pages and webhooks."""

import asyncio
from contextlib import AsyncExitStack

from alerts import web as alerts_web
from alerts.stream import Bell
from ccm_bridge import web as ccm_web
from deploy import bus, database, metrics
from deploy.calls import TimedCalls
from deploy.care_calls import LiveContacts
from deploy.device_days import device_days, last_measured
from deploy.edges import models, strongbox, utc_now
from deploy.labels import Dispositions
from deploy.lifecycle import Life, Service, serve_http
from deploy.origins import Archives
from deploy.settings import Settings
from deploy.web.frame import Desk, Link
from deploy.web.site import site
from ingest import enrol_web, fleet_web
from ingest import web as ingest_web
from ingest.ihealth_cloud import IHealth
from ingest.seal import Seal
from ingest.service import Intake
from ingest.store import Registry
from ingest.stream import Stream
from ingest.webhook_service import Door, Lane, fetch
from ingest.webhook_store import Webhooks
from ingest.webhook_web import app as webhook_app
from ingest.webhooks import Vendor
from ingest.withings_cloud import Withings
from risk import web as risk_web


async def webhooks(settings: Settings, opened: AsyncExitStack, life: Life) -> None:
    """Posts of vendors' clouds → readings.v1 and refused.v1; what they only announce is fetched"""
    settings.require("kafka", "database", "vendor_key", "refusal_key")
    pool = await opened.enter_async_context(database.pool(settings.database, size=6))
    stream = Stream(lambda: bus.producer(settings.kafka))
    opened.push_async_callback(stream.close)
    meter = metrics.IngestMeter()
    intake = Intake(Registry(pool), stream, clock=utc_now, meter=meter, strongbox=strongbox(settings))
    lane = Lane(intake, clock=utc_now, meter=meter)
    stored = Webhooks(pool, Seal(settings.vendor_key.reveal().split(",")))
    pages = webhook_app(Door(stored, lane, clock=utc_now), metrics.WebhookMeter())
    pages.include_router(enrol_web.router(pool.connection, utc_now))
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(lane.run(), name="webhooks.lane")
        fetching = group.create_task(
            fetch(
                stored,
                {Vendor.WITHINGS: Withings(), Vendor.IHEALTH: IHealth()},
                lane,
                clock=utc_now,
                meter=metrics.WebhookMeter(),
                stopping=life.stopping,
            ),
            name="webhooks.fetch",
        )
        life.ready.set()
        await serve_http(
            pages, host=settings.host, port=settings.webhooks_port, stopping=life.stopping, name="webhooks"
        )
        serving.cancel()  # whatever was not answered with 200 comes again
        fetching.cancel()


ROOMS_WITH_PAGES = ("ingest", "risk", "alerts", "ccm_bridge")
EVERYBODY = frozenset({"nurse", "coordinator", "physician", "admin", "auditor"})
LINKS = (
    Link(label="Queue", url="/queue", roles=EVERYBODY),
    Link(label="Patients", url="/patients", roles=EVERYBODY),
    Link(label="Tasks", url="/tasks", roles=EVERYBODY - {"auditor"}),
    Link(label="Month", url="/month", roles=EVERYBODY),
    Link(label="Care", url="/care", roles=EVERYBODY),
    Link(label="Devices", url="/devices", roles=EVERYBODY - {"auditor"}),
    Link(label="Who looked", url="/reads", roles=frozenset({"auditor", "admin"})),
)


async def web(settings: Settings, opened: AsyncExitStack, life: Life) -> None:
    """The pages, under row-level security."""
    settings.require("database_web")
    pool = await opened.enter_async_context(database.pool(settings.database_web, size=12))
    desk = Desk(
        pool=pool,
        clock=utc_now,
        rooms=ROOMS_WITH_PAGES,
        links=LINKS,
        secure=settings.public_url.startswith("https://"),
        scripts=("/static/ccm_bridge/timer.js",),
    )
    live, _ = await models(settings.database_web)
    bell = Bell(database.lively(settings.database_web))
    pages = site(
        desk,
        [
            alerts_web.router(desk, bell, care_calls=LiveContacts(), calls=TimedCalls(desk)),
            risk_web.router(desk, Dispositions(), live),
            ccm_web.router(desk, days=device_days, last_measured=last_measured, origins=Archives()),
            fleet_web.router(desk),
            ingest_web.router(desk, strongbox(settings)),
        ],
        static=ROOMS_WITH_PAGES,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(bell.run(life.stopping), name="web.bell")
        life.ready.set()
        await serve_http(
            pages, host=settings.host, port=settings.web_port, stopping=life.stopping, name="web"
        )


SERVICES: dict[str, Service] = {"webhooks": webhooks, "web": web}
