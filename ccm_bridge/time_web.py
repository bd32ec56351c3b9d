"""The minutes' screens: the timer's endpoints, logging, attested entries, voids."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from ccm_bridge import enrolment_store, plan_store, store, time_service, time_store, timer
from ccm_bridge.desk_web import (
    Desk,
    Form,
    form_of,
    local_instant,
    refusal,
    safe_back,
    tag,
    tags,
    today,
    uuid_of,
    wants_json,
)
from ccm_bridge.enrolment import PRACTITIONERS, Program
from ccm_bridge.ledger import ACTIVITIES, LIVE, Contact, Doing
from ccm_bridge.plan_problem import fitting
from ccm_bridge.service import Refused, Who, clinical
from ccm_bridge.store import Connection
from ccm_bridge.time_store import Timer

IDLE_S, IDLE_CALL_S = 120, 1200
"""Seconds without a touch of the keyboard or mouse after which the timer pauses itself; longer while on a call."""

CALLS = frozenset({"check_in", "symptom_review", "caregiver", "education", "transition"})
"""Activities during which hands rest while people talk."""

CONTACTS = {
    Contact.NONE: "No contact",
    Contact.PHONE: "Phone",
    Contact.VIDEO: "Video",
    Contact.IN_PERSON: "In person",
    Contact.MESSAGE: "Message or voicemail",
}


def read_doing(
    form: Form, *, patient_id: UUID, task_id: UUID | None, readings: tuple[UUID, ...]
) -> Doing | Refused:
    """What a log form says, or what is wrong with it."""
    if form.get("program") not in set(Program):
        return Refused(status=422, sentence="Choose the programme that this time belongs to.")
    if form.get("activity") not in ACTIVITIES:
        return Refused(status=422, sentence="Choose what kind of work it was.")
    if form.get("contact") not in set(Contact):
        return Refused(status=422, sentence="Say whether there was contact, and how.")
    contact = Contact(form["contact"])
    return Doing(
        patient_id=patient_id,
        program=form["program"],
        activity=form["activity"],
        note=form.get("note", ""),
        problem=form.get("problem", ""),
        outcome=form.get("outcome", ""),
        contact=contact,
        contact_with=form.get("contact_with", "") if contact is not Contact.NONE else "",
        interactive=form.get("interactive") == "yes" and contact in LIVE,
        as_clinical_staff=form.get("as_clinical_staff") == "yes",
        task_id=task_id,
        readings=readings,
    )


async def panel(
    desk: Desk, conn: Connection, request: Request, patient_id: UUID | None, *, concern: str | None = None
) -> dict[str, Any]:
    """What the timer panel and the log form need: this person's timer, the patient's programmes and problems.

    `concern`: the alert that the work is about; the form then proposes the problem of the plan that fits it.
    """
    who, now = desk.who(request), desk.now()
    own = await time_store.open_timer(conn, who.staff_id)
    proved = await time_service.measured(conn, own.timer_id) if own else None
    other = None
    if own and own.patient_id != patient_id:
        found = await desk.patients(conn, [own.patient_id])
        other = tag(own.patient_id, found.get(own.patient_id), today(desk, who))
    enrolled = (await enrolment_store.enrolments(conn, [patient_id])).get(patient_id) if patient_id else None
    plan = (await plan_store.plans(conn, [patient_id], before=now)).get(patient_id) if patient_id else None
    practice = ZoneInfo(who.zone)
    return {
        "timer": own,
        "timer_patient": other,
        "proved": proved,
        "silent": own is not None and _silent(own, now),
        "idle_after_s": IDLE_CALL_S if own and own.activity in CALLS else IDLE_S,
        "may_log": clinical(who) is None,
        "may_log_why": getattr(clinical(who), "sentence", ""),
        "programs": sorted(enrolled.programs) if enrolled and enrolled.programs else [Program.CCM],
        "problems": [problem.name for problem in plan.content.problems] if plan else [],
        "fit": fitting(concern, plan.content.problems if plan else ()),
        "activities": ACTIVITIES,
        "contacts": CONTACTS,
        "practitioner": (who.credential or "").upper() in PRACTITIONERS,
        "attestation": time_service.ATTESTATION,
        "now_local": now.astimezone(practice).strftime("%Y-%m-%dT%H:%M"),
        "started_local": own.started_at.astimezone(practice).strftime("%Y-%m-%dT%H:%M") if own else "",
        "new_timer": uuid4(),
        "new_entry": uuid4(),
        "every_s": int(timer.EVERY.total_seconds()),
    }


def as_json(found: Timer, seconds: int, name: str, *, silent: bool) -> JSONResponse:
    """What the script needs to go on."""
    return JSONResponse(
        {
            "timer_id": str(found.timer_id),
            "state": found.state,
            "silent": silent,
            "patient": name,
            "page": f"/tasks/{found.task_id}" if found.task_id else f"/timers/{found.timer_id}",
            "seconds": seconds,
            "last_n": found.last_n,
            "stretch": found.last_stretch,
            "idle_s": IDLE_CALL_S if found.activity in CALLS else IDLE_S,
            "every_s": int(timer.EVERY.total_seconds()),
        }
    )


def router(desk: Desk) -> APIRouter:  # noqa: C901, PLR0915 - a table of routes, each a few lines
    """Timers and entries. Every POST is safe to repeat: its ids were made with the page."""
    routes = APIRouter()

    async def answer(request: Request, conn: Connection, found: Timer | Refused, back: str) -> Response:
        if isinstance(found, Refused):
            return refusal(desk, request, found, back=back)
        if wants_json(request):
            proved = await time_service.measured(conn, found.timer_id)
            return as_json(found, proved.seconds, "", silent=_silent(found, desk.now()))
        return RedirectResponse(page_of(found), status_code=303)

    @routes.get("/timers/mine")
    async def mine(request: Request) -> Response:
        """The asker's unfinished timer, for the script that follows them from page to page."""
        who = desk.who(request)
        async with desk.transaction(request) as conn:
            found = await time_store.open_timer(conn, who.staff_id)
            if found is None:
                return JSONResponse(None)
            seconds = (await time_service.measured(conn, found.timer_id)).seconds
            names = await tags(desk, conn, [found.patient_id], today(desk, who))
            name = names[found.patient_id].name
            return as_json(found, seconds, name, silent=_silent(found, desk.now()))

    @routes.post("/timers")
    async def start(request: Request) -> Response:
        who, form = desk.who(request), await form_of(request)
        timer_id, task_id = uuid_of(form.get("timer_id")), uuid_of(form.get("task_id"))
        back = f"/tasks/{task_id}" if task_id else "/tasks"
        async with desk.transaction(request) as conn:
            patient_id = uuid_of(form.get("patient_id"))
            if task_id:
                work = await store.task(conn, task_id)
                patient_id = work.patient_id if work else None
            if timer_id is None or patient_id is None or not await desk.patients(conn, [patient_id]):
                return refusal(
                    desk, request, Refused(status=404, sentence="There is no such patient here."), back=back
                )
            if form.get("program") not in set(Program) or form.get("activity") not in ACTIVITIES:
                return refusal(
                    desk, request, Refused(status=422, sentence="Choose programme and activity."), back=back
                )
            found = await time_service.start(
                conn,
                who,
                timer_id,
                patient_id=patient_id,
                task_id=task_id,
                program=form["program"],
                activity=form["activity"],
                now=desk.now(),
            )
            return await answer(request, conn, found, back)

    @routes.get("/timers/{timer_id}")
    async def show(request: Request, timer_id: UUID) -> Response:
        """The page of a timer that belongs to no task."""
        who = desk.who(request)
        async with desk.transaction(request) as conn:
            found = await time_store.timer(conn, timer_id, staff_id=who.staff_id)
            if found is None:
                return refusal(
                    desk, request, Refused(status=404, sentence="You have no such timer."), back="/tasks"
                )
            return await timer_page(desk, request, conn, found)

    @routes.post("/timers/{timer_id}/beat")
    async def beat(request: Request, timer_id: UUID) -> Response:
        who, form = desk.who(request), await form_of(request)
        try:
            n, stretch, ago = int(form["n"]), int(form["stretch"]), float(form.get("ago", "0"))
        except (KeyError, ValueError):
            return JSONResponse({"refused": "A beat names its number and stretch."}, status_code=422)
        if not (0 < n < 100_000 and 0 <= stretch < 100_000):  # noqa: PLR2004 - weeks of beats
            return JSONResponse({"refused": "A beat names its number and stretch."}, status_code=422)
        async with desk.transaction(request) as conn:
            found = await time_service.beat(
                conn, who, timer_id, n=n, stretch=stretch, ago=ago, now=desk.now()
            )
            if isinstance(found, Refused):
                return JSONResponse({"refused": found.sentence}, status_code=found.status)
            # Another page of this person may beat faster: a number used before would be taken for the same beat.
            return JSONResponse({"state": found.state, "last_n": max(n, found.last_n)})

    @routes.post("/timers/{timer_id}/{turn}")
    async def turn(request: Request, timer_id: UUID, turn: str) -> Response:
        """Pause, resume, stop, discard; or log, which answers with entries."""
        who, now = desk.who(request), desk.now()
        async with desk.transaction(request) as conn:
            match turn:
                case "pause":
                    found = await time_service.pause(conn, who, timer_id, now=now)
                case "resume":
                    found = await time_service.resume(conn, who, timer_id, now=now)
                case "stop":
                    found = await time_service.stop(conn, who, timer_id, now=now)
                case "discard":
                    found = await time_service.discard(conn, who, timer_id)
                    if isinstance(found, Timer) and not wants_json(request):
                        where = f"/tasks/{found.task_id}" if found.task_id else "/tasks"
                        return RedirectResponse(where, status_code=303)
                case "log":
                    return await log(request, conn, timer_id, now)
                case _:
                    found = Refused(status=404, sentence="A timer cannot do that.")
            return await answer(request, conn, found, back="/tasks")

    async def log(request: Request, conn: Connection, timer_id: UUID, now: datetime) -> Response:
        """Measured time becomes entries; time that no beat proves is confirmed by hand in the same form."""
        who, form = desk.who(request), await form_of(request)
        found = await time_store.timer(conn, timer_id, staff_id=who.staff_id)
        if found is None:
            return refusal(
                desk, request, Refused(status=404, sentence="You have no such timer."), back="/tasks"
            )
        readings = await time_service.doing_for(conn, found.task_id)
        doing = read_doing(form, patient_id=found.patient_id, task_id=found.task_id, readings=readings)
        if isinstance(doing, Refused):
            logged: object = doing
        elif "start" in form:
            logged = await _by_hand(conn, who, timer_id, doing, form, now=now, timer_id=timer_id)
        else:
            logged = await time_service.log_timer(conn, who, timer_id, doing, now=now)
        if isinstance(logged, Refused):
            if wants_json(request):
                return refusal(desk, request, logged, back=page_of(found))
            return await timer_page(desk, request, conn, found, refused=logged, said=form)
        return RedirectResponse(_after(found), status_code=303)

    @routes.post("/entries")
    async def enter(request: Request) -> Response:
        """An attested entry from memory."""
        who, form = desk.who(request), await form_of(request)
        entry_id, task_id = uuid_of(form.get("entry_id")), uuid_of(form.get("task_id"))
        back = safe_back(form.get("back", ""), otherwise="/tasks")
        async with desk.transaction(request) as conn:
            patient_id = uuid_of(form.get("patient_id"))
            if entry_id is None or patient_id is None or not await desk.patients(conn, [patient_id]):
                return refusal(
                    desk, request, Refused(status=404, sentence="There is no such patient here."), back=back
                )
            if task_id is not None:
                work = await store.task(conn, task_id)
                if work is None or work.patient_id != patient_id:
                    return refusal(
                        desk, request, Refused(status=404, sentence="There is no such task here."), back=back
                    )
            readings = await time_service.doing_for(conn, task_id)
            doing = read_doing(form, patient_id=patient_id, task_id=task_id, readings=readings)
            logged = (
                doing
                if isinstance(doing, Refused)
                else await _by_hand(
                    conn, who, entry_id, doing, form, now=desk.now(), corrects=uuid_of(form.get("corrects"))
                )
            )
            if isinstance(logged, Refused):
                return refusal(desk, request, logged, back=back)
        if wants_json(request):
            return JSONResponse({"entries": [str(one) for one in logged.entries], "again": logged.again})
        return RedirectResponse(back, status_code=303)

    @routes.post("/entries/{entry_id}/void")
    async def void(request: Request, entry_id: UUID) -> Response:
        who, form = desk.who(request), await form_of(request)
        back = safe_back(form.get("back", ""), otherwise="/tasks")
        async with desk.transaction(request) as conn:
            gone = await time_service.void(
                conn,
                who,
                uuid_of(form.get("void_id")) or uuid4(),
                entry_id,
                reason=form.get("reason", ""),
                now=desk.now(),
            )
        if isinstance(gone, Refused):
            return refusal(desk, request, gone, back=back)
        return RedirectResponse(back, status_code=303)

    return routes


