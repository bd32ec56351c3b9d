"""The minutes' use cases: a timer that survives a crash, an attested entry, a void. Every one is safe to repeat."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from ccm_bridge import plan_store, store, time_store, timer
from ccm_bridge.enrolment import PRACTITIONERS
from ccm_bridge.ledger import LIVE, LONGEST, Doing, Entry, Source, Span, part_id, span_of, split_at_months
from ccm_bridge.plan_problem import fitting
from ccm_bridge.service import Refused, Who, by, clinical
from ccm_bridge.store import Connection
from ccm_bridge.time_store import Overlap, Timer, Written
from ccm_bridge.timer import Beat, Worked, worked

COUNTRY = "US"
"""Where staff sit, unless an entry says otherwise: care management from abroad is not payable."""

ATTESTATION = "I did this work myself at the time stated; I remember it and no timer measured it."
SHORTEST_NOTE = 10
OLDEST = timedelta(days=366)
"""Older work cannot be claimed any more (Medicare: a calendar year after the service); it is a slip of the keyboard."""


# Timers -------------------------------------------------------------------------------------------------


async def start(
    conn: Connection,
    who: Who,
    timer_id: UUID,
    *,
    patient_id: UUID,
    task_id: UUID | None,
    program: str,
    activity: str,
    now: datetime,
) -> Timer | Refused:
    """Begin to measure. One unfinished timer per person, in whichever browser."""
    if refused := clinical(who):
        return refused
    started = await time_store.start_timer(
        conn,
        timer_id,
        patient_id=patient_id,
        task_id=task_id,
        program=program,
        activity=activity,
        by=by(who, now),
    )
    if not started:
        return Refused(
            status=409,
            sentence="You have a timer that is not finished. Log it or discard it, then start this one.",
        )
    return await _mine(conn, who, timer_id)


async def beat(
    conn: Connection, who: Who, timer_id: UUID, *, n: int, stretch: int, ago: float, now: datetime
) -> Timer | Refused:
    """The person is working now, or was `ago` seconds ago when the network was away; too long ago proves nothing."""
    if not 0 <= ago <= timer.LATEST.total_seconds():
        return Refused(
            status=422, sentence="This beat is too old to count; add the time by hand if you worked."
        )
    found = await time_store.timer(conn, timer_id, staff_id=who.staff_id)
    if found is None:
        return Refused(status=404, sentence="You have no such timer.")
    if found.state != "running":
        return Refused(status=409, sentence=f"This timer is {found.state}.")
    at = max(now - timedelta(seconds=ago), found.started_at)
    await time_store.beat(conn, timer_id, Beat(n=n, stretch=stretch, at=at), practice_id=who.practice_id)
    return found


async def pause(conn: Connection, who: Who, timer_id: UUID, *, now: datetime) -> Timer | Refused:
    """Stop counting without finishing: the stretch ends here."""
    return await _turn(conn, who, timer_id, expected="running", to="paused", now=now)


async def resume(conn: Connection, who: Who, timer_id: UUID, *, now: datetime) -> Timer | Refused:
    """Go on counting: a new stretch begins here. A timer that fell silent goes on only by this choice."""
    found = await time_store.timer(conn, timer_id, staff_id=who.staff_id, lock=True)
    if found and found.state == "running" and now - found.last_at > timer.SILENCE:
        first = Beat(n=found.last_n + 1, stretch=found.last_stretch + 1, at=now)
        await time_store.beat(conn, timer_id, first, practice_id=who.practice_id)
        return await _mine(conn, who, timer_id)
    return await _turn(conn, who, timer_id, expected="paused", to="running", now=now)


async def _turn(
    conn: Connection, who: Who, timer_id: UUID, *, expected: str, to: str, now: datetime
) -> Timer | Refused:
    found = await time_store.timer(conn, timer_id, staff_id=who.staff_id, lock=True)
    if found is None:
        return Refused(status=404, sentence="You have no such timer.")
    if found.state == to:
        return found  # the same request again
    if not await time_store.move_timer(conn, timer_id, expected=[expected], to=to):
        return Refused(status=409, sentence=f"This timer is {found.state}.")
    stretch = found.last_stretch + (to == "running")
    last = Beat(n=found.last_n + 1, stretch=stretch, at=now)
    if (
        to == "running" or now - found.last_at <= timer.SILENCE
    ):  # a pause long after the last beat proves nothing
        await time_store.beat(conn, timer_id, last, practice_id=who.practice_id)
    return await _mine(conn, who, timer_id)


async def stop(conn: Connection, who: Who, timer_id: UUID, *, now: datetime) -> Timer | Refused:
    """Finish measuring; the work is logged next.

    A timer whose browser fell silent is stopped at its last beat ("recovered"); its person confirms before it counts.
    """
    found = await time_store.timer(conn, timer_id, staff_id=who.staff_id, lock=True)
    if found is None:
        return Refused(status=404, sentence="You have no such timer.")
    if found.state in ("stopped", "logged", "discarded"):
        return found
    fresh = found.state == "running" and now - found.last_at <= timer.SILENCE
    if fresh:
        last = Beat(n=found.last_n + 1, stretch=found.last_stretch, at=now)
        await time_store.beat(conn, timer_id, last, practice_id=who.practice_id)
    lost = found.state == "running" and not fresh and found.last_n > 0
    await time_store.move_timer(conn, timer_id, expected=["running", "paused"], to="stopped")
    await time_store.note_stop(
        conn,
        timer_id,
        at=found.last_at if lost else now,
        how="recovered" if lost else "stopped",
        practice_id=who.practice_id,
    )
    return await _mine(conn, who, timer_id)


async def discard(conn: Connection, who: Who, timer_id: UUID) -> Timer | Refused:
    """Throw a measurement away. Its beats stay as rows; it never becomes an entry."""
    found = await time_store.timer(conn, timer_id, staff_id=who.staff_id, lock=True)
    if found is None:
        return Refused(status=404, sentence="You have no such timer.")
    if found.state == "logged":
        return Refused(status=409, sentence="This timer is logged already. Void its entry if it was wrong.")
    await time_store.move_timer(conn, timer_id, expected=["running", "paused", "stopped"], to="discarded")
    return await _mine(conn, who, timer_id)


async def measured(conn: Connection, timer_id: UUID) -> Worked:
    """What the timer's beats prove so far."""
    return worked(await time_store.beats(conn, timer_id))


