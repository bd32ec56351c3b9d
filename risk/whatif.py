"""Before a limit or a budget is saved: the alerts that the same readings would have made with it, beside those of now.

Pure: the readings and both plans are arguments. What is counted are episodes that open or worsen (`replay.Episodes`).
Both plans are replayed, also the one that holds now: limits and budgets moved in the meantime, and two replays differ
in nothing but the plan.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from uuid import UUID

from ingest.events import Beyond, Kind, Reading, TimeConfidence
from risk.events import Finding, Scored, Tier
from risk.labels import Label, Said, Tally
from risk.measures import Plan
from risk.replay import REFRACTORY, Episodes, replay
from risk.scoring import Model

WEEK = timedelta(days=7)
LEARNT = timedelta(days=64)
"""Readings this long before the span that is counted only build the baseline: the whole memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """One alert that a plan makes, and until when its episode heard of it again."""

    patient_id: UUID
    at: datetime
    until: datetime
    concern: str
    tier: Tier
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two plans on the same readings."""

    patients: int
    weeks: float  # patient-weeks looked at
    before: tuple[Raised, ...]
    after: tuple[Raised, ...]

    @property
    def missed(self) -> tuple[Raised, ...]:
        """Alerts that are made now and would not be."""
        return _untold(self.before, self.after)

    @property
    def added(self) -> tuple[Raised, ...]:
        """Alerts that are not made now and would be."""
        return _untold(self.after, self.before)

    def a_week(self, raised: Sequence[Raised]) -> float:
        """Alerts per patient-week."""
        return len(raised) / self.weeks if self.weeks else 0.0

    @property
    def seal(self) -> str:
        """What somebody was shown, in one line: kept with what they then saved."""
        told = f"{len(self.before)} alerts before, {len(self.after)} after, {len(self.missed)} missed, {len(self.added)} new"
        return f"{told}; {self.patients} patients, {self.weeks:.1f} patient-weeks"

    def by_week(self, zone: tzinfo) -> list[tuple[date, int, int]]:
        """Alerts of each calendar week, by its Monday, now and then."""
        now, then = (Counter(_monday(one.at, zone) for one in some) for some in (self.before, self.after))
        if not now and not then:
            return []
        first, last = min(now | then), max(now | then)
        weeks = [first + n * WEEK for n in range((last - first).days // 7 + 1)]
        return [(week, now[week], then[week]) for week in weeks]


def _untold(some: Sequence[Raised], others: Sequence[Raised]) -> tuple[Raised, ...]:
    """Those of `some` that the others do not tell.

    Another plan tells the same if it has an episode of that concern of that person, at least as severe, open then or
    opening within a week.
    """
    told: defaultdict[tuple[UUID, str], list[Raised]] = defaultdict(list)
    for other in others:
        told[other.patient_id, other.concern].append(other)
    return tuple(
        one
        for one in some
        if not any(
            other.at - REFRACTORY <= one.at <= other.until + REFRACTORY and other.tier.rank >= one.tier.rank
            for other in told[one.patient_id, one.concern]
        )
    )


def _monday(at: datetime, zone: tzinfo) -> date:
    day = at.astimezone(zone).date()
    return day - timedelta(days=day.weekday())


def raised(scored: Iterable[Scored], since: datetime | None = None) -> tuple[Raised, ...]:
    """The alerts of a run of scores, from `since` on."""
    episodes = Episodes()
    alerts: list[Scored] = []
    about: list[Finding] = []
    until: list[datetime] = []
    newest: dict[tuple[UUID, str], int] = {}
    for one in scored:
        opened = episodes.opened(one) if one.findings else ()
        for finding in opened[:1]:  # one reading is one alert, whatever it is about
            for other in opened:
                newest[one.patient_id, other.concern.value] = len(alerts)
            alerts.append(one)
            about.append(finding)
            until.append(one.effective_at)
        for finding in one.findings:
            place = newest[one.patient_id, finding.concern.value]
            until[place] = max(until[place], one.effective_at)
    return tuple(
        Raised(
            patient_id=one.patient_id,
            at=one.effective_at,
            until=last,
            concern=finding.concern.value,
            tier=finding.tier,
            reason=finding.reason,
        )
        for one, finding, last in zip(alerts, about, until, strict=True)
        if since is None or one.effective_at >= since
    )


Plans = Plan | Mapping[UUID, Plan]
"""One plan for everybody, or each patient's own."""


def compare(
    readings: Sequence[Reading], before: Plans, after: Plans, model: Model, *, since: datetime | None = None
) -> Comparison:
    """Replay readings in order of arrival under both plans; those before `since` only build the baseline."""
    spans: dict[UUID, tuple[datetime, datetime]] = {}
    for reading in readings:
        if since is None or reading.effective_at >= since:
            first, last = spans.get(reading.patient_id, (reading.effective_at, reading.effective_at))
            spans[reading.patient_id] = min(first, reading.effective_at), max(last, reading.effective_at)
    return Comparison(
        patients=len(spans),
        weeks=sum(max((last - first) / WEEK, 1 / 7) for first, last in spans.values()),
        before=raised(replay(readings, before, model), since),
        after=raised(replay(readings, after, model), since),
    )


def said_of(alerts: Iterable[Raised], labels: Iterable[Label]) -> Tally:
    """What people said of these alerts when they were really made, where anybody said anything."""
    by: defaultdict[tuple[UUID, str], list[Label]] = defaultdict(list)
    for label in labels:
        by[label.patient_id, label.concern].append(label)
    words: list[Said] = []
    for one in alerts:
        near = [label for label in by[one.patient_id, one.concern] if abs(label.at - one.at) <= REFRACTORY]
        if near:
            words.append(min(near, key=lambda label: abs(label.at - one.at)).said)
    return Tally.of(words)


def readings_of(scores: Iterable[Scored], *, zones: Mapping[UUID, tzinfo], since: datetime) -> list[Reading]:
    """The readings behind scores, as far as scores tell them: enough to score them again; before `since` silently."""
    return [
        _reading(
            one,
            offset=one.effective_at.astimezone(zones[one.patient_id]).utcoffset(),
            silent=one.effective_at < since,
        )
        for one in scores
        if one.patient_id in zones
    ]


def _reading(scored: Scored, *, offset: timedelta | None, silent: bool) -> Reading:
    return Reading(
        event_id=scored.caused_by,
        caused_by=scored.event_id,
        practice_id=scored.practice_id,
        patient_id=scored.patient_id,
        device_id="",
        gateway_id="",
        kind=Kind(scored.kind),
        effective_at=scored.effective_at,
        received_at=scored.received_at,
        time_rule="score",
        time_confidence=TimeConfidence(scored.time_confidence),
        utc_offset_minutes=None if offset is None else round(offset.total_seconds() / 60),
        systolic=scored.values.get("systolic"),
        diastolic=scored.values.get("diastolic"),
        pulse=scored.values.get("pulse"),
        glucose=scored.values.get("glucose"),
        beyond=None if scored.beyond is None else Beyond(scored.beyond),
        context=scored.context,
        flags=scored.flags,
        history=silent,
        raw=b"",
    )
