"""The practice's month on its screens: a row for every patient, the report, the claim lines."""

import re
from collections import Counter
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from ccm_bridge import claim, month_service, month_store, report_service
from ccm_bridge.desk_web import Desk, Tag, attached, tags, today
from ccm_bridge.enrolment import Program
from ccm_bridge.ledger import first_instant, month_of, next_month
from ccm_bridge.month import Standing
from ccm_bridge.month_lookup_web import CCM_TICKS, RPM_TICKS, Months, over, standing_words
from ccm_bridge.month_row import at_this_pace, next_action, reach
from ccm_bridge.month_service import DeviceDays
from ccm_bridge.month_store import Around
from ccm_bridge.overview_service import Glance, LastMeasured, Line

SHOWS: dict[str, frozenset[Standing]] = {
    "all": frozenset(Standing),
    "needs": frozenset({Standing.NEEDS}),
    "ready": frozenset({Standing.READY}),
    "under": frozenset({Standing.UNDER, Standing.QUIET}),
    "not billable": frozenset({Standing.NOT_BILLABLE}),
}
BY_ITSELF = "lamplight-by-itself"
"""The header of what a page asks without anybody having touched it."""

PAGE = 100
"""Rows on one page of the month."""


def router(desk: Desk, days: DeviceDays | None, last_measured: LastMeasured | None = None) -> APIRouter:
    """`/month`, its rows, report and claim lines."""
    routes = APIRouter()
    glance, months = Glance(days, last_measured), Months(desk, days)

    @routes.get("/month")
    async def now(request: Request) -> Response:
        month = month_of(desk.now(), ZoneInfo(desk.who(request).zone))
        return RedirectResponse(f"/month/{month:%Y-%m}", status_code=303)

    @routes.get("/month/{text}")
    async def overview(request: Request, text: str, show: str = "all", page: str = "1") -> Response:
        who, month = desk.who(request), months.read(request, text)
        if isinstance(month, Response):
            return month
        now, on = desk.now(), today(desk, who)
        order = {standing: place for place, standing in enumerate(Standing)}
        async with desk.transaction(request) as conn:
            seen = await glance.look(
                conn, zone=who.zone, month=month, now=now, watched=BY_ITSELF not in request.headers
            )
            lines = sorted(seen.lines, key=lambda one: order[one.standing])
            shown = [one for one in lines if one.standing in SHOWS.get(show, SHOWS["all"])]
            last = max(1, -(-len(shown) // PAGE))
            number = min(int(page) if re.fullmatch(r"[1-9][0-9]{0,5}", page) else 1, last)
            paged = shown[(number - 1) * PAGE : number * PAGE]
            names = await tags(desk, conn, [one.patient_id for one in paged], on)
            civil = ZoneInfo(who.zone)
            around = await month_store.around(
                conn,
                [one.patient_id for one in paged],
                first_instant(month, civil),
                first_instant(next_month(month), civil),
            )
        counts = Counter(one.standing for one in lines)
        return desk.page(
            request,
            "ccm_bridge/month.html",
            month=month,
            before=(month - timedelta(days=1)).replace(day=1),
            after=next_month(month),
            rows=[
                _row(one, names[one.patient_id], around[one.patient_id], month=month, on=on) for one in paged
            ],
            page_no=number,
            pages=last,
            undecided=len(seen.undecided),
            show=show if show in SHOWS else "all",
            counts={key: sum(counts[s] for s in which) for key, which in SHOWS.items()},
            steps=claim.STEP_WORDS,
            words=standing_words(month, who.zone, now),
            ccm_ticks=CCM_TICKS,
            rpm_ticks=RPM_TICKS,
            open_month=not over(month, who.zone, now),
        )

    @routes.get("/month/{text}/report")
    async def whole_practice(request: Request, text: str) -> Response:
        who, month = desk.who(request), months.read(request, text)
        if isinstance(month, Response):
            return month
        now = desk.now()
        async with desk.transaction(request) as conn:
            seen = await glance.look(
                conn, zone=who.zone, month=month, now=now, watched=BY_ITSELF not in request.headers
            )
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
            words=standing_words(month, who.zone, now),
            codes_words=claim.CODE_WORDS,
            guide_rate=report_service.GUIDE_RATE,
            guide_year=report_service.GUIDE_YEAR,
            guide_patients=report_service.GUIDE_PATIENTS,
        )

    @routes.get("/month/{text}/report.csv")
    async def whole_practice_as_csv(request: Request, text: str) -> Response:
        who, month = desk.who(request), months.read(request, text)
        if isinstance(month, Response):
            return month
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
        who, month = desk.who(request), months.read(request, text)
        if isinstance(month, Response):
            return month
        async with desk.transaction(request) as conn:
            everyone = await month_service.rows(conn, zone=who.zone, month=month, now=desk.now(), days=days)
            names = await tags(desk, conn, [row.known.patient_id for row in everyone], today(desk, who))
        return attached(
            claim.sheet(everyone, {patient: tag.mrn for patient, tag in names.items()}).encode(),
            "text/csv; charset=utf-8",
            f"claim-lines-{month:%Y-%m}.csv",
        )

    return routes


def _row(one: Line, name: Tag, around: Around, *, month: date, on: date) -> dict[str, Any]:
    """What one row of the overview shows today."""
    return {
        "line": one,
        "name": name,
        "around": around,
        "rpm": Program.RPM in one.programs,
        "plan_days": (on - one.plan_signed_at.date()).days if one.plan_signed_at else None,
        "plan_due": bool(one.plan_review_on and one.plan_review_on <= on),
        "days": reach(one.window, on, measured_today=one.last_day == on) if one.window else None,
        "next": next_action(one, around, on),
        "pace": at_this_pace(one.minutes, month, on),
    }