async def _mine(conn: Connection, who: Who, timer_id: UUID) -> Timer | Refused:
    found = await time_store.timer(conn, timer_id, staff_id=who.staff_id)
    if found is None:
        return Refused(status=404, sentence="You have no such timer.")
    return found


# Entries ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """The entries that now stand in the ledger; `again` if they stood there before this request."""

    entries: tuple[UUID, ...]
    seconds: int
    again: bool = False


async def finished(conn: Connection, who: Who, timer_id: UUID, patient_id: UUID) -> Timer | Refused:
    """A person's own timer of this patient, locked, that stands still: it may become entries, or it has."""
    found = await time_store.timer(conn, timer_id, staff_id=who.staff_id, lock=True)
    if found is None:
        return Refused(status=404, sentence="You have no such timer.")
    if found.state == "discarded":
        return Refused(status=409, sentence="This timer was discarded: it never becomes an entry.")
    if found.state not in ("stopped", "logged"):
        return Refused(status=409, sentence=f"This timer is {found.state}. Stop it first.")
    if patient_id != found.patient_id:
        return Refused(status=422, sentence="This timer ran for another patient.")
    return found


async def first_entry(conn: Connection, timer_id: UUID) -> Written | None:
    """The entry with which a logged timer's minutes begin."""
    return await time_store.entry(conn, part_id(timer_id, 0))


