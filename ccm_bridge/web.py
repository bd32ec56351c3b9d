"""The room's screens: tasks, timers and minutes, the month."""

from fastapi import APIRouter

from ccm_bridge import month_web, task_web, time_web
from ccm_bridge.desk_web import Desk
from ccm_bridge.month_service import DeviceDays


def router(desk: Desk, *, days: DeviceDays | None = None) -> APIRouter:
    """Everything below /tasks, /timers, /entries and /month. Without `days`, device days are unknown and held."""
    routes = APIRouter()
    routes.include_router(task_web.router(desk))
    routes.include_router(time_web.router(desk))
    routes.include_router(month_web.router(desk, days))
    return routes
