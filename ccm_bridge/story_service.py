"""One patient's month as a story: readings, alerts, tasks, calls, answers, plans, letters, reviews, in the order of time.

Nothing is written for it: every line is a row of evidence that stands elsewhere, with the way to it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from ccm_bridge import letter_service, plan_store, store, time_store
from ccm_bridge.ledger import ACTIVITIES, first_instant, next_month
from ccm_bridge.month_service import Row
from ccm_bridge.origins import Origins
from ccm_bridge.service import MOVE_WORDS
from ccm_bridge.store import Connection
from ccm_bridge.tasks import concern_words

LED_THERE = timedelta(days=3)
"""How far back the readings before an alert are told."""

STEPS = {
    "reviewed": "reviewed the month",
    "signed": "signed the month",
    "locked": "locked the month",
    "amended": "amended the month",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One thing that happened: what kind of thing, whose doing, in words, and where it stands."""

    at: datetime
    kind: str  # reading, alert, task, minutes, plan, consent, letter, month
    who: str  # empty: nobody's doing
    words: str
    href: str = ""


async def story(conn: Connection, row: Row, *, patient_id: UUID, origins: Origins | None) -> list[Moment]:
    """Everything of the month, the first thing first; what was told of readings comes with the readings themselves."""
    known = row.known
    zone = ZoneInfo(known.zone)
    start, end = first_instant(known.month, zone), first_instant(next_month(known.month), zone)
    back = f"/month/{known.month:%Y-%m}/patient/{patient_id}"
    found = [
        *await _alerts(conn, patient_id, start, end, origins),
        *await _work(conn, patient_id),
        *await _minutes(conn, row, patient_id),
        *await _plans(conn, patient_id),
        *(
            Moment(
                at=one.given_at,
                kind="consent",
                who=one.explained_by_name,
                words=f"explained {one.program}; {one.given_by} {'accepted' if one.accepted else 'declined'} ({one.method})",
                href=f"/care/{patient_id}",
            )
            for one in known.consents
        ),
        *(
            Moment(
                at=one["given_at"],
                kind="letter",
                who=one["recorded_by_name"],
                words=f"gave {one['given_to']} the month's letter, {one['how']} (reading level: grade {one['grade']:.0f})",
                href=f"{back}/letter",
            )
            for one in await letter_service.given(conn, patient_id, known.month)
        ),
        *(
            Moment(
                at=one.at, kind="month", who=one.by_name, words=_with(STEPS[one.step], one.note), href=back
            )
            for one in row.reviews
        ),
    ]
    return sorted(
        (one for one in found if start <= one.at < end or one.kind in ("letter", "month")), key=_order
    )


def _order(one: Moment) -> tuple[datetime, int]:
    """By time; in one instant the cause first."""
    kinds = ("reading", "alert", "consent", "plan", "task", "minutes", "letter", "month")
    return one.at, kinds.index(one.kind)


def _with(words: str, note: str) -> str:
    return f"{words}: {note}" if note else words


async def _alerts(
    conn: Connection, patient_id: UUID, start: datetime, end: datetime, origins: Origins | None
) -> list[Moment]:
    cur = await conn.execute(
        "SELECT DISTINCT episode_id FROM ccm.episode_move WHERE patient_id = %s AND at >= %s AND at < %s",
        (patient_id, start, end),
    )
    told = await store.told(conn, [row[0] for row in await cur.fetchall()])
    names = await _names(conn)
    moves = [
        Moment(
            at=one.at,
            kind="alert",
            who="",
            words=(
                f"{concern_words(one.concern)} {one.words}{_by(one.by_staff, names)} ({one.severity}): {one.reason}"
            ),
            href=f"/queue/episode/{one.episode_id}",
        )
        for one in told
    ]
    if origins is None:
        return moves
    measured = dict(
        await origins.readings(conn, list(dict.fromkeys(r for one in told for r in one.readings)))
    )
    for one in told:
        if one.move == "opened":  # what led there, also where the alert itself names its last reading only
            before = await origins.of_patient(conn, patient_id, start=one.at - LED_THERE, end=one.at)
            measured |= {reading.reading_id: reading for reading in before}
    return moves + [
        Moment(
            at=one.effective_at,
            kind="reading",
            who="",
            words=f"{one.value}, from {one.device_id}",
            href=f"/chain/reading/{one.reading_id}",
        )
        for one in measured.values()
    ]


def _by(staff_id: UUID | None, names: Mapping[UUID, str]) -> str:
    return f" by {names.get(staff_id, 'a colleague')}" if staff_id else ""


async def _work(conn: Connection, patient_id: UUID) -> list[Moment]:
    found: list[Moment] = []
    for task in await store.tasks_of_patient(conn, patient_id):
        href = f"/tasks/{task.task_id}"
        found.append(
            Moment(at=task.opened_at, kind="task", who="", words=f"{task.title}: {task.reason}", href=href)
        )
        found += [
            Moment(
                at=one["at"],
                kind="task",
                who=one["by_name"],
                words=_with(f"{task.title}: {MOVE_WORDS[one['move']]}", one["note"]),
                href=href,
            )
            for one in await store.moves(conn, task.task_id)
        ]
    return found


async def _minutes(conn: Connection, row: Row, patient_id: UUID) -> list[Moment]:
    return [
        Moment(
            at=one.start,
            kind="minutes",
            who=one.staff_name,
            words=(
                f"{one.seconds // 60}:{one.seconds % 60:02} {one.program}, "
                f"{ACTIVITIES.get(one.activity, one.activity).lower()}: {one.note}"
                + (f" Outcome: {one.outcome}." if one.outcome else "")
            ),
            href=f"/chain/entry/{one.entry_id}",
        )
        for one in await time_store.of_month(conn, row.known.month, patient_id)
        if one.voided_at is None
    ]


async def _plans(conn: Connection, patient_id: UUID) -> list[Moment]:
    href = f"/care/{patient_id}"
    versions = await plan_store.versions(conn, patient_id)
    drafted = [
        Moment(
            at=one.drafted_at,
            kind="plan",
            who=one.drafted_by_name,
            words=f"wrote version {one.version} of the care plan",
            href=href,
        )
        for one in versions
    ]
    signed = [
        Moment(
            at=one.signed_at,
            kind="plan",
            who=one.signed_by_name or "",
            words=f"signed version {one.version} of the care plan",
            href=href,
        )
        for one in versions
        if one.signed_at is not None
    ]
    given = [
        Moment(
            at=one["given_at"],
            kind="plan",
            who="",
            words=f"a copy of version {one['version']} went to {one['given_to']}, {one['how']}",
            href=href,
        )
        for one in await plan_store.copies(conn, patient_id)
    ]
    return drafted + signed + given


async def _names(conn: Connection) -> dict[UUID, str]:
    return dict(await (await conn.execute("SELECT staff_id, name FROM who.staff")).fetchall())


def as_text(moments: Iterable[Moment], *, title: str, zone: ZoneInfo) -> str:
    """The story as plain text, to be copied into another record."""
    lines = [title, ""]
    lines += [
        f"{one.at.astimezone(zone):%Y-%m-%d %H:%M}  {one.who + ' ' if one.who else ''}{one.words}"
        for one in moments
    ]
    return "\n".join(lines) + "\n"


def by_day(moments: Sequence[Moment], zone: ZoneInfo) -> list[tuple[Any, list[Moment]]]:
    """The moments of each day of the practice's calendar."""
    days: dict[Any, list[Moment]] = {}
    for one in moments:
        days.setdefault(one.at.astimezone(zone).date(), []).append(one)
    return list(days.items())
