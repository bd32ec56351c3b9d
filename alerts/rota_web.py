"""The on-call rota: who is on, who follows, who covers for whom."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from alerts import rota_store
from alerts.access import CHAINS, ON_CALL
from alerts.concerns import Queue
from alerts.desk_web import instant, must_see
from alerts.pages_web import CONFLICT, Pages
from alerts.rota import Shift, gaps, next_up, on_call, refusal, swapped

Text = Annotated[str, Form()]
SHOWN = timedelta(days=14)
TAKEN = "Somebody is on call at that time already. Swap that shift instead."


def add(routes: APIRouter, pages: Pages) -> None:  # noqa: C901 - four small routes
    """`/queue/rota`."""

    @routes.get("/rota", response_class=HTMLResponse)
    async def rota(request: Request) -> HTMLResponse:
        must_see(pages.desk.who(request), Queue.TECHNICAL)
        return await _page(pages, request)

    @routes.post("/rota")
    async def put_on(
        request: Request, staff_id: Annotated[UUID, Form()], starts: Text = "", ends: Text = ""
    ) -> Response:
        desk, now = pages.desk, pages.desk.now()
        who = desk.require(request, *CHAINS)
        starts_at, ends_at = instant(starts, who.zone), instant(ends, who.zone)
        refused = refusal(starts_at, ends_at, now=now)
        if refused or starts_at is None or ends_at is None:
            return await _page(pages, request, notice=refused or "")
        async with desk.transaction(request) as conn:
            name = (await desk.colleagues(conn, roles=ON_CALL)).get(staff_id)
            if name is None:
                raise HTTPException(404, "Nobody like that works the queue here.")
            shift = Shift(
                shift_id=uuid4(),
                staff_id=staff_id,
                staff_name=name,
                starts_at=starts_at,
                ends_at=ends_at,
                added_by_name=who.name,
            )
            done = await rota_store.add(conn, [shift], practice_id=who.practice_id, by=who.staff_id, at=now)
        return await _answer(pages, request, "" if done else TAKEN)

    @routes.post("/rota/{shift_id}/swap")
    async def swap(
        request: Request,
        shift_id: UUID,
        staff_id: Annotated[UUID, Form()],
        starts: Text = "",
        ends: Text = "",
    ) -> Response:
        """Somebody covers a shift or a part of it. Whoever plans the rota may, and the two whom it concerns."""
        desk, now, act_id = pages.desk, pages.desk.now(), uuid4()
        who = desk.require(request, *CHAINS, *ON_CALL)
        async with desk.transaction(request) as conn:
            shift = await rota_store.locked(conn, shift_id)
            name = (await desk.colleagues(conn, roles=ON_CALL)).get(staff_id)
            if shift is None or name is None:
                raise HTTPException(404, "This shift is not on the rota any more. Look again.")
            if who.role not in CHAINS and who.staff_id not in (shift.staff_id, staff_id):
                raise HTTPException(403, "A swap is made by one of the two whom it concerns.")
            parts = swapped(
                shift,
                to=staff_id,
                to_name=name,
                starts_at=instant(starts, who.zone) or shift.starts_at,
                ends_at=instant(ends, who.zone) or shift.ends_at,
                act_id=act_id,
                by_name=who.name,
                now=now,
            )
            if isinstance(parts, str):
                refused = parts
            else:
                await rota_store.end(conn, shift_id, by=who.staff_id, by_name=who.name, at=now)
                await rota_store.add(conn, parts, practice_id=who.practice_id, by=who.staff_id, at=now)
                refused = ""
        return await _answer(pages, request, refused)

    @routes.post("/rota/{shift_id}/end")
    async def take_off(request: Request, shift_id: UUID) -> Response:
        desk = pages.desk
        who = desk.require(request, *CHAINS)
        async with desk.transaction(request) as conn:
            if not await rota_store.end(conn, shift_id, by=who.staff_id, by_name=who.name, at=desk.now()):
                raise HTTPException(404, "This shift is not on the rota any more. Look again.")
        return RedirectResponse("/queue/rota", status_code=303)


async def _answer(pages: Pages, request: Request, refused: str) -> Response:
    return (
        await _page(pages, request, notice=refused)
        if refused
        else RedirectResponse("/queue/rota", status_code=303)
    )


async def _page(pages: Pages, request: Request, *, notice: str = "") -> HTMLResponse:
    desk, now = pages.desk, pages.desk.now()
    who = desk.who(request)
    async with desk.transaction(request) as conn:
        shifts = await rota_store.shifts(conn, since=now, until=now + SHOWN)
        staff = await desk.colleagues(conn, roles=ON_CALL)
    return desk.page(
        request,
        "alerts/rota.html",
        status_code=CONFLICT if notice else 200,
        notice=notice,
        shifts=shifts,
        staff=staff,
        current=on_call(shifts, now),
        following=next_up(shifts, now),
        gaps=gaps(shifts, since=now, until=now + SHOWN),
        works=who.role in CHAINS,
        a_day=timedelta(days=1),
        clock=pages.act(request).clock,
    )
