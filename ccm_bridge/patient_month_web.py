"""One patient's month on its screen: what counted and why, what is supported and why not, and who said so."""

from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from ccm_bridge import claim, month_service, review_store, store, time_store, time_web
from ccm_bridge.desk_web import Desk, Tag, form_of, refusal, uuid_of
from ccm_bridge.enrolment import consent_of, ends_at
from ccm_bridge.month import windows_of
from ccm_bridge.month_lookup_web import CCM_TICKS, RPM_TICKS, Months, standing_words
from ccm_bridge.month_service import DeviceDays, Row, frozen_decision
from ccm_bridge.service import WORKING, Refused
from ccm_bridge.store import Connection, Told, Work
from ccm_bridge.time_store import Written


def router(desk: Desk, days: DeviceDays | None) -> APIRouter:  # noqa: C901 - a table of routes
    """`/month/…/patient/…`: looked at, looked up, reviewed, signed, locked, amended."""
    routes = APIRouter()
    months = Months(desk, days)

    @routes.get("/month/{text}/patient/{patient_id}")
    async def one(request: Request, text: str, patient_id: UUID) -> Response:
        async with desk.transaction(request) as conn:
            found = await months.of_patient(request, conn, text, patient_id)
            if isinstance(found, Response):
                return found
            context = await _whole(desk, request, conn, found[1], found[0])
            return desk.page(request, "ccm_bridge/patient_month.html", **context)

    @routes.post("/month/{text}/patient/{patient_id}/check")
    async def check(request: Request, text: str, patient_id: UUID) -> Response:
        who, form = desk.who(request), await form_of(request)
        back = f"/month/{text}/patient/{patient_id}"
        async with desk.transaction(request) as conn:
            month = months.read(request, text)
            if isinstance(month, Response):
                return month
            if not await desk.patients(conn, [patient_id]):
                return months.gone(request, "There is no such patient here.")
            refused = await month_service.check(
                conn,
                who,
                uuid_of(form.get("circumstance_id")) or uuid4(),
                patient_id=patient_id,
                month=month,
                note=form.get("note", ""),
                now=desk.now(),
            )
        if refused:
            return refusal(desk, request, refused, back=back)
        return RedirectResponse(back, status_code=303)

    @routes.post("/month/{text}/patient/{patient_id}/step")
    async def step(request: Request, text: str, patient_id: UUID) -> Response:
        """Review, sign, lock or amend; with `next`, go on to the next patient who waits for the same."""
        who, form = desk.who(request), await form_of(request)
        back = f"/month/{text}/patient/{patient_id}"
        async with desk.transaction(request) as conn:
            found = await months.of_patient(request, conn, text, patient_id)
            if isinstance(found, Response):
                return found
            _, row = found
            done = await month_service.set_step(
                conn,
                who,
                uuid_of(form.get("review_id")) or uuid4(),
                row,
                step=form.get("step", ""),
                note=form.get("note", ""),
                now=desk.now(),
            )
            if isinstance(done, Refused):
                return refusal(desk, request, done, back=back)
            if form.get("next") == "yes":
                waiting = await review_store.next_at(conn, row.known.month, row.step)
                back = f"/month/{text}/patient/{waiting}" if waiting else f"/month/{text}"
        return RedirectResponse(back, status_code=303)

    return routes


def _line(row: Row) -> dict[str, Any]:
    """The head of one patient's month."""
    known, enrolled = row.known, row.known.enrolment
    programs = sorted(enrolled.programs) if enrolled else []
    consents = [
        {"program": p, "consent": said, "ends": ends_at(said, ZoneInfo(known.zone)) if said else None}
        for p in programs
        for said in [consent_of(known.consents, p)]
    ]
    return {"row": row, "programs": programs, "consents": consents, "plan": known.plan}


async def _whole(desk: Desk, request: Request, conn: Connection, row: Row, name: Tag) -> dict[str, Any]:
    """Everything the page of one patient's month shows."""
    who, known = desk.who(request), row.known
    entries = await time_store.of_month(conn, known.month, known.patient_id)
    work = await store.tasks_of_patient(conn, known.patient_id)
    alerts = {one.episode_id for one in work if one.episode_id}
    alerts |= {one.episode_id for one in entries if one.episode_id}
    told = await store.told(conn, alerts)
    circles = [c for c in known.circumstances if c.kind != "month_checked"]
    return {
        **_line(row),
        "patient": name,
        "month": known.month,
        "known": known,
        "decision": row.decision,
        "codes_words": claim.CODE_WORDS,
        "standing_words": standing_words(known.month, known.zone, desk.now()),
        "entries": entries,
        "verdicts": row.verdicts,
        "chains": _chains(entries, work, told),
        "work": work,
        "looked_up": next(
            (c for c in known.circumstances if c.kind == "month_checked" and c.month == known.month), None
        ),
        "circumstances": circles,
        "windows": [w for w in windows_of(known) if w.end >= known.month],
        "steps": claim.STEP_WORDS,
        "overpayments": await review_store.overpayments(conn, known.patient_id),
        "frozen_decision": frozen_decision(row.frozen) if row.frozen else None,
        "may_step": {
            step
            for step, roles in month_service.STEP_ROLES.items()
            if who.role in roles and row.step in month_service.BEFORE[step]
        },
        "may_work": who.role in WORKING,
        "task_id": None,
        "refused": None,
        "said": {},
        "new_id": uuid4,
        "ccm_ticks": CCM_TICKS,
        "rpm_ticks": RPM_TICKS,
        **await time_web.panel(desk, conn, request, known.patient_id),
    }


def _chains(entries: list[Written], work: list[Work], told: list[Told]) -> list[dict[str, Any]]:
    """From each counted entry back: its task, the alert's moves, the scores that caused them, the readings."""
    tasks = {one.task_id: one for one in work}
    asked: dict[UUID | None, Work] = {one.episode_id: one for one in work if one.episode_id}
    moves: dict[UUID, list[Told]] = {}
    for one in told:
        moves.setdefault(one.episode_id, []).append(one)
    chains = []
    for entry in entries:
        if entry.voided_at:
            continue
        task = tasks.get(entry.task_id) if entry.task_id else asked.get(entry.episode_id)
        alert = entry.episode_id or (task.episode_id if task else None)
        mine = moves.get(alert, []) if alert else []
        chains.append(
            {
                "entry": entry,
                "task": task,
                "alert": alert,
                "scores": [one for one in mine if one.by_staff is None],
                "readings": entry.readings,
            }
        )
    return chains
