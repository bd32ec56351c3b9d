"""The practice's month as a whole: enrolment, billing volume, engagement, response, hospital stays, and its own audit."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from ccm_bridge import month_store
from ccm_bridge.billing.book import shipped
from ccm_bridge.billing.decision import priced
from ccm_bridge.enrolment import Program
from ccm_bridge.ledger import first_instant, next_month
from ccm_bridge.month import WINDOW
from ccm_bridge.overview_service import Line, Overview
from ccm_bridge.selfaudit import MANAGED_MONTHS, Pattern, Person, Waits, Work, patterns, waits
from ccm_bridge.store import Connection

GUIDE_RATE, GUIDE_YEAR = Decimal("62.16"), Decimal(149_184)
"""A figure that circulates (99490 at $62.16, 200 patients, $149,184 a year): shown beside the official one, never used."""

GUIDE_PATIENTS = 200
SILENT_DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """National allowed amounts, and who owes which share."""

    allowed: Decimal
    medicare: Decimal
    patient: Decimal
    price_set: str
    by_code: Mapping[str, int]
    official_99490: Decimal | None


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
    stays: int
    silent: tuple[UUID, ...]  # enrolled, and neither worked with nor measured lately
    patterns: tuple[Pattern, ...]


async def report(conn: Connection, seen: Overview, *, zone: str, month: date, now: datetime) -> Report:
    """What the month's rows, work and ledger add up to."""
    lines = seen.lines
    patients = [one.patient_id for one in lines]
    known = await month_store.enrolments(conn)
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
    stays = sum(
        1
        for facts in around.values()
        for c in facts
        if c.kind == "stay" and c.from_at and c.from_at < end and (c.until_at is None or c.until_at > start)
    )
    return Report(
        states=Counter(e.state for e in known.values()),
        enrolled_now=starts.get(month, 0),
        standing=Counter(str(one.standing) for one in lines),
        money=_money(lines, month),
        with_minutes=sum(1 for one in lines if any(one.minutes.values())),
        live=sum(1 for one in lines if one.live),
        waits=waits(await _tasks(conn, start, end)),
        episodes=sum(each.episodes for each in seen.around.values()),
        stays=stays,
        silent=tuple(one.patient_id for one in lines if _silent(one, now.astimezone(civil).date())),
        patterns=tuple(patterns(people, work, month=month, before=starts)),
    )


def _money(lines: Sequence[Line], month: date) -> Money:
    prices = shipped().prices_of(f"{month:%Y-%m}")
    codes: Counter[str] = Counter()
    allowed = medicare = patient = Decimal(0)
    for one in lines:
        for code, units in one.codes.items():
            codes[code] += units
            line = priced(code, units, None, prices)
            allowed += line.allowed or 0
            medicare += line.medicare or 0
            patient += line.patient or 0
    return Money(
        allowed=allowed,
        medicare=medicare,
        patient=patient,
        price_set=prices.id if prices else "unknown",
        by_code=dict(sorted(codes.items())),
        official_99490=prices.allowed("99490") if prices else None,
    )


def _silent(one: Line, on: date) -> bool:
    """Enrolled, no minutes this month, and no reading for a week: somebody may need a friendly call."""
    monitored = Program.RPM in one.programs
    quiet = not any(one.minutes.values())
    unmeasured = not monitored or one.last_day is None or on - one.last_day > timedelta(days=SILENT_DAYS)
    return quiet and unmeasured


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


async def _tasks(conn: Connection, start: datetime, end: datetime) -> list[tuple[Any, ...]]:
    cur = await conn.execute(
        "SELECT opened_at, closed_at, due_at FROM ccm.task WHERE opened_at >= %s AND opened_at < %s",
        (start, end),
    )
    return list(await cur.fetchall())
