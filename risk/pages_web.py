"""The risk screens: everybody ranked by what changed, one patient's weeks, the practice's limits, the workbench in both."""

import asyncio
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.background import BackgroundTask

from risk import labels as words
from risk import page_store, population, sketch, standing_store, whatif
from risk.desk_web import DECIDES, DECIDES_FOR_ALL, SEES, Desk
from risk.events import Scored
from risk.labels import Labels
from risk.outlook import sentence
from risk.page_store import Decision
from risk.population import Bucket
from risk.rules import LINES, LimitRefused, Limits
from risk.scoring import Model
from risk.workbench_web import SHOWN, Asked, Bench, Replayer, Verdict, asked, bench, save

DRAWN_OF_ONE = 20
"""Scores of a patient that are drawn in a row."""
ROWS_OF_A_BUCKET = 10
ROWS_OF_ONE_BUCKET = 50
NOTHING = population.Told()
TOLD_AT_ONCE = 200
"""Patients whose standing is told anew before a page is shown: a tenth of a second."""
TOLD_BETWEEN = 50
OK = 200
NOBODY = UUID(int=0)
"""Whose plan is the practice's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What stands in the workbench's form, kept as it was typed."""

    what: str = ""
    value: str = ""
    until: str = ""
    reason: str = ""
    seen: str = ""  # what the replay said when the page was made
    decision_id: UUID = field(default_factory=uuid4)


