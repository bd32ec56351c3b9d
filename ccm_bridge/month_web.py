"""The month's screens: a row for every patient, one patient's month in full, the claim lines as CSV."""

import asyncio
import csv
import io
import re
from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from ccm_bridge import (
    month_service,
    month_store,
    packet,
    packet_service,
    report_service,
    store,
    story_service,
    time_store,
    time_web,
)
from ccm_bridge.desk_web import Desk, Tag, attached, form_of, read_month, refusal, tags, today, uuid_of
from ccm_bridge.enrolment import Program, consent_of, ends_at
from ccm_bridge.ledger import first_instant, month_of, next_month
from ccm_bridge.month import FEW, MANY, STANDING_WORDS, Standing, Window, fingerprint, windows_of
from ccm_bridge.month_service import DeviceDays, Row, frozen_decision
from ccm_bridge.month_store import Around
from ccm_bridge.origins import Origins
from ccm_bridge.overview_service import Glance, LastMeasured, Line
from ccm_bridge.packet import Evidence
from ccm_bridge.service import WORKING, Refused
from ccm_bridge.store import Connection, Told, Work
from ccm_bridge.story_service import Moment
from ccm_bridge.time_store import Written

CODE_WORDS: dict[str, str] = {
    "99490": "Chronic care management by staff, first block",
    "99439": "Chronic care management by staff, further block",
    "99487": "Complex chronic care management, first block",
    "99489": "Complex chronic care management, further block",
    "99491": "Chronic care management by the practitioner, first block",
    "99437": "Chronic care management by the practitioner, further block",
    "99424": "Principal care management by the practitioner, first block",
    "99425": "Principal care management by the practitioner, further block",
    "99426": "Principal care management by staff, first block",
    "99427": "Principal care management by staff, further block",
    "99453": "Monitoring: setup and teaching, once",
    "99445": "Monitoring: device, 2 to 15 days with readings",
    "99454": "Monitoring: device, 16 days with readings or more",
    "99470": "Monitoring: management, short block",
    "99457": "Monitoring: management, first block",
    "99458": "Monitoring: management, further block",
}
"""Our own words for the codes: the official descriptors belong to the AMA and are not shipped."""

SHOWS: dict[str, frozenset[Standing]] = {
    "all": frozenset(Standing),
    "needs": frozenset({Standing.NEEDS}),
    "ready": frozenset({Standing.READY}),
    "under": frozenset({Standing.UNDER, Standing.QUIET}),
    "not billable": frozenset({Standing.NOT_BILLABLE}),
}
STEP_WORDS = {
    "open": "Not reviewed",
    "reviewed": "Reviewed",
    "signed": "Signed",
    "locked": "Locked",
    "amended": "Amended",
}
CLAIM_COLUMNS = (
    "status",
    "month",
    "mrn",
    "code",
    "units",
    "date_of_service",
    "allowed",
    "medicare",
    "patient",
    "diagnoses",
    "rule_set",
    "price_set",
    "entries",
    "entries_sha256",
    "reviewed_by",
    "reviewed_at",
)
PAGE = 100
"""Rows on one page of the month."""

CCM_TICKS, RPM_TICKS = (20, 40, 60), (10, 20, 40, 60)