async def _by_hand(
    conn: Connection,
    who: Who,
    entry_id: UUID,
    doing: Doing,
    form: Form,
    *,
    now: datetime,
    corrects: UUID | None = None,
    timer_id: UUID | None = None,
) -> time_service.Logged | Refused:
    start, end = local_instant(form.get("start", ""), who.zone), local_instant(form.get("end", ""), who.zone)
    if start is None or end is None:
        return Refused(status=422, sentence="Give the start and the end, as date and time.")
    return await time_service.log_by_hand(
        conn,
        who,
        entry_id,
        doing,
        start=start.astimezone(ZoneInfo("UTC")),
        end=end.astimezone(ZoneInfo("UTC")),
        attested=form.get("attested") == "yes",
        now=now,
        corrects=corrects,
        timer_id=timer_id,
    )


def _silent(found: Timer, now: datetime) -> bool:
    """Whether a running timer stopped saying so: its browser is closed, asleep, offline, or has no script."""
    return found.state == "running" and now - found.last_at > timer.SILENCE


def page_of(found: Timer) -> str:
    """Where a timer is logged."""
    return f"/tasks/{found.task_id}#timer" if found.task_id else f"/timers/{found.timer_id}"


def _after(found: Timer) -> str:
    return (
        f"/tasks/{found.task_id}"
        if found.task_id
        else f"/month/{found.started_at:%Y-%m}/patient/{found.patient_id}"
    )


async def timer_page(
    desk: Desk,
    request: Request,
    conn: Connection,
    found: Timer,
    *,
    refused: Refused | None = None,
    said: Form | None = None,
) -> Response:
    who = desk.who(request)
    names = await tags(desk, conn, [found.patient_id], today(desk, who))
    work = await store.task(conn, found.task_id) if found.task_id else None
    return desk.page(
        request,
        "ccm_bridge/timer.html",
        status_code=refused.status if refused else 200,
        patient=names[found.patient_id],
        task_id=found.task_id,
        refused=refused,
        said=said or {},
        **await panel(desk, conn, request, found.patient_id, concern=work.concern if work else None),
    )
