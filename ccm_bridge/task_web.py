"""The work's screens: the worklist, and one task with its checklist, its timer, its minutes and where it came from."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from alerts.events import Severity
from ccm_bridge import care_service, month_store, service, store, tasks, time_store, time_web
from ccm_bridge.desk_web import Desk, form_of, refusal, safe_back, tags, today, uuid_of
from ccm_bridge.ledger import month_of, whole_minutes
from ccm_bridge.month import minutes_of
from ccm_bridge.service import WORKING, Act, Refused
from ccm_bridge.store import Connection, Work

SHOWS = {"open": "Open", "mine": "Mine", "escalated": "Waiting for the practitioner", "done": "Finished"}


def router(desk: Desk) -> APIRouter:  # noqa: C901, PLR0915 - a table of routes, each a few lines
    """`/tasks` and everything below it."""
    routes = APIRouter()

    @routes.get("/tasks")
    async def worklist(request: Request, show: str = "open") -> Response:
        who, now = desk.who(request), desk.now()
        async with desk.transaction(request) as conn:
            work = await store.worklist(conn, closed=show == "done")
            waiting = [one for one in work if one.state == tasks.State.ESCALATED]
            asked = await store.asked(conn, [one.task_id for one in waiting])
            mine = [one for one in work if one.owner_id == who.staff_id]
            shown = {"mine": mine, "escalated": waiting}.get(show, work)
            served = await month_store.served(conn, month_of(now, ZoneInfo(who.zone)))
            names = await tags(desk, conn, {one.patient_id for one in shown} | set(served), today(desk, who))
        counts = {"open": len(work), "mine": len(mine), "escalated": len(waiting)} if show != "done" else {}
        return desk.page(
            request,
            "ccm_bridge/tasks.html",
            shows=SHOWS,
            show=show if show in SHOWS else "open",
            counts=counts,
            work=shown,
            names=names,
            patients=sorted((names[p] for p in served), key=lambda t: t.name),
            asked=asked,
            may_work=who.role in WORKING,
            may_answer=who.role == "physician",
            severities=list(Severity),
            new_task=uuid4(),
            new_id=uuid4,
            due_default=(now.astimezone(ZoneInfo(who.zone)) + timedelta(days=1)).strftime("%Y-%m-%d"),
        )

    @routes.post("/tasks")
    async def add(request: Request) -> Response:
        who, form, now = desk.who(request), await form_of(request), desk.now()
        async with desk.transaction(request) as conn:
            patient_id, task_id = uuid_of(form.get("patient_id")), uuid_of(form.get("task_id"))
            if patient_id is None or task_id is None or not await desk.patients(conn, [patient_id]):
                return refusal(
                    desk, request, Refused(status=422, sentence="Choose a patient."), back="/tasks"
                )
            try:
                due = datetime.strptime(form.get("due", ""), "%Y-%m-%d").replace(
                    hour=17, tzinfo=ZoneInfo(who.zone)
                )
                severity = Severity(form.get("severity", "watch"))
            except ValueError:
                return refusal(
                    desk,
                    request,
                    Refused(status=422, sentence="Give a due date and how much it matters."),
                    back="/tasks",
                )
            made = await service.add(
                conn,
                who,
                task_id,
                patient_id=patient_id,
                title=form.get("title", ""),
                reason=form.get("reason", ""),
                severity=severity,
                due_at=due,
                items=tasks.checklist(""),
                now=now,
            )
        if isinstance(made, Refused):
            return refusal(desk, request, made, back="/tasks")
        return RedirectResponse(f"/tasks/{task_id}", status_code=303)

    @routes.post("/tasks/monthly")
    async def monthly(request: Request) -> Response:
        """What the care plans ask for this month."""
        who, now = desk.who(request), desk.now()
        async with desk.transaction(request) as conn:
            month = month_of(now, ZoneInfo(who.zone))
            made = await care_service.make_months_work(conn, who, month=month, now=now)
        if isinstance(made, Refused):
            return refusal(desk, request, made, back="/tasks")
        return RedirectResponse("/tasks", status_code=303)

    @routes.get("/tasks/episode/{episode_id}")
    async def of_episode(request: Request, episode_id: UUID) -> Response:
        """From an alert to its work: the way the alert's page links here without knowing our ids."""
        async with desk.transaction(request) as conn:
            found = await store.task_of_episode(conn, episode_id)
        if found is None:
            gone = Refused(
                status=404, sentence="No care-management work was asked for from this alert (yet)."
            )
            return refusal(desk, request, gone, back="/tasks")
        return RedirectResponse(f"/tasks/{found}", status_code=303)

    @routes.get("/tasks/{task_id}")
    async def show(request: Request, task_id: UUID) -> Response:
        async with desk.transaction(request) as conn:
            work = await store.task(conn, task_id)
            if work is None:
                return refusal(
                    desk, request, Refused(status=404, sentence="There is no such task here."), back="/tasks"
                )
            return desk.page(request, "ccm_bridge/task.html", **await _context(desk, request, conn, work))

    @routes.post("/tasks/{task_id}/moves")
    async def move(request: Request, task_id: UUID) -> Response:
        who, form = desk.who(request), await form_of(request)
        one = Act(
            move_id=uuid_of(form.get("move_id")) or uuid4(),
            task_id=task_id,
            move=form.get("move", ""),
            note=form.get("note", ""),
            to=uuid_of(form.get("to")),
        )
        back = f"/tasks/{task_id}"
        if one.move not in service.MOVE_WORDS:
            return refusal(desk, request, Refused(status=422, sentence="A task cannot do that."), back=back)
        async with desk.transaction(request) as conn:
            colleagues = await desk.colleagues(conn)
            moved = await service.move(conn, who, one, colleagues=colleagues, now=desk.now())
        if isinstance(moved, Refused):
            return refusal(desk, request, moved, back=back)
        return RedirectResponse(safe_back(form.get("back", ""), otherwise=back), status_code=303)

    @routes.post("/tasks/{task_id}/steps/{key}")
    async def step(request: Request, task_id: UUID, key: str) -> Response:
        who, form = desk.who(request), await form_of(request)
        async with desk.transaction(request) as conn:
            ticked = await service.tick(
                conn, who, task_id, key, done=form.get("done") == "yes", now=desk.now()
            )
        if isinstance(ticked, Refused):
            return refusal(desk, request, ticked, back=f"/tasks/{task_id}")
        return RedirectResponse(f"/tasks/{task_id}#checklist", status_code=303)

    return routes