async def log_timer(
    conn: Connection, who: Who, timer_id: UUID, doing: Doing, *, now: datetime
) -> Logged | Refused:
    """Turn a stopped timer's stretches into entries."""
    if isinstance(found := await finished(conn, who, timer_id, doing.patient_id), Refused):
        return found
    proved = await measured(conn, timer_id)
    if not proved.spans:
        return Refused(
            status=422,
            sentence="No beats prove this time (the browser did not measure). Enter the minutes by hand and attest them.",
        )
    logged = await _write(
        conn, who, doing, proved.spans, origin=timer_id, timer_id=timer_id, attestation="", now=now
    )
    if isinstance(logged, Logged):
        await time_store.move_timer(conn, timer_id, expected=["stopped"], to="logged")
    return logged


async def log_by_hand(
    conn: Connection,
    who: Who,
    entry_id: UUID,
    doing: Doing,
    *,
    start: datetime,
    end: datetime,
    attested: bool,
    now: datetime,
    corrects: UUID | None = None,
    timer_id: UUID | None = None,
) -> Logged | Refused:
    """An entry from memory, attested. Weaker evidence than a timer, and marked so.

    With `timer_id` it ends a timer that measured nothing: this person's own, of this patient, and not thrown away.
    """
    if not attested:
        return Refused(status=422, sentence="Confirm that you did this work at the time stated.")
    if refused := _span_said(start, end, now):
        return refused
    if timer_id is not None:
        found = await finished(conn, who, timer_id, doing.patient_id)
        if isinstance(found, Refused):
            return found
    if corrects is not None and await time_store.entry(conn, corrects) is None:
        return Refused(status=404, sentence="The entry that this one corrects is not here.")
    logged = await _write(
        conn,
        who,
        doing,
        (span_of(start, end),),
        origin=entry_id,
        timer_id=timer_id,
        attestation=ATTESTATION,
        now=now,
        corrects=corrects,
    )
    if timer_id is not None and isinstance(logged, Logged):
        await time_store.move_timer(conn, timer_id, expected=["stopped"], to="logged")
    return logged


async def _write(
    conn: Connection,
    who: Who,
    doing: Doing,
    spans: Sequence[Span],
    *,
    origin: UUID,
    timer_id: UUID | None,
    attestation: str,
    now: datetime,
    corrects: UUID | None = None,
) -> Logged | Refused:
    """Check what a person says, cut it at the practice's month ends, and append it once.

    1. The same ids with the same content are the same request again: answered as before, nothing is written.
    2. A span that meets another entry of this person is refused, and the other entry is named.
    """
    if refused := clinical(who) or _said(who, doing):
        return refused
    zone = ZoneInfo(who.zone)
    credential = (who.credential or "").upper().rstrip(".")
    pieces = [piece for span in spans for piece in split_at_months(span, zone)]
    new = [
        Entry(
            entry_id=part_id(origin, place),
            practice_id=who.practice_id,
            staff_id=who.staff_id,
            staff_name=who.name,
            credential=credential,
            country=COUNTRY,
            span=piece.span,
            zone=who.zone,
            month=piece.month,
            doing=doing,
            timer_id=timer_id,
            source=Source.MANUAL if attestation else Source.TIMER,
            attestation=attestation,
            corrects=corrects,
            entered_at=now,
            entered_by=who.staff_id,
        )
        for place, piece in enumerate(pieces)
    ]
    logged = Logged(entries=tuple(e.entry_id for e in new), seconds=sum(e.span.seconds for e in new))
    await time_store.lock(conn, "time_entry", who.practice_id)
    before = await time_store.by_ids(conn, logged.entries)
    if before:
        same = len(before) == len(new) and all(_same(before[e.entry_id], e) for e in new)
        if same:
            return Logged(entries=logged.entries, seconds=logged.seconds, again=True)
        return Refused(
            status=409,
            sentence="This form was sent before with other words. Open the page again to log another entry.",
            entry_id=next(iter(before)),
        )
    try:
        await time_store.append(conn, new)
    except Overlap:
        taken = await time_store.overlapping(conn, who.staff_id, (e.span for e in new))
        return Refused(status=409, sentence=_taken(taken, zone), entry_id=taken.entry_id if taken else None)
    return logged