def router(  # noqa: C901, PLR0915 - a table of routes
    desk: Desk,
    days: DeviceDays | None,
    origins: Origins | None = None,
    last_measured: LastMeasured | None = None,
) -> APIRouter:
    """`/month` and everything below it."""
    routes = APIRouter()
    glance = Glance(days, last_measured)

    def gone(request: Request, sentence: str) -> Response:
        return refusal(desk, request, Refused(status=404, sentence=sentence), back="/month")

    @routes.get("/month")
    async def now(request: Request) -> Response:
        month = month_of(desk.now(), ZoneInfo(desk.who(request).zone))
        return RedirectResponse(f"/month/{month:%Y-%m}", status_code=303)

    @routes.get("/month/{text}")
    async def overview(request: Request, text: str, show: str = "all", page: str = "1") -> Response:
        who, month = desk.who(request), read_month(text)
        if month is None:
            return gone(request, "A month is written like 2026-11.")
        now, on = desk.now(), today(desk, who)
        async with desk.transaction(request) as conn:
            seen = await glance.look(conn, zone=who.zone, month=month, now=now)
            names = await tags(desk, conn, [one.patient_id for one in seen.lines], on)
        order = {standing: place for place, standing in enumerate(Standing)}
        lines = sorted(seen.lines, key=lambda one: (order[one.standing], names[one.patient_id].name))
        shown = [one for one in lines if one.standing in SHOWS.get(show, SHOWS["all"])]
        counts = Counter(one.standing for one in lines)
        last = max(1, -(-len(shown) // PAGE))
        number = min(int(page) if re.fullmatch(r"[1-9][0-9]{0,5}", page) else 1, last)
        return desk.page(
            request,
            "ccm_bridge/month.html",
            month=month,
            before=(month - timedelta(days=1)).replace(day=1),
            after=next_month(month),
            rows=[
                _glanced(one, names[one.patient_id], seen.around[one.patient_id], on)
                for one in shown[(number - 1) * PAGE : number * PAGE]
            ],
            page_no=number,
            pages=last,
            undecided=len(seen.undecided),
            show=show if show in SHOWS else "all",
            counts={key: sum(counts[s] for s in which) for key, which in SHOWS.items()},
            steps=STEP_WORDS,
            words=_words(month, who.zone, now),
            ccm_ticks=CCM_TICKS,
            rpm_ticks=RPM_TICKS,
            open_month=not _over(month, who.zone, now),
        )

    @routes.get("/month/{text}/report")
    async def whole_practice(request: Request, text: str) -> Response:
        who, month = desk.who(request), read_month(text)
        if month is None:
            return gone(request, "A month is written like 2026-11.")
        now = desk.now()
        async with desk.transaction(request) as conn:
            seen = await glance.look(conn, zone=who.zone, month=month, now=now)
            said = await report_service.report(conn, seen, zone=who.zone, month=month, now=now)
            named = set(said.silent).union(*(pattern.patients for pattern in said.patterns))
            names = await tags(desk, conn, named, today(desk, who))
        return desk.page(
            request,
            "ccm_bridge/report.html",
            month=month,
            report=said,
            names=names,
            undecided=len(seen.undecided),
            words=_words(month, who.zone, now),
            codes_words=CODE_WORDS,
            guide_rate=report_service.GUIDE_RATE,
            guide_year=report_service.GUIDE_YEAR,
            guide_patients=report_service.GUIDE_PATIENTS,
        )

    @routes.get("/month/{text}/report.csv")
    async def whole_practice_as_csv(request: Request, text: str) -> Response:
        who, month = desk.who(request), read_month(text)
        if month is None:
            return gone(request, "A month is written like 2026-11.")
        now = desk.now()
        async with desk.transaction(request) as conn:
            seen = await glance.look(conn, zone=who.zone, month=month, now=now, everybody=True)
            said = await report_service.report(conn, seen, zone=who.zone, month=month, now=now)
        return attached(
            report_service.sheet(said, practice=who.practice_name, month=month).encode(),
            "text/csv; charset=utf-8",
            f"report-{month:%Y-%m}.csv",
        )

    @routes.get("/month/{text}/claims.csv")
    async def claims(request: Request, text: str) -> Response:
        """Claim lines: of locked months as they were locked; of the others as drafts, marked so."""
        who, month = desk.who(request), read_month(text)
        if month is None:
            return gone(request, "A month is written like 2026-11.")
        async with desk.transaction(request) as conn:
            everyone = await month_service.rows(conn, zone=who.zone, month=month, now=desk.now(), days=days)
            names = await tags(desk, conn, [row.known.patient_id for row in everyone], today(desk, who))
        return Response(
            claim_lines(everyone, names),
            media_type="text/csv; charset=utf-8",
            headers={"content-disposition": f'attachment; filename="claim-lines-{month:%Y-%m}.csv"'},
        )

    @routes.get("/month/{text}/patient/{patient_id}")
    async def one(request: Request, text: str, patient_id: UUID) -> Response:
        who, month = desk.who(request), read_month(text)
        if month is None:
            return gone(request, "A month is written like 2026-11.")
        async with desk.transaction(request) as conn:
            if not await desk.patients(conn, [patient_id]):
                return gone(request, "There is no such patient here.")
            row = await _one(conn, who.zone, month, patient_id)
            names = await tags(desk, conn, [patient_id], today(desk, who))
            context = await _whole(desk, request, conn, row, names[patient_id])
            return desk.page(request, "ccm_bridge/patient_month.html", **context)

    async def _one(conn: Connection, zone: str, month: date, patient_id: UUID) -> Row:
        found = await month_service.rows(
            conn, zone=zone, month=month, now=desk.now(), days=days, patients=[patient_id]
        )
        return found[0]

    async def _moments(
        request: Request, text: str, patient_id: UUID
    ) -> tuple[Tag, date, list[Moment]] | Response:
        who, month = desk.who(request), read_month(text)
        if month is None:
            return gone(request, "A month is written like 2026-11.")
        async with desk.transaction(request) as conn:
            if not await desk.patients(conn, [patient_id]):
                return gone(request, "There is no such patient here.")
            row = await _one(conn, who.zone, month, patient_id)
            name = (await tags(desk, conn, [patient_id], today(desk, who)))[patient_id]
            return name, month, await story_service.story(conn, row, patient_id=patient_id, origins=origins)

    @routes.get("/month/{text}/patient/{patient_id}/story")
    async def story(request: Request, text: str, patient_id: UUID) -> Response:
        """The month in the order of time, every line with the way to its row."""
        found = await _moments(request, text, patient_id)
        if isinstance(found, Response):
            return found
        name, month, moments = found
        days = story_service.by_day(moments, ZoneInfo(desk.who(request).zone))
        return desk.page(request, "ccm_bridge/story.html", patient=name, month=month, days=days)

    @routes.get("/month/{text}/patient/{patient_id}/story.txt")
    async def story_as_text(request: Request, text: str, patient_id: UUID) -> Response:
        """The same to copy into another record."""
        found = await _moments(request, text, patient_id)
        if isinstance(found, Response):
            return found
        name, month, moments = found
        zone = desk.who(request).zone
        title = f"{name.name}, MRN {name.mrn}, {month:%B %Y} ({zone})"
        return Response(
            story_service.as_text(moments, title=title, zone=ZoneInfo(zone)),
            media_type="text/plain; charset=utf-8",
        )

    @routes.post("/month/{text}/patient/{patient_id}/check")
    async def check(request: Request, text: str, patient_id: UUID) -> Response:
        who, form, month = desk.who(request), await form_of(request), read_month(text)
        back = f"/month/{text}/patient/{patient_id}"
        if month is None:
            return gone(request, "A month is written like 2026-11.")
        async with desk.transaction(request) as conn:
            if not await desk.patients(conn, [patient_id]):
                return gone(request, "There is no such patient here.")
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
        who, form, month = desk.who(request), await form_of(request), read_month(text)
        back = f"/month/{text}/patient/{patient_id}"
        if month is None:
            return gone(request, "A month is written like 2026-11.")
        async with desk.transaction(request) as conn:
            if not await desk.patients(conn, [patient_id]):
                return gone(request, "There is no such patient here.")
            row = await _one(conn, who.zone, month, patient_id)
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
                waiting = await _next(desk, request, conn, month, row.step)
                back = f"/month/{text}/patient/{waiting}" if waiting else f"/month/{text}"
        return RedirectResponse(back, status_code=303)

    async def _evidence(request: Request, text: str, patient_id: UUID) -> Evidence | Response:
        """The month gathered for export, or why not."""
        who, month = desk.who(request), read_month(text)
        if month is None:
            return gone(request, "A month is written like 2026-11.")
        async with desk.transaction(request) as conn:
            found = await desk.patients(conn, [patient_id])
            if patient_id not in found:
                return gone(request, "There is no such patient here.")
            row = await _one(conn, who.zone, month, patient_id)
            return await packet_service.gather(
                conn,
                who,
                row,
                practice=who.practice_name,
                patient=found[patient_id],
                origins=origins,
                now=desk.now(),
            )

    @routes.get("/month/{text}/patient/{patient_id}/packet.{form}")
    async def export(request: Request, text: str, patient_id: UUID, form: str) -> Response:
        """The audit packet as PDF or JSON, and the month as FHIR R4."""
        said = await _evidence(request, text, patient_id)
        if isinstance(said, Response):
            return said
        name = f"{said.mrn}-{text}"
        match form:
            case "json":
                return attached(
                    packet.as_json(packet.packet(said)), "application/json", f"packet-{name}.json"
                )
            case "pdf":
                made = await asyncio.to_thread(_pdf, packet.packet(said))
                return attached(made, "application/pdf", f"packet-{name}.pdf")
            case "fhir":
                bundle = msgspec.json.encode(packet_service.as_fhir(said, patient_id))
                return attached(bundle, "application/fhir+json", f"month-{name}.fhir.json")
        return gone(request, "A packet is given as pdf, json or fhir.")

    async def _next(desk: Desk, request: Request, conn: Connection, month: date, step: str) -> UUID | None:
        who = desk.who(request)
        everyone = await month_service.rows(conn, zone=who.zone, month=month, now=desk.now(), days=days)
        names = await tags(desk, conn, [row.known.patient_id for row in everyone], today(desk, who))
        waiting = [row.known.patient_id for row in everyone if row.step == step and row.known.entries]
        return min(waiting, key=lambda patient: names[patient].name, default=None)

    return routes


def _pdf(plain: dict[str, Any]) -> bytes:
    """Drawn outside the event loop: fonts and tables take their time."""
    from ccm_bridge import packet_pdf  # noqa: PLC0415 - the drawing library is loaded when somebody draws

    return packet_pdf.pdf(plain, codes=CODE_WORDS)


def _over(month: date, zone: str, now: datetime) -> bool:
    return now >= first_instant(next_month(month), ZoneInfo(zone))


def _words(month: date, zone: str, now: datetime) -> dict[Standing, str]:
    """While the month runs, nothing is ready: it is supported so far."""
    return (
        STANDING_WORDS if _over(month, zone, now) else STANDING_WORDS | {Standing.READY: "Supported so far"}
    )


def _glanced(one: Line, name: Tag, around: Around, on: date) -> dict[str, Any]:
    """What one row of the overview shows today."""
    return {
        "line": one,
        "name": name,
        "around": around,
        "rpm": Program.RPM in one.programs,
        "plan_days": (on - one.plan_signed_at.date()).days if one.plan_signed_at else None,
        "plan_due": bool(one.plan_review_on and one.plan_review_on <= on),
        "days": _reach(one.window, on, measured_today=one.last_day == on) if one.window else None,
        "next": next_action(one, around, on),
    }


QUIET_DAYS = 7


def next_action(one: Line, around: Around, on: date) -> str:
    """What this patient needs next, clinical need first; never a contact for the sake of minutes."""
    if around.open_episodes:
        return "Settle the open alert"
    if around.open_tasks:
        return around.next_task
    if Program.RPM in one.programs and one.last_day and (on - one.last_day).days > QUIET_DAYS:
        return f"Ask how they are: no reading for {(on - one.last_day).days} days"
    if one.plan_review_on and one.plan_review_on <= on:
        return "Review the care plan"
    return "Give a copy of the plan" if one.plan_signed_at and not one.plan_copied else ""


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


def _reach(window: Window, on: date, *, measured_today: bool) -> dict[str, Any]:
    """Device days of a window: how many, and what can still be reached."""
    return {
        "window": window,
        "closed": on > window.end,
        "few": window.days >= FEW,
        "many": window.days >= MANY,
        "can_few": window.reachable(FEW, on, measured_today=measured_today),
        "can_many": window.reachable(MANY, on, measured_today=measured_today),
    }


def claim_lines(everyone: list[Row], names: dict[UUID, Tag]) -> str:
    """One line per code of a patient. Nothing is listed that is held or not supported."""
    sheet = io.StringIO()
    out = csv.writer(sheet, lineterminator="\r\n")
    out.writerow(CLAIM_COLUMNS)
    for row in sorted(everyone, key=lambda r: names[r.known.patient_id].mrn):
        frozen = row.frozen
        said = frozen_decision(frozen) if frozen else None
        lines = said["lines"] if said else _as_data(row)
        enrolled = row.known.enrolment
        for line in lines:
            out.writerow(
                [
                    frozen.step if frozen else f"draft ({STEP_WORDS[row.step].lower()})",
                    f"{row.known.month:%Y-%m}",
                    _plain(names[row.known.patient_id].mrn),
                    line["code"],
                    line["units"],
                    line["date_of_service"] or "",
                    line["allowed"] or "",
                    line["medicare"] or "",
                    line["patient"] or "",
                    " ".join(c.icd10 for c in enrolled.conditions) if enrolled else "",
                    frozen.rule_set if frozen else row.decision.rule_set,
                    frozen.price_set if frozen else row.decision.price_set,
                    len(frozen.entries if frozen else row.known.entries),
                    (frozen.entries_hash if frozen else fingerprint(row.known.entries)).hex(),
                    row.last.by_name if row.last else "",
                    row.last.at.isoformat() if row.last else "",
                ]
            )
    return sheet.getvalue()


def _as_data(row: Row) -> list[dict[str, Any]]:
    return [
        {
            "code": line.code,
            "units": line.units,
            "date_of_service": line.date_of_service.isoformat() if line.date_of_service else None,
            "allowed": line.allowed,
            "medicare": line.medicare,
            "patient": line.patient,
        }
        for line in row.decision.lines
    ]


def _plain(text: str) -> str:
    """A cell that a spreadsheet cannot take for a formula."""
    return f"'{text}" if text[:1] in "=+-@" else text


async def _whole(desk: Desk, request: Request, conn: Connection, row: Row, name: Tag) -> dict[str, Any]:
    """Everything the page of one patient's month shows."""
    who, known = desk.who(request), row.known
    entries = await time_store.of_month(conn, known.month, known.patient_id)
    work = await store.tasks_of_patient(conn, known.patient_id)
    told = await store.told(conn, [one.episode_id for one in work if one.episode_id])
    circles = [c for c in known.circumstances if c.kind != "month_checked"]
    return {
        **_line(row),
        "patient": name,
        "month": known.month,
        "known": known,
        "decision": row.decision,
        "codes_words": CODE_WORDS,
        "standing_words": _words(known.month, known.zone, desk.now()),
        "entries": entries,
        "verdicts": row.verdicts,
        "chains": _chains(entries, work, told),
        "work": work,
        "looked_up": next(
            (c for c in known.circumstances if c.kind == "month_checked" and c.month == known.month), None
        ),
        "circumstances": circles,
        "windows": [w for w in windows_of(known) if w.end >= known.month],
        "steps": STEP_WORDS,
        "overpayments": await month_store.overpayments(conn, known.patient_id),
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
    moves: dict[UUID, list[Told]] = {}
    for one in told:
        moves.setdefault(one.episode_id, []).append(one)
    chains = []
    for entry in entries:
        if entry.voided_at:
            continue
        task = tasks.get(entry.task_id) if entry.task_id else None
        mine = moves.get(task.episode_id, []) if task and task.episode_id else []
        chains.append(
            {
                "entry": entry,
                "task": task,
                "scores": [one for one in mine if one.by_staff is None],
                "readings": entry.readings,
            }
        )
    return chains
