"""Who looked at whom: every page about one patient leaves a row, in the transaction that read it; and the list of them."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from deploy.database import Connection
from deploy.web.session import Who

if TYPE_CHECKING:
    from deploy.web.frame import Desk

PATIENT_OF: Final = {
    "patient_id": "%(id)s::uuid",
    "episode_id": "(SELECT patient_id FROM alerts.episode WHERE episode_id = %(id)s::uuid)",
    "task_id": "(SELECT patient_id FROM ccm.task WHERE task_id = %(id)s::uuid)",
    "entry_id": "(SELECT patient_id FROM ccm.time_entry WHERE entry_id = %(id)s::uuid)",
    "reading_id": "(SELECT patient_id FROM ingest.reading WHERE event_id = %(id)s::uuid)",
}
"""The names of ids in addresses, and whose they are. This ring may ask every room's tables; the rooms may not."""
PAGES: Final = {
    "episode": "Alert episode",
    "patients": "Patient's numbers",
    "month": "Month",
    "care": "Care plan",
    "tasks": "Care task",
    "chain": "Chain of evidence",
    "readings": "Reading",
}
READERS: Final = ("auditor", "admin")


async def record(conn: Connection, request: Request, who: Who, *, now: datetime) -> None:
    """Write down that this person is shown this patient, if the address names one. Once a request.

    In the reader's own transaction: if it cannot be written, nothing is shown; if nothing is shown, it is not written.
    """
    if request.method != "GET" or getattr(request.state, "recorded", False):
        return
    found = next(
        ((name, request.path_params[name]) for name in PATIENT_OF if name in request.path_params), None
    )
    if found is None:
        return
    request.state.recorded = True
    try:
        object_id = UUID(str(found[1]))
    except ValueError:
        return  # names nothing: the page will say so
    route: Any = request.scope.get("route")
    await conn.execute(
        f"""INSERT INTO audit.read (practice_id, at, staff_id, staff_name, staff_role, patient_id, page, object_id)
            SELECT %(practice)s, %(at)s, %(staff)s, %(name)s, %(role)s, p.patient_id, %(page)s, (%(id)s::uuid)::text
              FROM who.patient p WHERE p.patient_id = {PATIENT_OF[found[0]]}""",  # noqa: S608 - a fixed text of ours
        {
            "practice": who.practice_id,
            "at": now,
            "staff": who.staff_id,
            "name": who.name,
            "role": who.role,
            "page": getattr(route, "path", "?"),
            "id": str(object_id),
        },
    )  # fmt: skip


def page_name(route: str) -> str:
    """The route in words.

    >>> page_name("/queue/episode/{episode_id}"), page_name("/month/{text}/patient/{patient_id}/letter")
    ('Alert episode', 'Month: letter')
    """
    parts = [part for part in route.split("/") if part and not part.startswith("{")]
    known = next((PAGES[part] for part in reversed(parts) if part in PAGES), route)
    last = parts[-1] if parts else ""
    return (
        known
        if last in PAGES or last in ("patient", "entry", "reading")
        else f"{known}: {last.split('.')[0]}"
    )


def router(desk: "Desk") -> APIRouter:
    """`/reads`: for the auditor and the admin."""
    routes = APIRouter()

    @routes.get("/reads", response_class=HTMLResponse)
    async def reads(
        request: Request,
        staff: UUID | None = None,
        patient: UUID | None = None,
        days: Annotated[int, Query(ge=1, le=366)] = 7,
        page: Annotated[int, Query(ge=1, le=1000)] = 1,
    ) -> HTMLResponse:
        desk.require(request, *READERS)
        now, each = desk.now(), 100
        async with desk.transaction(request) as conn:
            rows = await (
                await conn.execute(
                    """SELECT at, staff_id, staff_name, staff_role, patient_id, page, object_id FROM audit.read
                        WHERE at >= %(since)s AND (%(staff)s::uuid IS NULL OR staff_id = %(staff)s)
                          AND (%(patient)s::uuid IS NULL OR patient_id = %(patient)s)
                        ORDER BY at DESC, seq DESC LIMIT %(limit)s OFFSET %(offset)s""",
                    {
                        "since": now - timedelta(days=days),
                        "staff": staff,
                        "patient": patient,
                        "limit": each + 1,
                        "offset": (page - 1) * each,
                    },
                )
            ).fetchall()
            people = await desk.patients(conn, {row[4] for row in rows} | ({patient} if patient else set()))
            colleagues = await desk.colleagues(conn)
        return desk.page(
            request,
            "web/reads.html",
            rows=rows[:each],
            more=len(rows) > each,
            page=page,
            days=days,
            staff=staff,
            patient=patient,
            people=people,
            colleagues=colleagues,
            page_name=page_name,
        )

    return routes
