"""The month at a glance for a large practice: what was decided is kept, as long as nothing it rests on changed.

A month's page has a row for every patient, and a decision weighs dozens of rules: thousands of them take seconds. So a
decided row is kept in memory, small, under a stamp of everything it rests on. What changed since is decided anew within
a budget of time; what does not fit is shown as not decided yet and follows with the next request. Signing, locking and
exporting never read from here.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from ccm_bridge import month_service, month_store
from ccm_bridge.enrolment import Program, consent_of, ends_at
from ccm_bridge.ledger import first_instant, next_month
from ccm_bridge.month import Standing, Window
from ccm_bridge.month_service import DeviceDays, Row
from ccm_bridge.store import Connection

BUDGET_S = 0.12
"""How long after its beginning a look may still begin to decide rows anew."""

UNWATCHED_S = 1.0
"""The same where nobody waits for the answer: a page that is shown already asks for the rows it lacks."""

KEPT = 40_000
"""Rows kept in one process, a few kilobytes each; the longest unused goes first."""

UNSEEN_FOR = timedelta(minutes=10)
"""How old a row may be whose device days nobody can stamp."""

AT_ONCE = 15
"""Rows decided together: some 3 ms each, so a look overruns its budget by little."""


class LastMeasured(Protocol):
    """Port: when each patient was last measured: changes whenever their device days may have."""

    async def __call__(self, conn: Connection, patients: Sequence[UUID]) -> Mapping[UUID, datetime]: ...


class Said(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Consent to one programme, as a row shows it."""

    program: str
    given_at: datetime | None
    method: str
    ends: datetime | None


class Line(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A decided row, without what it was decided from.

    Tens of thousands are kept, and hold nothing that could lead back to them: the garbage collector need not walk them.
    """

    patient_id: UUID
    programs: tuple[str, ...]
    consents: tuple[Said, ...]
    plan_version: int | None
    plan_signed_at: datetime | None
    plan_copied: bool
    plan_review_on: date | None
    window: Window | None
    last_day: date | None  # with readings
    days_known: bool
    minutes: Mapping[str, int]
    live: bool
    standing: Standing
    codes: Mapping[str, int]
    supposed: Mapping[str, int]  # codes that follow if a look-up finds nothing
    why: tuple[str, ...]
    step: str
    reviewed_by: str
    reviewed_at: datetime | None
    changed: bool
    valid_until: datetime


def line(row: Row, *, now: datetime) -> Line:
    """What a row shows, and until when time alone cannot change it."""
    known, plan, last = row.known, row.known.plan, row.last
    programs = sorted(known.enrolment.programs) if known.enrolment else []
    zone = ZoneInfo(known.zone)
    said = []
    for program in programs:
        consent = consent_of(known.consents, program)
        said.append(
            Said(
                program=program,
                given_at=consent.given_at if consent else None,
                method=str(consent.method) if consent else "",
                ends=ends_at(consent, zone) if consent else None,
            )
        )
    return Line(
        patient_id=known.patient_id,
        programs=tuple(programs),
        consents=tuple(said),
        plan_version=plan.version if plan else None,
        plan_signed_at=plan.signed_at if plan else None,
        plan_copied=bool(plan and plan.copy_given_at),
        plan_review_on=plan.review_on if plan else None,
        window=row.window,
        last_day=max((one.day for one in known.device_days), default=None) if known.device_days else None,
        days_known=known.device_days is not None,
        minutes=row.minutes,
        live=row.live,
        standing=row.standing,
        codes=dict(row.decision.codes),
        supposed=dict(row.supposing.codes) if row.supposing else {},
        why=row.stands,
        step=row.step,
        reviewed_by=last.by_name if last else "",
        reviewed_at=last.at if last else None,
        changed=row.changed,
        valid_until=_valid_until(row, now=now),
    )


def _valid_until(row: Row, *, now: datetime) -> datetime:
    """The next instant at which the same facts may be decided otherwise: a month or a device window ends."""
    known = row.known
    ends = [first_instant(next_month(known.month), ZoneInfo(known.zone)), now + timedelta(days=40)]
    if row.window is not None:
        after = row.window.end + timedelta(days=1)
        ends.append(datetime(after.year, after.month, after.day, tzinfo=ZoneInfo(known.patient_zone)))
    monitored = known.enrolment is not None and Program.RPM in known.enrolment.programs
    if monitored and row.window is None:
        ends.append(now + UNSEEN_FOR)
    return min(end for end in ends if end > now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A practice's month: decided lines by the patients' names, and who is not decided yet."""

    lines: Sequence[Line]
    undecided: Sequence[UUID]


class Glance:
    """The rows decided so far in this process."""

    def __init__(
        self, days: DeviceDays | None, last_measured: LastMeasured | None, *, budget_s: float = BUDGET_S
    ) -> None:
        self._days, self._last, self._budget_s = days, last_measured, budget_s
        self._kept: OrderedDict[tuple[UUID, date], tuple[str, Line]] = OrderedDict()

    async def look(
        self,
        conn: Connection,
        *,
        zone: str,
        month: date,
        now: datetime,
        everybody: bool = False,
        watched: bool = True,
    ) -> Overview:
        """Every served patient's row; what changed is decided anew, as far as the budget goes.

        `everybody`: whatever it takes, for what leaves the house as a figure. `watched`: somebody waits for the answer.
        """
        until = time.monotonic() + (self._budget_s if watched else UNWATCHED_S)
        patients = await month_store.served(conn, month)
        stamps = await self._stamps(conn, month, patients, now)
        lines: dict[UUID, Line] = {}
        stale = []
        for patient in patients:
            if (kept := self._get(patient, month, stamps[patient], now)) is None:
                stale.append(patient)
            else:
                lines[patient] = kept
        decided = 0
        while decided < len(stale) and (everybody or decided == 0 or time.monotonic() < until):
            some = stale[decided : decided + AT_ONCE]
            for row in await month_service.rows(
                conn, zone=zone, month=month, now=now, days=self._days, patients=some
            ):
                patient = row.known.patient_id
                lines[patient] = line(row, now=now)
                self._put(patient, month, stamps[patient], lines[patient])
            decided += len(some)
            await asyncio.sleep(0)  # others wait for this process too
        return Overview(
            lines=[lines[patient] for patient in patients if patient in lines],
            undecided=stale[decided:],
        )

    async def _stamps(
        self, conn: Connection, month: date, patients: Sequence[UUID], now: datetime
    ) -> dict[UUID, str]:
        rests_on = await month_store.stamps(conn, month, patients)
        if self._days is None:
            return rests_on
        if self._last is None:  # nobody can say whether device days changed: let rows grow old
            age = int(now.timestamp() // UNSEEN_FOR.total_seconds())
            return {patient: f"{stamp} {age}" for patient, stamp in rests_on.items()}
        last = await self._last(conn, patients)
        return {patient: f"{stamp} {last.get(patient)}" for patient, stamp in rests_on.items()}

    def _get(self, patient: UUID, month: date, stamp: str, now: datetime) -> Line | None:
        found = self._kept.get((patient, month))
        if found is None or found[0] != stamp or now >= found[1].valid_until:
            return None
        self._kept.move_to_end((patient, month))
        return found[1]

    def _put(self, patient: UUID, month: date, stamp: str, decided: Line) -> None:
        self._kept[patient, month] = (stamp, decided)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
