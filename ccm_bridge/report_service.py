"""The practice's month as a whole: enrolment, billing volume, engagement, response, hospital stays, and its own audit."""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from ccm_bridge import enrolment_store, month_store
from ccm_bridge.billing.book import shipped
from ccm_bridge.billing.decision import priced
from ccm_bridge.enrolment import Program
from ccm_bridge.ledger import first_instant, next_month
from ccm_bridge.month import WINDOW
from ccm_bridge.overview_service import Line, Overview
from ccm_bridge.selfaudit import MANAGED_MONTHS, Asked, Pattern, Person, Waits, Work, patterns, waits
from ccm_bridge.store import Connection

GUIDE_RATE, GUIDE_YEAR = Decimal("62.16"), Decimal(149_184)
"""A figure that circulates (99490 at $62.16, 200 patients, $149,184 a year): shown beside the official one, never used."""

GUIDE_PATIENTS = 200
SILENT_DAYS = 7
NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """One code of the month: its units, and what they come to."""

    code: str
    units: int
    allowed: Decimal
    medicare: Decimal
    patient: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """National allowed amounts, and who owes which share."""

    allowed: Decimal
    medicare: Decimal
    patient: Decimal
    price_set: str
    by_code: tuple[Sum, ...]
    official_99490: Decimal | None

    @property
    def official_year(self) -> Decimal | None:
        """The circulating calculation with the official rate: so many patients, every month, allowed in full."""
        return None if self.official_99490 is None else self.official_99490 * GUIDE_PATIENTS * 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One practice, one month."""

    states: Mapping[str, int]
    enrolled_now: int
    standing: Mapping[str, int]
    money: Money
    with_minutes: int
    live: int
    waits: Waits
    episodes: int
    served: int  # patients whose month this is
    measured: int  # of those under monitoring, who sent readings in the last week
    monitored: int
    stays: int
    stayed: int  # patients
    silent: tuple[UUID, ...]  # enrolled, and neither worked with nor measured lately
    patterns: tuple[Pattern, ...]


async def report(conn: Connection, seen: Overview, *, zone: str, month: date, now: datetime) -> Report:
    """What the month's rows, work and ledger add up to."""
    lines = seen.lines
    patients = [one.patient_id for one in lines]
    known = await enrolment_store.enrolments(conn)
    around = await month_store.circumstances(conn, patients)
    civil = ZoneInfo(zone)
    start, end = first_instant(month, civil), first_instant(next_month(month), civil)
    work = await _work(conn, month, civil)
    seconds: dict[UUID, Counter[str]] = defaultdict(Counter)
    for entry in work:
        if entry.month == month:
            seconds[entry.patient_id][entry.program] += entry.seconds
    people = [
        Person(
            patient_id=one.patient_id,
            enrolled_on=known[one.patient_id].since if one.patient_id in known else None,
            initiating_visit=known[one.patient_id].initiating_visit if one.patient_id in known else None,
            monitored=Program.RPM in one.programs,
            other_biller=any(c.by_whom == "other_practice" for c in around.get(one.patient_id, ())),
            codes=one.codes,
            seconds=dict(seconds[one.patient_id]),
        )
        for one in lines
    ]
    starts = Counter(e.since.replace(day=1) for e in known.values() if e.since and e.state == "enrolled")
    beside = await month_store.around(conn, patients, start, end)
    stayed = [
        patient
        for patient, facts in around.items()
        for c in facts
        if c.kind == "stay" and c.from_at and c.from_at < end and (c.until_at is None or c.until_at > start)
    ]
    monitored = [one for one in lines if Program.RPM in one.programs]
    today = now.astimezone(civil).date()
    return Report(
        states=Counter(e.state for e in known.values()),
        enrolled_now=starts.get(month, 0),
        standing=Counter(str(one.standing) for one in lines),
        money=_money(lines, month),
        with_minutes=sum(1 for one in lines if any(one.minutes.values())),
        live=sum(1 for one in lines if one.live),
        waits=waits(await _asked(conn, start, end), now=now),
        episodes=sum(each.episodes for each in beside.values()),
        served=len(lines),
        measured=sum(1 for one in monitored if _measured(one, today)),
        monitored=len(monitored),
        stays=len(stayed),
        stayed=len(set(stayed)),
        silent=tuple(one.patient_id for one in lines if _silent(one, today)),
        patterns=tuple(patterns(people, work, month=month, before=starts)),
    )


def _money(lines: Sequence[Line], month: date) -> Money:
    prices = shipped().prices_of(f"{month:%Y-%m}")
    sums: dict[str, Sum] = {}
    for one in lines:
        for code, units in one.codes.items():
            line = priced(code, units, None, prices)
            before = sums.get(code) or Sum(
                code=code, units=0, allowed=NOTHING, medicare=NOTHING, patient=NOTHING
            )
            sums[code] = Sum(
                code=code,
                units=before.units + units,
                allowed=before.allowed + (line.allowed or 0),
                medicare=before.medicare + (line.medicare or 0),
                patient=before.patient + (line.patient or 0),
            )
    return Money(
        allowed=sum((each.allowed for each in sums.values()), NOTHING),
        medicare=sum((each.medicare for each in sums.values()), NOTHING),
        patient=sum((each.patient for each in sums.values()), NOTHING),
        price_set=prices.id if prices else "unknown",
        by_code=tuple(sums[code] for code in sorted(sums)),
        official_99490=prices.allowed("99490") if prices else None,
    )


