"""Many benign ones at a glance: acknowledge them together, tell the patients that somebody looked; and saved views."""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from alerts import desk_store, screen_store, service
from alerts.concerns import Queue, about
from alerts.desk_store import MOST_SAVED, Saved
from alerts.desk_web import must_see, must_work
from alerts.pages_web import CONFLICT, Pages, view_said
from alerts.row import old, quality, usual_text, value_text, years

Text = Annotated[str, Form()]
DESKS = ("nurse", "physician", "coordinator", "admin")
"""Who keeps views of their own; an auditor reads and leaves nothing behind."""


def add(routes: APIRouter, pages: Pages) -> None:
    """`/queue/benign` and `/queue/views`."""

    @routes.get("/benign", response_class=HTMLResponse)
    async def benign(request: Request, done: int | None = None, left: int = 0, told: int = 0) -> HTMLResponse:
        must_see(pages.desk.who(request), Queue.CLINICAL)
        said = ""
        if done is not None:
            said = f"{done} acknowledged." + (f" {told} patients get a receipt." if told else "")
            said += f" {left} had moved meanwhile and were left." if left else ""
        return await _page(pages, request, notice=said)

    @routes.post("/benign")
    async def acknowledge(request: Request) -> Response:
        """`number_<episode>` is what the page showed; `episode` is ticked, or `every` says all that were shown."""
        who = pages.desk.who(request)
        must_work(who, Queue.CLINICAL)
        form = await request.form()
        shown = {
            name.removeprefix("number_"): value
            for name, value in form.items()
            if name.startswith("number_") and isinstance(value, str)
        }
        chosen = shown if form.get("every") else [one for one in form.getlist("episode") if one in shown]
        try:
            seen = {UUID(str(one)): int(shown[str(one)]) for one in chosen}
        except ValueError:
            raise HTTPException(
                422, "This form is not complete. Open the page again and repeat it."
            ) from None
        if not seen:
            return await _page(pages, request, notice="Tick at least one.", status=CONFLICT)
        async with pages.desk.transaction(request) as conn:
            act = await pages.acting(request, conn)
            settled, left = await service.settle_benign(conn, act, seen)
            target = act.policy.receipts_to
            told = {episode.patient_id for episode in settled} if form.get("tell") and target else set()
            await desk_store.promise_receipts(conn, act, told, practice_id=who.practice_id, target=target)
        return RedirectResponse(
            f"/queue/benign?done={len(settled)}&left={left}&told={len(told)}", status_code=303
        )

    @routes.post("/views")
    async def keep(request: Request, name: Text = "", query: Text = "") -> Response:
        """Keep the part of the list that is shown, under a name of one's own."""
        who, now = pages.desk.require(request, *DESKS), pages.desk.now()
        view = view_said(query, pages.allowed(request))
        name = " ".join(name.split())[:40]
        async with pages.desk.transaction(request) as conn:
            full = len(await desk_store.saved(conn, who.staff_id)) >= MOST_SAVED
            saved = Saved(view_id=uuid4(), name=name, query=view.url("", page=1))
            done = (
                bool(name)
                and not full
                and await desk_store.save(
                    conn, saved, practice_id=who.practice_id, staff_id=who.staff_id, at=now
                )
            )
        if not done:
            words = "Twelve views are kept at most." if full else "Give it a name that you have not used yet."
            return await pages.the_list(request, view, notice=words, status=CONFLICT)
        return RedirectResponse(view.url(), status_code=303)

    @routes.post("/views/{view_id}/forget")
    async def forget(request: Request, view_id: UUID) -> Response:
        who = pages.desk.who(request)
        async with pages.desk.transaction(request) as conn:
            if not await desk_store.unsave(conn, view_id, staff_id=who.staff_id):
                raise HTTPException(404, "You have no such view.")
        return RedirectResponse("/queue", status_code=303)


async def _page(pages: Pages, request: Request, *, notice: str, status: int = 200) -> HTMLResponse:
    desk = pages.desk
    who = desk.who(request)
    async with desk.transaction(request) as conn:
        act = await pages.acting(request, conn)
        episodes = await screen_store.benign(conn)
        readings = await screen_store.readings(conn, [e.told_reading for e in episodes])
        patients = await desk.patients(conn, {e.patient_id for e in episodes})
    rows = []
    for episode in episodes:
        told, facts = readings.get(episode.told_reading), about(episode.concern)
        patient = patients[episode.patient_id]
        rows.append(
            {
                "episode": episode,
                "patient": patient,
                "years": years(patient.born, act.now),
                "label": facts.label,
                "value": value_text(told, facts.quantity) if told else "",
                "usual": usual_text(told, facts.quantity) if told and facts.quantity else "",
                "quality": quality(told) if told else [],
                "old": old(episode.told_effective_at, act.now) if told else "",
            }
        )
    return desk.page(
        request,
        "alerts/benign.html",
        status_code=status,
        notice=notice,
        rows=rows,
        receipts=bool(act.policy.receipts_to),
        works=who.role in ("nurse", "physician"),
        clock=act.clock,
    )
