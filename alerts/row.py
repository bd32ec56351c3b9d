"""One row of the queue in words: value, own band, quality, what to do next. Pure; templates only lay it out."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from alerts.acts import PHYSICIAN
from alerts.concerns import Queue, about
from alerts.dispositions import DISPOSITIONS
from alerts.episode import RANK, Episode, State
from alerts.sketch import UNITS, Sketch, spoken
from alerts.triage import PLAYED, lateness
from alerts.worklist import Place, age, time_left
from risk.events import Band


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What alerts.observation keeps of one reading."""

    reading_id: UUID
    effective_at: datetime
    received_at: datetime
    systolic: float | None = None
    diastolic: float | None = None
    pulse: float | None = None
    glucose: float | None = None
    beyond: str | None = None
    tier: str
    bands: dict[str, Band]
    drift: float | None = None
    context: str | None = None
    flags: tuple[str, ...] = ()
    time_confidence: str
    history: bool = False

    def value(self, quantity: str | None) -> float | None:
        return {
            "systolic": self.systolic,
            "diastolic": self.diastolic,
            "pulse": self.pulse,
            "glucose": self.glucose,
        }.get(quantity or "")


def value_text(reading: Reading, quantity: str | None) -> str:
    """The number as it is said, with its unit.

    >>> from datetime import UTC
    >>> at = datetime(2026, 1, 5, tzinfo=UTC)
    >>> cuff = Reading(reading_id=UUID(int=1), effective_at=at, received_at=at, systolic=186, diastolic=104, pulse=88,
    ...                tier="high", bands={}, time_confidence="high")
    >>> value_text(cuff, "systolic"), value_text(cuff, "pulse")
    ('186/104 mmHg', '88 /min')
    """
    if reading.beyond is not None:
        return reading.beyond
    if quantity == "systolic" and reading.systolic is not None and reading.diastolic is not None:
        return f"{reading.systolic:.0f}/{reading.diastolic:.0f} mmHg"
    value = reading.value(quantity)
    return "" if value is None or quantity is None else f"{value:.0f} {spoken(UNITS[quantity])}"


def usual_text(reading: Reading, quantity: str | None) -> str:
    """The patient's own usual at that time of day, and after meals if it was; says when it is still being learned.

    >>> from datetime import UTC
    >>> at = datetime(2026, 1, 5, tzinfo=UTC)
    >>> fed = Band(quantity="glucose", level=172, low=120, high=240, when="after meals", days=9)
    >>> stick = Reading(reading_id=UUID(int=1), effective_at=at, received_at=at, glucose=190, tier="routine",
    ...                 bands={"glucose": fed}, time_confidence="high")
    >>> usual_text(stick, "glucose")
    'usual after meals 120–240'
    """
    band = reading.bands.get(quantity or "")
    if band is None:
        return "no usual yet"
    usual = f"usual {band.when}" if band.when else "usual"
    return f"{usual} {band.low:.0f}–{band.high:.0f}" + (", still learning" if band.learning else "")


class Against(NamedTuple):
    """Where a value lies against the own band: an arrow to see and a word to hear."""

    arrow: str
    word: str


def against_usual(reading: Reading, quantity: str | None) -> Against | None:
    value, band = reading.value(quantity), reading.bands.get(quantity or "")
    if value is None or band is None:
        return None
    if value > band.high:
        return Against("↑", "above own usual")
    return Against("↓", "below own usual") if value < band.low else Against("→", "within own usual")


FLAGS: Final = {
    "movement": "moved while measuring",
    "cuff_loose": "cuff loose",
    "irregular_pulse": "irregular pulse",
    "echo": "repeated transmission",
    "improper_position": "wrong position",
}


def quality(reading: Reading) -> list[str]:
    """What to know before trusting the number; empty when there is nothing."""
    said = [FLAGS.get(flag, flag.replace("_", " ")) for flag in reading.flags if flag != PLAYED]
    late = lateness(reading.effective_at, reading.received_at)
    if late:
        said.insert(0, late)
    if reading.time_confidence == "low":
        said.append("time chosen by rule")
    if reading.time_confidence == "suspect":
        said.append("time doubtful")
    return said


STALE_AFTER: Final = timedelta(days=1)
"""A number measured longer ago than this says little about today, and the row marks it."""