class Pages:
    """The screens, each a read in one transaction and a page."""

    def __init__(self, desk: Desk, labels: Labels, model: Model) -> None:
        self._desk, self._labels = desk, labels
        self._replayer = Replayer(model, asyncio.Lock())
        self._telling: set[int] = set()  # practices whose standings are being told anew

    async def everybody(self, request: Request, *, bucket: str, find: str, start: int) -> HTMLResponse:
        """Everybody of the practice, in buckets, the clearest first."""
        who, now = self._desk.require(request, *SEES), self._desk.now()
        wanted = find.casefold()
        chosen = next((one for one in Bucket if one.name.lower() == bucket), None)
        most = ROWS_OF_ONE_BUCKET if chosen or find else ROWS_OF_A_BUCKET
        async with self._desk.transaction(request) as conn:
            people = await self._desk.roster(conn)
            told, stale = await standing_store.kept(conn)
            first = dict(islice(stale.items(), TOLD_AT_ONCE))
            told |= await standing_store.tell_anew(conn, who.practice_id, first, now=now)
            rest = {one: said for one, said in stale.items() if one not in first}
            standings = [
                population.standing(one, told.get(one, NOTHING), now=now)
                for one, person in people.items()
                if (one in told or one not in rest)
                and (wanted in person.name.casefold() or wanted == person.mrn.casefold())
            ]
            ranked = population.ranked(standings)
            buckets = [(one, rows) for one, rows in ranked if rows and chosen in (None, one)]
            shown = [
                row.patient_id for _, rows in buckets for row in rows[start : start + most] if row.latest
            ]
            scores = await page_store.latest(conn, shown, since=now - SHOWN, most=DRAWN_OF_ONE)
        drawn = {patient: list(some) for patient, some in groupby(scores, key=lambda one: one.patient_id)}
        page = self._desk.page(
            request,
            "risk/population.html",
            counts=[(one, len(rows)) for one, rows in ranked],
            buckets=buckets,
            start=start,
            most=most,
            chosen=chosen,
            find=find,
            means=population.MEANS,
            people=people,
            spark=lambda patient: sketch.spark(drawn.get(patient, ())),
            waiting=len(rest),
        )
        if rest and who.practice_id not in self._telling:
            # Here, with nothing awaited since the question: one page tells the rest.
            self._telling.add(who.practice_id)
            page.background = BackgroundTask(self._tell_rest, request, who.practice_id, rest)
        return page

    async def _tell_rest(self, request: Request, practice: int, rest: dict[UUID, int]) -> None:
        """After the page is out: tell anew where the others stand, a few at a time, so that other pages get their turn."""
        try:
            waiting = iter(rest.items())
            while some := dict(islice(waiting, TOLD_BETWEEN)):
                async with self._desk.transaction(request) as conn:
                    await standing_store.tell_anew(conn, practice, some, now=self._desk.now())
        finally:
            self._telling.discard(practice)

    async def one(
        self, request: Request, patient_id: UUID, told: Draft, *, refused: str = "", status: int = 200
    ) -> HTMLResponse:
        """One patient: pictures, limits, and, if a change is asked for, what it would have done."""
        desk, who = self._desk, self._desk.require(request, *SEES)
        now = desk.now()
        async with desk.transaction(request) as conn:
            people = await desk.patients(conn, [patient_id])
            if patient_id not in people:
                raise HTTPException(404, "There is no such page here.")
            patient = people[patient_id]
            found = await bench(
                conn,
                self._labels,
                {patient_id: patient.zone},
                practice=who.practice_id,
                patient=patient_id,
                now=now,
            )
            history = await page_store.decided(conn, patient_id)
            names = await desk.colleagues(conn)
        verdict, refused = await self._tried(found, patient_id, told, refused)
        shown = [one for one in found.scores if one.effective_at >= found.since]
        plan = found.plans(found.decided)[patient_id]
        alerts = whatif.raised(shown)
        zone = ZoneInfo(patient.zone)
        return desk.page(
            request,
            "risk/patient.html",
            status_code=status if status != OK or not refused else 422,
            patient=patient,
            patient_id=patient_id,
            standing=population.standing(patient_id, population.told(found.scores), now=now),
            pictures=sketch.pictures(shown, [(one.at, one.reason) for one in alerts], zone=zone),
            strips=sketch.strips(shown, 1.0 / plan.budget, zone=zone),
            latest=shown[-1] if shown else None,
            in_words=sentence,
            outlook=next(
                (
                    one.outlook
                    for one in reversed(shown)
                    if one.outlook and now - one.effective_at < population.LOOKED_AT
                ),
                None,
            ),
            alerts=alerts[::-1],
            lines=_lines(plan.limits, shown),
            budget=plan.budget,
            history=history,
            names=names,
            may=who.role in DECIDES,
            told=told,
            verdict=verdict,
            refused=refused,
            days=SHOWN.days,
            base=f"/patients/{patient_id}",
            zone_of_practice=ZoneInfo(who.zone),
        )

    async def practice(
        self, request: Request, told: Draft, *, refused: str = "", status: int = 200
    ) -> HTMLResponse:
        """The practice's own limits and budget, what a change would have done, and what people said of alerts."""
        desk, who = self._desk, self._desk.require(request, *SEES)
        now = desk.now()
        async with desk.transaction(request) as conn:
            people = await desk.roster(conn)
            zones = {one: patient.zone for one, patient in people.items()}
            found = await bench(conn, self._labels, zones, practice=who.practice_id, patient=None, now=now)
            labels = await self._labels.settled(conn, since=now - SHOWN)
            history = await page_store.decided(conn, None)
            names = await desk.colleagues(conn)
        verdict, refused = await self._tried(found, None, told, refused)
        plan = found.decided.plan(who.practice_id, NOBODY, now)
        return desk.page(
            request,
            "risk/practice.html",
            status_code=status if status != OK or not refused else 422,
            people=people,
            replayed=len(found.zones),
            lines=[(line, plan.limits.of(line.rule), line.rule in plan.limits.moved) for line in LINES],
            budget=plan.budget,
            by_rule=words.by_rule(labels),
            by_budget=words.by_budget(labels, plan.budget),
            history=history,
            names=names,
            may=who.role in DECIDES_FOR_ALL,
            told=told,
            verdict=verdict,
            refused=refused,
            days=(now - found.since).days,
            base="/patients/practice",
            zone_of_practice=ZoneInfo(who.zone),
        )

    async def _tried(
        self, found: Bench, patient: UUID | None, told: Draft, refused: str
    ) -> tuple[Verdict | None, str]:
        """The comparison that a draft asks for, or why there is none."""
        if not told.what or told.what == "baseline":
            return None, refused
        try:
            change = asked(patient, told.what, told.value, told.until)
            return await self._replayer.replayed(found, change), refused
        except LimitRefused as error:
            return None, refused or str(error)

    async def decide(self, request: Request, patient: UUID | None, told: Draft) -> Response:
        """Save what was asked for, if its author saw what it would have done. Order matters:

        1. Whose it is and why: a role, a reason, a patient of this practice.
        2. The replay is made again; if it no longer says what the page showed, the fresh one is shown and nothing saved.
        3. The decision is written with author, reason, end and what was shown.
        """
        desk = self._desk
        who, now = desk.require(request, *(DECIDES_FOR_ALL if patient is None else DECIDES)), desk.now()
        if not told.reason.strip():
            return await self._again(request, patient, told, "Say why: the next nurse will read it.", 422)
        zone = ZoneInfo(who.zone)
        async with desk.transaction(request) as conn:
            people = await (desk.roster(conn) if patient is None else desk.patients(conn, [patient]))
            if patient is not None and patient not in people:
                raise HTTPException(404, "There is no such page here.")
            found = await bench(
                conn,
                self._labels,
                {one: person.zone for one, person in people.items()},
                practice=who.practice_id,
                patient=patient,
                now=now,
            )
        decision = Decision(
            decision_id=told.decision_id,
            practice=who.practice_id,
            patient=patient,
            author=who.staff_id,
            reason=told.reason.strip(),
            at=now,
        )
        try:
            change, shown = await self._as_shown(found, patient, told)
            if shown != told.seen:
                sentence = (
                    "Look at the replay below first: it is new, or has changed since. Nothing was saved."
                )
                return await self._again(request, patient, told, sentence, 409)
            async with desk.transaction(request) as conn:
                if change is None:
                    await page_store.decide(conn, decision, baseline_from=now)
                else:
                    await save(conn, replace(decision, shown=shown), change, zone)
        except LimitRefused as error:
            return await self._again(request, patient, told, str(error), 422)
        url = "/patients/practice" if patient is None else f"/patients/{patient}"
        return RedirectResponse(url, status_code=303)

    async def _as_shown(self, found: Bench, patient: UUID | None, told: Draft) -> tuple[Asked | None, str]:
        """What is asked for, and what its replay says; a new baseline has none."""
        if told.what == "baseline" and patient is not None:
            return None, told.seen
        change = asked(patient, told.what, told.value, told.until)
        return change, (await self._replayer.replayed(found, change)).found.seal

    async def _again(
        self, request: Request, patient: UUID | None, told: Draft, sentence: str, status: int
    ) -> HTMLResponse:
        if patient is None:
            return await self.practice(request, told, refused=sentence, status=status)
        return await self.one(request, patient, told, refused=sentence, status=status)


def _lines(limits: Limits, shown: list[Scored]) -> list[tuple[Any, float, bool]]:
    """The lines that this patient's readings can cross, with their limit and whether it was moved."""
    measured = {name for one in shown for name in one.values} or {line.quantity for line in LINES}
    return [
        (line, limits.of(line.rule), line.rule in limits.moved) for line in LINES if line.quantity in measured
    ]
