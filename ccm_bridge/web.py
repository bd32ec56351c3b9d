"""The room's screens: tasks, timers and minutes, the month, enrolment, and the chain from a claim line back to the cuff."""

from fastapi import APIRouter

from ccm_bridge import (
    care_web,
    chain_web,
    month_web,
    packet_web,
    paper_web,
    patient_month_web,
    people_web,
    task_web,
    time_web,
)
from ccm_bridge.desk_web import Desk
from ccm_bridge.month_service import DeviceDays
from ccm_bridge.origins import Origins
from ccm_bridge.overview_service import LastMeasured


def router(
    desk: Desk,
    *,
    days: DeviceDays | None = None,
    last_measured: LastMeasured | None = None,
    origins: Origins | None = None,
) -> APIRouter:
    """Everything below /tasks, /timers, /entries, /month, /care and /chain.

    Without `days`, device days are unknown and held; without `last_measured`, rows of the month's
    overview may be ten minutes old; without `origins`, the chain ends at ids.
    """
    routes = APIRouter()
    routes.include_router(task_web.router(desk))
    routes.include_router(time_web.router(desk))
    routes.include_router(paper_web.router(desk, days, origins))
    routes.include_router(month_web.router(desk, days, last_measured))
    routes.include_router(patient_month_web.router(desk, days))
    routes.include_router(packet_web.router(desk, days, origins))
    routes.include_router(people_web.router(desk))  # before care: "practice" is no patient's id
    routes.include_router(care_web.router(desk))
    routes.include_router(chain_web.router(desk, days, origins))
    return routes
