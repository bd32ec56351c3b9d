"""Today so far: what came, what became of it, and who carries how much."""

from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from alerts import report_store, rota_store
from alerts.access import seen_by
from alerts.burden import Burden, minutes_text, quantile, weigh
from alerts.concerns import Queue
from alerts.desk_web import midnight, must_see
from alerts.pages_web import Pages
from alerts.report_store import Worked
from alerts.rota import on_call
from alerts.worklist import Viewer, waiting
from alerts.worklist_store import worklist


class Load(NamedTuple):
    """One person's day."""

    name: str
    holds: int
    claimed: int
    settled: int
    contacts: int
    escalated: int


class Day(NamedTuple):
    """The practice's day."""

    calls: int
    settled: int
    contacts: int
    to_come: tuple[float, float] | None  # minutes: half, nine of ten


def add(routes: APIRouter, pages: Pages) -> None:
    """`/queue/today`."""

    @routes.get("/today", response_class=HTMLResponse)
    async def today(request: Request) -> HTMLResponse:
        desk = pages.desk
        who, now = desk.who(request), desk.now()
        must_see(who, Queue.CLINICAL)
        since, queues = midnight(who, now), seen_by(who.role)
        async with desk.transaction(request) as conn:
            calls = await report_store.calls(conn, since=since, until=now + timedelta(seconds=1))
            worked = await report_store.worked(conn, since=since)
            holds = await report_store.holding(conn, queues)
            tallies, _ = await worklist(conn, [Queue.CLINICAL], Viewer(who.staff_id, provider=True), now=now)
            overdue = await report_store.overdue(conn, now=now)
            names = await desk.colleagues(conn)
            shifts = await rota_store.shifts(conn, since=now, until=now)
        burden = weigh(
            calls, patients=0, readings=0, since=since, until=now, policy=pages.policy, overdue=overdue
        )
        waits = sorted((c.came_at - c.at).total_seconds() / 60 for c in calls if c.came_at is not None)
        return desk.page(
            request,
            "alerts/today.html",
            burden=burden,
            day=Day(
                calls=_calls(burden),
                settled=sum(one.settled for one in worked),
                contacts=sum(one.contacts for one in worked),
                to_come=(quantile(waits, 0.5), quantile(waits, 0.9)) if waits else None,
            ),
            waiting=waiting(tallies),
            load=_load(worked, holds, names),
            current=on_call(shifts, now),
            minutes=minutes_text,
            clock=pages.act(request).clock,
        )


def _calls(burden: Burden) -> int:
    return sum(share.calls for share in burden.by_severity)


def _load(worked: list[Worked], holds: Mapping[UUID, int], names: Mapping[UUID, str]) -> list[Load]:
    """One line for everybody who did or holds something, whoever holds most first."""
    done = {one.by: one for one in worked}
    lines = []
    for staff_id in done.keys() | holds.keys():
        one = done.get(staff_id) or Worked(by=staff_id, by_name=names.get(staff_id, "A colleague"))
        lines.append(
            Load(one.by_name, holds.get(staff_id, 0), one.claimed, one.settled, one.contacts, one.escalated)
        )
    return sorted(lines, key=lambda line: (-line.holds, -line.settled, line.name))