def old(measured_at: datetime, now: datetime) -> str:
    """How long ago it was measured, once that matters; empty for what is fresh.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    >>> old(noon - timedelta(days=3, hours=2), noon), old(noon - timedelta(hours=5), noon)
    ('measured 3 d ago', '')
    """
    passed = now - measured_at
    return f"measured {age(measured_at, now)} ago" if passed >= STALE_AFTER else ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One patient in the queue, with everything the template shows."""

    place: Place
    episode: Episode
    others: tuple[Episode, ...]  # further open concerns, worst first
    told: Reading | None  # the reading behind the reason
    newest: Reading | None  # the newest of that kind; the same, if nothing came since
    sketch: Sketch | None
    name: str
    mrn: str
    years: int
    label: str
    left: str
    late: bool
    age: str
    value: str  # the newest reading's: how the patient is now, as far as anybody knows
    usual: str
    against: Against | None
    stale: bool  # the newest is old
    quality: tuple[str, ...]
    old: str  # "measured 3 d ago" of the reading behind the reason; empty while it is fresh
    stands: str  # who has it, or what it waits for
    next_step: str
    contact: str  # when somebody last spoke with them, and who


class Known(NamedTuple):
    """What a row is made of, besides its place."""

    episodes: Sequence[Episode]  # this patient's open ones in this queue
    told: Reading | None
    latest: Reading | None
    sketch: Sketch | None
    name: str
    mrn: str
    born: date
    contact: str = ""


def years(born: date, now: datetime) -> int:
    return now.year - born.year - ((now.month, now.day) < (born.month, born.day))


THEN: Final = {Queue.CLINICAL: "call", Queue.ADHERENCE: "ask", Queue.TECHNICAL: "mend"}


def next_step(episode: Episode, role: str, *, mine: bool) -> str:
    """The one thing to do now, in a word or two."""
    match episode.state:
        case State.WAITING:
            return f"Claim, then {THEN[episode.queue]}"
        case State.ESCALATED:
            return "Claim and decide" if role == PHYSICIAN else "Provider to decide"
        case State.CLAIMED:
            return "Settle it" if mine else "Wait for your colleague"
        case State.HANDLED | State.SNOOZED:
            return "Resting"
        case _:
            return "Closed"


def stands(episode: Episode, *, mine: bool, until: str) -> str:
    """Who has it or why it is quiet, and until when."""
    match episode.state:
        case State.WAITING:
            return "Nobody yet"
        case State.ESCALATED:
            return "Waits for a provider"
        case State.CLAIMED:
            return f"{'You have' if mine else f'{episode.owner_name} has'} this until {until}"
        case State.HANDLED:
            known = DISPOSITIONS.get(episode.disposition or "")
            return f"{known.label if known else 'Handled'}; closes by {until}"
        case State.SNOOZED:
            return f"Snoozed until {until}"
        case _:
            return "Closed"


def worst_first(episodes: Sequence[Episode]) -> list[Episode]:
    """Of those equally severe the one measured last first."""
    return sorted(
        episodes,
        key=lambda e: (-RANK[e.severity], -e.told_effective_at.timestamp(), e.due_at, e.episode_id),
    )


def a_row(place: Place, known: Known, *, role: str, until: str, now: datetime) -> Row:
    """Put one row together. `until` is the end of the claim, rest or snooze as this person reads clocks."""
    (shown,) = (e for e in known.episodes if e.episode_id == place.episode_id)
    quantity = about(shown.concern).quantity
    told, latest = known.told, known.latest
    newest = latest or told
    return Row(
        place=place,
        episode=shown,
        others=tuple(e for e in worst_first(known.episodes) if e is not shown),
        told=told,
        newest=newest,
        sketch=known.sketch,
        name=known.name,
        mrn=known.mrn,
        years=years(known.born, now),
        label=about(shown.concern).label,
        left=time_left(shown.due_at, now),
        late=shown.due_at <= now,
        age=age(shown.since, now),
        value=value_text(newest, quantity) if newest else "",
        usual=usual_text(newest, quantity) if newest and quantity else "",
        against=against_usual(newest, quantity) if newest else None,
        stale=newest is not None and bool(old(newest.effective_at, now)),
        quality=tuple(quality(told)) if told else (),
        old=old(shown.told_effective_at, now) if told else "",
        stands=stands(shown, mine=place.mine, until=until),
        next_step=next_step(shown, role, mine=place.mine),
        contact=known.contact,
    )
