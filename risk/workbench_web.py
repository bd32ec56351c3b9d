"""The threshold workbench: a change of a limit or a budget is replayed over what was measured, and saved only as shown."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, LiteralString
from uuid import UUID
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from ingest.events import Reading
from risk import page_store
from risk.events import Scored
from risk.labels import Label, Labels, Tally
from risk.measures import Plan
from risk.page_store import Decision
from risk.rules import LINE, LimitRefused
from risk.scoring import Model
from risk.store import Decided, decided
from risk.whatif import LEARNT, Comparison, compare, readings_of, said_of

SHOWN = timedelta(days=90)
SHOWN_OF_PRACTICE = timedelta(days=28)
PATIENTS_MOST = 60
"""Patients of a practice that a comparison replays, evenly picked: some seconds of work."""
READINGS_MOST = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A change somebody thinks of: one limit or the budget, of a patient or (None) of the practice."""

    patient: UUID | None
    what: str
    value: float | None
    until: date | None = None  # the last day on which it holds, in the practice's own time

    def ends(self, zone: ZoneInfo) -> datetime | None:
        if self.until is None:
            return None
        return datetime.combine(self.until + timedelta(days=1), time(), zone)


def asked(patient: UUID | None, what: str, value: str, until: str = "") -> Asked:
    """What a form asked for: a number, or nothing to switch a line off.

    >>> asked(None, "systolic-high", "150").value
    150.0
    >>> asked(None, "systolic-high", "15o")
    Traceback (most recent call last):
    risk.rules.LimitRefused: 15o is not a number.
    """
    if what != "budget" and what not in LINE:
        raise LimitRefused("Choose which limit, or the budget.")
    try:
        number = float(value) if value.strip() else None
    except ValueError:
        raise LimitRefused(f"{value.strip()} is not a number.") from None
    try:
        last = date.fromisoformat(until) if until.strip() else None
    except ValueError:
        raise LimitRefused(f"{until.strip()} is not a date (2026-05-31).") from None
    if last is not None and what == "budget":
        raise LimitRefused("A budget has no end; set another one instead.")
    return Asked(patient=patient, what=what, value=number, until=last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a comparison needs, read in one transaction: whose readings, what holds now, and what people said of alerts."""

    practice: int
    zones: Mapping[UUID, ZoneInfo]
    patients_of: int  # of how many these were picked
    scores: Sequence[Scored]
    decided: Decided
    labels: Sequence[Label]
    since: datetime
    now: datetime

    def plans(self, decided: Decided) -> dict[UUID, Plan]:
        return {patient: decided.plan(self.practice, patient, self.now) for patient in self.zones}

    def readings(self) -> list[Reading]:
        """What was measured, in order of arrival."""
        told = sorted(self.scores, key=lambda one: (one.received_at, one.effective_at))
        return readings_of(told, zones=self.zones, since=self.since)

    def compare(self, change: Asked, model: Model) -> "Verdict":
        """Replay with what holds now and with the change; raises LimitRefused where it cannot be set."""
        then = self.decided.changed(
            practice=self.practice,
            patient=change.patient,
            what=change.what,
            value=change.value,
            at=self.now,
        )
        found = compare(self.readings(), self.plans(self.decided), self.plans(then), model, since=self.since)
        return Verdict(found=found, bench=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A comparison with what people said of the alerts in it."""

    found: Comparison
    bench: Bench

    @property
    def missed_were(self) -> Tally:
        return said_of(self.found.missed, self.bench.labels)

    @property
    def kept_were(self) -> Tally:
        missed = set(self.found.missed)
        return said_of([one for one in self.found.before if one not in missed], self.bench.labels)


async def bench(
    conn: AsyncConnection[Any],
    labels: Labels,
    people: Mapping[UUID, str],
    *,
    practice: int,
    patient: UUID | None,
    now: datetime,
) -> Bench:
    """Everything a comparison about a patient, or about the practice (None), looks at. `people`: each patient's zone."""
    span = SHOWN_OF_PRACTICE if patient is None else SHOWN
    everybody = sorted(people)
    step = max(1, -(-len(everybody) // PATIENTS_MOST))
    picked = [patient] if patient is not None else everybody[::step]
    since = (now - span).replace(hour=0, minute=0, second=0, microsecond=0)  # the same for all of a day
    return Bench(
        practice=practice,
        zones={one: ZoneInfo(people[one]) for one in picked},
        patients_of=len(everybody),
        scores=await page_store.since(conn, picked, since - LEARNT, most=READINGS_MOST),
        decided=await decided(conn, picked, [practice]),
        labels=await labels.settled(conn, since=since, patients=picked),
        since=since,
        now=now,
    )


@dataclass(frozen=True, slots=True)
class Replayer:
    """Replays beside the event loop and one at a time: it is some seconds of one core, and the pages need the other."""

    model: Model
    turn: asyncio.Lock

    async def replayed(self, found: Bench, change: Asked) -> Verdict:
        async with self.turn:
            return await asyncio.to_thread(found.compare, change, self.model)


async def save(conn: AsyncConnection[Any], told: Decision, change: Asked, zone: ZoneInfo) -> None:
    """Write what was decided."""
    if change.what == "budget":
        await page_store.decide(conn, told, budget=change.value)
        return
    ends = change.ends(zone)
    if ends is not None and ends <= told.at:
        raise LimitRefused("That day is over: choose a day from today on, or none.")
    await page_store.move_limit(conn, told, rule=change.what, value=change.value, until=ends)


PATIENTS: LiteralString = (
    "SELECT DISTINCT patient_id FROM risk.score WHERE practice_id = %s AND effective_at >= %s"
)


async def practice_bench(
    database: str, practice: int, *, patient: str, days: int, zone: ZoneInfo, now: datetime
) -> Bench:
    """The same from the command line, for everybody of a practice who measured, or one of them."""
    since = now - timedelta(days=days)
    async with await AsyncConnection.connect(database) as conn:
        rows = await (await conn.execute(PATIENTS, (practice, since))).fetchall()
        everybody = [one for (one,) in rows if not patient or str(one) == patient]
        return Bench(
            practice=practice,
            zones=dict.fromkeys(everybody, zone),
            patients_of=len(everybody),
            scores=await page_store.since(conn, everybody, since - LEARNT, most=50 * READINGS_MOST),
            decided=await decided(conn, everybody, [practice]),
            labels=(),
            since=since,
            now=now,
        )