async def _context(desk: Desk, request: Request, conn: Connection, work: Work) -> dict[str, Any]:
    who, now = desk.who(request), desk.now()
    month = month_of(now, ZoneInfo(who.zone))
    names = await tags(desk, conn, [work.patient_id], today(desk, who))
    told = await store.told(conn, [work.episode_id]) if work.episode_id else []
    seconds = minutes_of((await month_store.minutes(conn, month, [work.patient_id])).get(work.patient_id, ()))
    colleagues = await desk.colleagues(conn)
    return {
        "work": work,
        "patient": names[work.patient_id],
        "told": told,
        "readings": list(dict.fromkeys(reading for one in told for reading in one.readings)),
        "people": colleagues,
        "moves": await store.moves(conn, work.task_id),
        "asked": (await store.asked(conn, [work.task_id])).get(work.task_id),
        "move_words": service.MOVE_WORDS,
        "entries": await time_store.of_task(conn, work.task_id),
        "month": month,
        "minutes": {program: whole_minutes(total) for program, total in seconds.items()},
        "colleagues": {key: name for key, name in colleagues.items() if key != who.staff_id},
        "may_work": who.role in WORKING,
        "may_answer": who.role == "physician",
        "task_id": work.task_id,
        "refused": None,
        "said": {},
        "new_id": uuid4,
        **await time_web.panel(desk, conn, request, work.patient_id, concern=work.concern),
    }
