"""One episode's page and its timeline: what happened, the numbers behind it, what was said and done."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from fastapi import HTTPException, Request
from psycopg import AsyncConnection

from alerts import contact_store, desk_store, page_store, screen_store
from alerts.access import WORKS
from alerts.acts import PHYSICIAN, Act, SnoozeReason
from alerts.concerns import about
from alerts.contact import contact_text
from alerts.contact_store import CareCalls
from alerts.desk_web import Desk, clock, midnight, must_see
from alerts.dispositions import DISPOSITIONS
from alerts.episode import Episode, State
from alerts.escalation import SPOKEN, target_text
from alerts.events import Move, Severity
from alerts.outage import cause_text
from alerts.retraction import WHY as WITHDRAWN
from alerts.row import (
    Reading,
    against_usual,
    next_step,
    old,
    quality,
    stands,
    usual_text,
    value_text,
    worst_first,
    years,
)
from alerts.screen_store import Counted, Told
from alerts.sketch import UNITS, Point, sketch, spoken
from alerts.triage import Why
from alerts.worklist import age, time_left
from risk.events import Tier

SHOWN_DAYS: Final = 60
EVIDENCE_FIRST: Final = 5


async def found(conn: AsyncConnection, desk: Desk, request: Request, episode_id: UUID) -> Episode:
    """The episode, if it exists for this practice and this role may see its queue."""
    episode = await screen_store.episode(conn, episode_id)
    if episode is None:
        raise HTTPException(404, "There is no such episode in your practice.")
    must_see(desk.who(request), episode.queue)
    return episode


async def page(
    desk: Desk, request: Request, conn: AsyncConnection, episode: Episode, act: Act, care_calls: CareCalls
) -> dict[str, Any]:
    """Everything the page shows."""
    who, now, facts = desk.who(request), act.now, about(episode.concern)
    mine = episode.owner == who.staff_id
    told = (await screen_store.readings(conn, [episode.told_reading])).get(episode.told_reading)
    readings = await _series(conn, episode, now)
    newest = readings[-1] if readings else told
    points = _points(readings, facts.quantity)
    patient = (await desk.patients(conn, [episode.patient_id]))[episode.patient_id]
    story = await screen_store.story(conn, episode.episode_id)
    evidence = await screen_store.evidence(conn, episode.episode_id)
    open_ones = (await screen_store.open_episodes(conn, [episode.patient_id])).get(episode.patient_id, [])
    undoable = await screen_store.undoable(conn, who.staff_id, since=midnight(who, now))
    works = who.role in WORKS[episode.queue]
    contacts = await contact_store.last(conn, care_calls, [episode.patient_id])
    return {
        "episode": episode,
        "facts": facts,
        "patient": patient,
        "years": years(patient.born, now),
        "contact": contact_text(contacts.get(episode.patient_id), act),
        "series": timeline(episode, readings, story, evidence, zone=who.zone) if facts.quantity else None,
        "told": told,
        "value": value_text(newest, facts.quantity) if newest else "",
        "usual": usual_text(newest, facts.quantity) if newest and facts.quantity else "",
        "against": against_usual(newest, facts.quantity) if newest else None,
        "newest_at": newest.effective_at if newest else None,
        "stale": newest is not None and bool(old(newest.effective_at, now)),
        "calls": await page_store.calls(conn, episode_id=episode.episode_id),
        "target_text": target_text,
        "spoken_channel": SPOKEN,
        "cause": cause_text,
        "quality": quality(told) if told else [],
        "receipts": await desk_store.receipts_of(conn, episode.patient_id),
        "old": old(episode.told_effective_at, now) if told else "",
        "left": time_left(episode.due_at, now),
        "late": episode.due_at <= now,
        "age": age(episode.since, now),
        "asks": episode.state in (State.WAITING, State.ESCALATED),
        "stands": stands(episode, mine=mine, until=clock(act, episode.until)),
        "next_step": next_step(episode, who.role, mine=mine),
        "sketch": sketch(points, width=720, height=220, unit=UNITS[facts.quantity], margin=10)
        if facts.quantity
        else None,
        "evidence": evidence[:EVIDENCE_FIRST],
        "evidence_more": evidence[EVIDENCE_FIRST:],
        "story": story[::-1],
        "comments": await screen_store.comments(conn, episode.episode_id),
        "others": [e for e in worst_first(open_ones) if e.episode_id != episode.episode_id],
        "earlier": await screen_store.history(conn, episode.patient_id),
        "undoable": undoable if undoable and story and story[-1].caused_by == undoable.act_id else None,
        "may": may(episode, mine=mine, works=works, provider=who.role == PHYSICIAN),
        "works": works,
        "dispositions": DISPOSITIONS,
        "snoozes": SnoozeReason,
        "why": why_text,
        "about": about,
        "clock": act.clock,
        "spoken": spoken,
        "number": number_text,
        "value_of": value_text,
        "comment_id": uuid4(),
    }


def may(episode: Episode, *, mine: bool, works: bool, provider: bool) -> dict[str, bool]:
    """Which forms the page offers. The rules are in `acts`; this only spares people forms that would be refused."""
    if not works:
        return dict.fromkeys(
            ("claim", "take_over", "hand_back", "settle", "escalate", "snooze", "task", "close"), False
        )
    state, free = episode.state, episode.owner is None or mine
    settles = state in (State.WAITING, State.CLAIMED, State.ESCALATED) and free
    return {
        "claim": state is State.WAITING or (state is State.ESCALATED and provider) or state is State.SNOOZED,
        "take_over": state is State.CLAIMED and not mine,
        "hand_back": mine or state is State.ESCALATED,
        "settle": settles,
        "escalate": state in (State.WAITING, State.CLAIMED) and free,
        "snooze": state in (State.WAITING, State.CLAIMED)
        and free
        and episode.severity is not Severity.CRITICAL,
        "task": state is not State.CLOSED and not episode.needs_task,
        "close": state is State.HANDLED,
    }


def number_text(value: float) -> str:
    """A number with as many digits as mean something.

    >>> number_text(186.0), number_text(130.44), number_text(2443.88), number_text(4.484)
    ('186', '130.4', '2444', '4.5')
    """
    return f"{value:.0f}" if value >= SPOKEN_WHOLE or value == int(value) else f"{value:.1f}"


SPOKEN_WHOLE: Final = 1000


def why_text(code: str) -> str:
    """A stored reason in words; a person's act explains itself.

    >>> why_text("latched"), why_text("claim")
    ('milder, but nobody has looked yet', '')
    """
    if code == WITHDRAWN:
        return "a reading was taken back"
    known = Why.__members__.get(code.upper())
    return known.value if known else ""


async def _series(conn: AsyncConnection, episode: Episode, now: datetime) -> list[Reading]:
    kind = about(episode.concern).kind
    if kind is None:
        return []
    since = min(episode.opened_at, now) - timedelta(days=SHOWN_DAYS)
    return await screen_store.series(conn, episode.patient_id, kind, since=since)


def _points(readings: Sequence[Reading], quantity: str | None) -> list[Point]:
    points = []
    for reading in readings[-90:]:
        value, band = reading.value(quantity), reading.bands.get(quantity or "")
        if value is not None or reading.beyond:
            low, high = (band.low, band.high) if band else (None, None)
            points.append(Point(reading.effective_at, value, low, high, Tier(reading.tier), reading.beyond))
    return points


def timeline(
    episode: Episode,
    readings: Sequence[Reading],
    story: Sequence[Told],
    evidence: Sequence[Counted],
    *,
    zone: str,
) -> dict[str, Any]:
    """The columns that the chart draws. Instants are epoch seconds; gaps are null."""
    facts = about(episode.concern)
    quantity = facts.quantity
    bands = [reading.bands.get(quantity or "") for reading in readings]
    return {
        "label": facts.label,
        "zone": zone,
        "quantity": quantity,
        "unit": spoken(UNITS[quantity]) if quantity else "",
        "at": [round(reading.effective_at.timestamp()) for reading in readings],
        "value": [reading.value(quantity) for reading in readings],
        "beyond": [reading.beyond for reading in readings],
        "second": [reading.diastolic for reading in readings] if quantity == "systolic" else None,
        "low": [band.low if band else None for band in bands],
        "high": [band.high if band else None for band in bands],
        "tier": [reading.tier for reading in readings],
        "drift": [reading.drift for reading in readings],
        "limits": _limits(evidence, quantity),
        "counted": [str(item.reading_id) for item in evidence],
        "reading": [str(reading.reading_id) for reading in readings],
        "quality": [", ".join(quality(reading)) for reading in readings],
        "marks": [_mark(told) for told in story],
    }


def _limits(evidence: Sequence[Counted], quantity: str | None) -> list[float]:
    """The lines that readings of this episode were held against."""
    return sorted(
        {
            held.against
            for item in evidence
            for held in item.evidence
            if held.quantity == quantity and held.comparison == "limit" and held.against is not None
        }
    )


def _mark(told: Told) -> dict[str, Any]:
    said = DISPOSITIONS[told.disposition].label if told.disposition in DISPOSITIONS else _PAST[told.move]
    return {"at": round(told.at.timestamp()), "said": said, "person": told.by is not None}


_PAST: Final = {
    Move.OPENED: "Opened",
    Move.WORSENED: "Worse",
    Move.EASED: "Eased",
    Move.REOPENED: "Re-opened",
    Move.CLAIMED: "Claimed",
    Move.HANDED_BACK: "Handed back",
    Move.ESCALATED: "Escalated",
    Move.DISPOSITIONED: "Settled",
    Move.CLOSED: "Closed",
    Move.TASK_ASKED: "Care task",
    Move.SNOOZED: "Snoozed",
    Move.WOKEN: "Woken",
}
