"""Silence is a sign too: what it means that no reading came, and for whom it is work.

A reading that does not come is mostly plumbing. So the cause is asked first: a home that cannot send is technical
work and inhibits the question to the patient; only a silence nobody can explain goes to those who help measuring.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

import msgspec

from alerts import episode as ep
from alerts.concerns import NO_READINGS, UNREACHABLE, about
from alerts.episode import Cause, Episode, NotPossible, State, Transition
from alerts.events import FACTS, Move, Severity, episode_id
from alerts.policy import Policy
from alerts.triage import Why, rests_until

LOOK_AGAIN: Final = timedelta(hours=1)
"""How soon an inhibited expectation asks again whether the cause has gone."""

LABELS: Final = {"bp": "blood-pressure", "glucose": "glucose"}


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """That one patient measures one thing at least so often."""

    practice_id: int
    patient_id: UUID
    kind: str
    every_hours: int
    last_at: datetime  # receipt of the newest reading: freshness is about arrival
    due_at: datetime
    paused_until: datetime | None = None


class Arrangement(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody agreed with a patient about measuring: how often, or not until a day."""

    arrangement_id: UUID
    practice_id: int
    patient_id: UUID
    kind: str
    every_hours: int
    paused_until: datetime | None
    reason: str
    at: datetime
    by: UUID
    by_name: str


LONGEST_PAUSE: Final = timedelta(days=60)
OFTEN: Final = (12, 24, 48, 72, 168)
"""The choices of how often, in hours."""


def refusal(every_hours: int, paused_until: datetime | None, reason: str, *, now: datetime) -> str | None:
    """Why this cannot be agreed, or None: a pause has a reason and an end."""
    if every_hours not in OFTEN:
        return "Choose how often."
    if paused_until is None:
        return None
    if not now < paused_until <= now + LONGEST_PAUSE:
        return f"A pause ends after today and within {LONGEST_PAUSE.days} days."
    return None if reason.strip() else "A pause needs a reason: holiday, hospital, device in repair."


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """What an expectation that came due means, and when to look again. `transition` is None where nothing moved."""

    why: Why
    transition: Transition | None
    look_again: datetime


def weigh(
    expected: Expectation, known: dict[str, Episode], cause: str | None, policy: Policy, *, now: datetime
) -> Silence:
    """Weigh a silence. `cause` says why nothing can arrive from this home, if that is known."""
    if expected.paused_until is not None and now < expected.paused_until:
        return Silence(why=Why.PAUSED, transition=None, look_again=expected.paused_until)
    if cause is not None:
        return _unreachable(expected, known.get(UNREACHABLE), cause, policy, now=now)
    concern = NO_READINGS.get(expected.kind, f"no_{expected.kind}_readings")
    there = known.get(concern)
    again = now + timedelta(hours=expected.every_hours)
    if there is None or there.state is State.CLOSED:
        opened = _opened(expected, concern, _absent(expected, now), Why.NO_DATA, policy, now=now)
        return Silence(why=Why.NO_DATA, transition=opened, look_again=again)
    if there.state is State.HANDLED:
        back_at = rests_until(there, policy)
        if now < back_at:
            return Silence(why=Why.RESTING, transition=None, look_again=back_at)
        return Silence(
            why=Why.STILL_NO_DATA, transition=_back(expected, there, policy, now=now), look_again=again
        )
    return Silence(why=Why.KNOWN, transition=None, look_again=again)


def _unreachable(
    expected: Expectation, there: Episode | None, cause: str, policy: Policy, *, now: datetime
) -> Silence:
    again = now + LOOK_AGAIN
    if there is not None and there.state is not State.CLOSED:
        return Silence(why=Why.KNOWN, transition=None, look_again=again)
    sentence = f"{cause} since before the next reading was due; nobody knows how the patient is."
    opened = _opened(expected, UNREACHABLE, sentence, Why.UNREACHABLE, policy, now=now)
    return Silence(why=Why.UNREACHABLE, transition=opened, look_again=again)


def _absent(expected: Expectation, now: datetime) -> str:
    """The sentence on the row.

    >>> from datetime import UTC
    >>> at = datetime(2026, 1, 5, 9, tzinfo=UTC)
    >>> cuff = Expectation(practice_id=1, patient_id=FACTS, kind="bp", every_hours=72, last_at=at, due_at=at)
    >>> _absent(cuff, at + timedelta(days=4))
    'No blood-pressure reading for 4 days; at least one every 3 days is expected.'
    """
    label = LABELS.get(expected.kind, expected.kind)
    every = span(timedelta(hours=expected.every_hours))
    return f"No {label} reading for {span(now - expected.last_at)}; at least one every {every} is expected."


def span(length: timedelta) -> str:
    """A length of time in whole days, or hours below two days."""
    hours = round(length.total_seconds() / 3600)
    return f"{hours} hours" if hours < 48 else f"{hours // 24} days"  # noqa: PLR2004 - two days


def _opened(
    expected: Expectation, concern: str, sentence: str, why: Why, policy: Policy, *, now: datetime
) -> Transition:
    """A silence has no first reading: its id comes from the patient, the kind and the instant it was due."""
    began = uuid5(FACTS, "\x1f".join((str(expected.patient_id), expected.kind, expected.due_at.isoformat())))
    episode = Episode(
        episode_id=episode_id(expected.patient_id, concern, began),
        practice_id=expected.practice_id,
        patient_id=expected.patient_id,
        concern=concern,
        queue=about(concern).queue,
        state=State.WAITING,
        severity=Severity.WATCH,
        peak=Severity.WATCH,
        number=1,
        opened_at=now,
        since=now,
        due_at=policy.due(now, Severity.WATCH),
        first_reading=began,
        reason=sentence,
        rule=f"absence.{expected.kind}.{expected.every_hours}h",
        clears="the next reading",
        told_reading=began,
        told_effective_at=expected.last_at,
        told_received_at=expected.last_at,
        newest_at=expected.last_at,
        count=0,
    )
    return ep.begin(episode, Cause(at=now, why=why.name.lower(), reason=sentence, event=began))


def _back(expected: Expectation, there: Episode, policy: Policy, *, now: datetime) -> Transition:
    why = Why.STILL_NO_DATA
    sentence = _absent(expected, now)
    made = ep.step(
        there,
        Move.REOPENED,
        Cause(at=now, why=why.name.lower(), reason=sentence, event=there.first_reading),
        reason=sentence,
        since=now,
        due_at=policy.due(now, Severity.WATCH),
        times=there.times + 1,
        until=None,
        back=f"{why.value.capitalize()}.",
    )
    if isinstance(made, NotPossible):
        raise RuntimeError(f"episode {there.episode_id} is {there.state}, silence wanted it re-opened")  # noqa: TRY004
    return made