def _span_said(start: datetime, end: datetime, now: datetime) -> Refused | None:
    """What is wrong with a time that a person remembers."""
    sentence = ""
    if (end - start).total_seconds() < 1:
        sentence = "The end must be after the start."
    elif end > now:
        sentence = "This time has not passed yet."
    elif start < now - OLDEST:
        sentence = "This is more than a year ago. Check the year."
    elif end - start > LONGEST:
        sentence = "One entry is four hours at most."
    return Refused(status=422, sentence=sentence) if sentence else None


def _said(who: Who, doing: Doing) -> Refused | None:
    """What is wrong with what a person said about their work."""
    if len(doing.note.strip()) < SHORTEST_NOTE:
        return Refused(status=422, sentence="Write what you did for this patient: a few words of their own.")
    if doing.interactive and doing.contact not in LIVE:
        return Refused(status=422, sentence="A live conversation is by phone, video or in person.")
    if doing.as_clinical_staff and (who.credential or "").upper() not in PRACTITIONERS:
        return Refused(
            status=422, sentence="Only a practitioner's own time can be offered as clinical staff's."
        )
    return None


def _same(before: Written, new: Entry) -> bool:
    return (before.staff_id, before.patient_id, before.episode_id, before.start, before.end) == (
        new.staff_id,
        new.doing.patient_id,
        new.doing.episode_id,
        new.span.start,
        new.span.end,
    ) and (before.program, before.activity, before.note) == (
        new.doing.program,
        new.doing.activity,
        new.doing.note,
    )


def _taken(taken: Written | None, zone: ZoneInfo) -> str:
    if taken is None:
        return "You logged some of this time already. One minute can be logged once."
    start, end = taken.start.astimezone(zone), taken.end.astimezone(zone)
    return (
        f"You logged {start:%d %b %H:%M} to {end:%H:%M} already ({taken.program}: {taken.note[:60]}). "
        "One minute can be logged once: change the times, or void that entry first."
    )


async def void(
    conn: Connection, who: Who, void_id: UUID, entry_id: UUID, *, reason: str, now: datetime
) -> Written | Refused:
    """Take an entry out of the count, with a reason. It stays in the ledger, and its time is free again."""
    found = await time_store.entry(conn, entry_id)
    if found is None:
        return Refused(status=404, sentence="There is no such entry here.")
    own = found.staff_id == who.staff_id and who.role in ("nurse", "coordinator", "physician")
    if not own and who.role not in ("physician", "admin"):
        return Refused(
            status=403,
            sentence=f"This entry is {found.staff_name}'s: they, a physician or the practice admin void it.",
        )
    if len(reason.strip()) < 3:  # noqa: PLR2004 - the database asks for the same
        return Refused(status=422, sentence="Say why the entry is not to count.")
    if found.voided_at is None:
        await time_store.void(conn, void_id, entry_id, reason.strip(), by(who, now))
    again = await time_store.entry(conn, entry_id)
    return again or Refused(status=404, sentence="There is no such entry here.")


async def doing_for(conn: Connection, task_id: UUID | None) -> tuple[UUID, ...]:
    """The readings an entry on this task acts on: linked by themselves, not by memory."""
    return await store.readings_of_task(conn, task_id) if task_id else ()


async def problem_of_alert(conn: Connection, patient_id: UUID, episode_id: UUID, *, now: datetime) -> str:
    """The plan's problem that an alert is about; empty where none fits, or nobody told us of the alert yet."""
    told = await store.told(conn, [episode_id])
    plan = (await plan_store.plans(conn, [patient_id], before=now)).get(patient_id)
    return fitting(told[-1].concern, plan.content.problems).name if told and plan else ""