def _measured(one: Line, on: date) -> bool:
    return one.last_day is not None and on - one.last_day <= timedelta(days=SILENT_DAYS)


def _silent(one: Line, on: date) -> bool:
    """Enrolled, no minutes this month, and no reading for a week: somebody may need a friendly call."""
    return not any(one.minutes.values()) and not (Program.RPM in one.programs and _measured(one, on))


async def _work(conn: Connection, month: date, zone: ZoneInfo) -> list[Work]:
    """The entries of this month and the ones before it that still stand."""
    earliest = (month - WINDOW * (MANAGED_MONTHS - 1)).replace(day=1)
    cur = await conn.execute(
        """SELECT e.patient_id, e.staff_name, e.month, lower(e.span), e.program,
                  extract(epoch FROM upper(e.span) - lower(e.span))::int, e.note, e.source = 'manual'
             FROM ccm.time_entry e
            WHERE e.month BETWEEN %s AND %s AND NOT EXISTS (SELECT FROM ccm.time_void v WHERE v.entry_id = e.entry_id)""",
        (earliest, month),
    )
    return [
        Work(
            patient_id=row[0],
            staff_name=row[1],
            month=row[2],
            day=row[3].astimezone(zone).date(),
            program=row[4],
            seconds=row[5],
            note=row[6],
            manual=row[7],
        )
        for row in await cur.fetchall()
    ]


async def _asked(conn: Connection, start: datetime, end: datetime) -> list[Asked]:
    """The work asked for in the month, with the first time that somebody took it up."""
    cur = await conn.execute(
        """SELECT t.opened_at, t.due_at, t.closed_at,
                  (SELECT min(m.at) FROM ccm.task_move m WHERE m.task_id = t.task_id AND m.move <> 'note')
             FROM ccm.task t WHERE t.opened_at >= %s AND t.opened_at < %s""",
        (start, end),
    )
    return [
        Asked(opened_at=opened, due_at=due, taken_at=taken, closed_at=closed)
        for opened, due, closed, taken in await cur.fetchall()
    ]


REPORT_COLUMNS = ("practice", "month", "subject", "measure", "value")


def sheet(said: Report, *, practice: str, month: date) -> str:
    """The report as CSV, one measure a line, so that months can be put below each other. It names no patient."""
    waited, money = said.waits, said.money
    rows: list[tuple[str, str, object]] = [
        *(
            ("enrolment", state, said.states.get(state, 0))
            for state in ("enrolled", "candidate", "declined", "ended")
        ),
        ("enrolment", "new this month", said.enrolled_now),
        ("enrolment", "patients of the month", said.served),
        *(("months", standing, count) for standing, count in said.standing.items()),
        ("engagement", "with minutes", said.with_minutes),
        ("engagement", "with a live conversation", said.live),
        ("engagement", "under monitoring", said.monitored),
        ("engagement", "measured in the last week", said.measured),
        ("engagement", "need a friendly call", len(said.silent)),
        ("response", "alerts", said.episodes),
        ("response", "tasks asked for", waited.asked),
        ("response", "tasks finished", waited.finished),
        ("response", "median hours until taken up", _rounded(waited.taken_median_hours)),
        ("response", "median hours until finished", _rounded(waited.median_hours)),
        ("response", "hours within which nine of ten finished", _rounded(waited.slow_hours)),
        ("response", "finished late", waited.late),
        ("response", "overdue now", waited.overdue),
        ("hospital", "stays known of", said.stays),
        ("hospital", "patients with a stay", said.stayed),
        *(("units", each.code, each.units) for each in money.by_code),
        *(("allowed USD", each.code, each.allowed) for each in money.by_code),
        ("revenue USD", "allowed", money.allowed),
        ("revenue USD", "Medicare's share", money.medicare),
        ("revenue USD", "patients' share", money.patient),
        ("revenue USD", "price set", money.price_set),
        ("comparison USD", "official 99490", money.official_99490 or ""),
        ("comparison USD", "99490 that circulates", GUIDE_RATE),
        ("comparison USD", f"official year of {GUIDE_PATIENTS} patients", money.official_year or ""),
        ("comparison USD", f"year of {GUIDE_PATIENTS} patients that circulates", GUIDE_YEAR),
        *(("own audit", pattern.key, pattern.count) for pattern in said.patterns),
    ]
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\r\n")
    out.writerow(REPORT_COLUMNS)
    out.writerows((practice, f"{month:%Y-%m}", *row) for row in rows)
    return text.getvalue()


def _rounded(hours: float | None) -> str:
    return "" if hours is None else f"{hours:.1f}"
