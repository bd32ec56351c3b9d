"""Everybody of a practice, ranked by what changed: named buckets, each row with its reason. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

from risk.events import Band, Concern, Finding, Scored, Tier
from risk.rules import LINES, Basis

LOOKED_AT = timedelta(days=7)
"""What was said longer ago is history; who has been silent as long is in no bucket but `No data`."""
FORGOTTEN = timedelta(days=90)
"""And after so long nobody looks at what was said."""
CHANCE_HIGH = 0.4
"""Chance of a low within a day from which lows are said to be likely (pooled: 0.24 of days)."""
LIKELY = 0.5
"""Chance from which the list says that next week's average pressure is over the limit: likelier than not."""
OUTSIDE_LEAST = 3
"""Readings outside the own band in a week that are more than the one in twenty that chance puts there."""
WIDE = 1.6
"""A band wider than this many usual spreads is a variable person's."""
USUAL_SPREAD = 8.6
"""Day-by-day spread of home systolic pressure in mm[Hg], 8.6 +- 3.1 (Ohasama)."""


class Bucket(StrEnum):
    """In the order in which a nurse reads them."""

    RISING = "Rising fast"
    FALLING = "Falling"
    LOWS = "Lows appearing"
    OUTSIDE = "Above own normal"
    SILENT = "No data"
    VARIABLE = "Variable"
    STABLE = "Stable"


MEANS: dict[Bucket, str] = {
    Bucket.RISING: "a lasting rise away from the own usual, or above it most days",
    Bucket.FALLING: "a lasting fall below the own usual",
    Bucket.LOWS: "low glucose or low pressure in the last seven days, or likely today",
    Bucket.OUTSIDE: "over a limit, or outside the own band more often than chance",
    Bucket.SILENT: "nothing measured for seven days",
    Bucket.VARIABLE: "no trend, but a band far wider than usual people's",
    Bucket.STABLE: "inside the own normal",
}
ORDER = {bucket: place for place, bucket in enumerate(Bucket)}
RANK = {tier: tier.rank for tier in Tier}
TRENDS = frozenset(
    {Concern.PRESSURE_DRIFT_UP, Concern.PRESSURE_DRIFT_DOWN, Concern.PULSE_DRIFT, Concern.GLUCOSE_DRIFT}
)
LOWS = frozenset({Concern.LOW_GLUCOSE, Concern.LOW_PRESSURE})
AVERAGES = frozenset(line.rule for line in LINES if line.basis is Basis.WEEK)
"""A week's mean over the goal is a level, not a change: it is said, and moves nobody out of `Stable`."""


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One bucket that fits somebody, why, and how much it matters."""

    bucket: Bucket
    reason: str
    tier: Tier
    weight: float = 0.0  # within bucket and tier, the highest first


SILENCE = Place(bucket=Bucket.SILENT, reason="Nothing measured in three months.", tier=Tier.ROUTINE)


class Latest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """As much of somebody's last score as a row shows."""

    at: datetime
    values: dict[str, float]
    beyond: str | None = None
    learning: int | None = None  # days known so far, while the usual is still being learnt
    high_week: float | None = (
        None  # chance that next week's average pressure is over the limit, from LIKELY on
    )


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What somebody's scores say about where they stand, whatever the hour: true until the next score.

    A page reads ten thousand of these and lets them go: nothing in them can form a circle, so no collector counts them.
    """

    latest: Latest | None = None  # None: nothing measured
    places: tuple[Place, ...] = ()  # everything that is true of them, the most serious first
    calm: str = ""  # the sentence if nothing is


class Standing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where one patient stands, and why; `also` names what else is true of them."""

    patient_id: UUID
    bucket: Bucket
    reason: str
    tier: Tier
    weight: float
    also: tuple[Bucket, ...] = ()
    latest: Latest | None = None


def told(scores: Sequence[Scored]) -> Told:
    """What the last scores of somebody say, oldest first. The worst tier first, between equals the order of the buckets."""
    if not scores:
        return Told()
    latest = scores[-1]
    recent = [one for one in scores if latest.effective_at - one.effective_at < LOOKED_AT]
    judged = next((one for one in reversed(recent) if one.bands or one.findings), latest)  # an echo is not
    return Told(
        latest=Latest(
            at=latest.effective_at,
            values=latest.values,
            beyond=latest.beyond,
            learning=next((band.days for band in judged.bands[:1] if band.learning), None),
            high_week=_high_week(recent),
        ),
        places=tuple(sorted(_places(recent), key=lambda place: (-RANK[place.tier], ORDER[place.bucket]))),
        calm=_calm(judged),
    )


def standing(patient: UUID, of: Told, *, now: datetime) -> Standing:
    """Where a patient stands now. Silence comes before everything: what was true a week ago is not known to be true."""
    latest, places = of.latest, of.places
    silent = None if latest is None else now - latest.at
    if latest is None or silent is None or silent >= FORGOTTEN:
        latest, places = None, (SILENCE,)
    elif silent >= LOOKED_AT:
        before = f" Before that: {places[0].reason}" if places else ""
        said = f"Nothing measured for {silent.days} days.{before}"
        places = (
            Place(bucket=Bucket.SILENT, reason=said, tier=Tier.ROUTINE, weight=silent.days),
            *places,
        )
    elif not places:
        places = (Place(bucket=Bucket.STABLE, reason=of.calm, tier=Tier.ROUTINE),)
    first = places[0]
    others = {place.bucket for place in places[1:] if place.bucket is not first.bucket}
    return Standing(
        patient_id=patient,
        bucket=first.bucket,
        reason=first.reason,
        tier=first.tier,
        weight=first.weight,
        also=tuple(sorted(others, key=ORDER.__getitem__)) if others else (),
        latest=latest,
    )


def ranked(standings: Sequence[Standing]) -> list[tuple[Bucket, list[Standing]]]:
    """Every bucket in order, also the empty ones, each with the worst and then the clearest first."""
    held: dict[Bucket, list[Standing]] = {bucket: [] for bucket in Bucket}
    for one in standings:
        held[one.bucket].append(one)
    return [
        (bucket, sorted(some, key=lambda one: (-RANK[one.tier], -one.weight, one.patient_id.int)))
        for bucket, some in held.items()
    ]


def _places(recent: Sequence[Scored]) -> Iterator[Place]:
    """Everything that is true of somebody, the newest word on each matter."""
    newest: dict[Concern, Finding] = {}
    for one in recent:
        for concern in one.assessed:
            if concern in TRENDS:  # a trend that has calmed is over
                newest.pop(concern, None)
        newest.update((finding.concern, finding) for finding in one.findings)
    lows = [finding for one in recent for finding in one.findings if finding.concern in LOWS]
    for concern, finding in newest.items():
        if concern in TRENDS:
            bucket = Bucket.FALLING if finding.rule.endswith("-down") else Bucket.RISING
            yield Place(bucket=bucket, reason=finding.reason, tier=finding.tier, weight=_spreads(finding))
        elif concern not in LOWS and finding.rule not in AVERAGES:
            yield Place(bucket=Bucket.OUTSIDE, reason=finding.reason, tier=finding.tier)
    if lows:
        worst = max(reversed(lows), key=lambda finding: finding.tier.rank)
        many = f" {len(lows)} in seven days." if len(lows) > 1 else ""
        yield Place(bucket=Bucket.LOWS, reason=worst.reason + many, tier=worst.tier, weight=len(lows))
    yield from _likely(recent)
    yield from _outside(recent)
    yield from _wide(recent)


def _spreads(finding: Finding) -> float:
    """How many own spreads a trend has gone."""
    told = finding.evidence[0]
    return abs(told.value - told.against) / told.spread if told.against and told.spread else 0.0


def _likely(recent: Sequence[Scored]) -> Iterator[Place]:
    chances = [one.p_low_24h for one in recent if one.p_low_24h is not None]
    if chances and chances[-1] >= CHANCE_HIGH:
        said = f"Chance of a glucose below 70 mg/dL within a day: {chances[-1]:.0%} (usual people: 24%)."
        yield Place(bucket=Bucket.LOWS, reason=said, tier=Tier.WATCH, weight=chances[-1])


def _high_week(recent: Sequence[Scored]) -> float | None:
    chance = next((one.outlook.chance for one in reversed(recent) if one.outlook), None)
    return chance if chance is not None and chance >= LIKELY else None


def _outside(recent: Sequence[Scored]) -> Iterator[Place]:
    for side, word, bucket in ((1, "above", Bucket.OUTSIDE), (-1, "below", Bucket.FALLING)):
        for quantity in ("systolic", "glucose", "diastolic", "pulse"):
            held = [(one, band) for one in recent for band in one.bands if band.quantity == quantity]
            beyond = [(one, band) for one, band in held if _beyond(one, band) == side]
            if len(beyond) >= OUTSIDE_LEAST:
                one, band = beyond[-1]
                edge = band.high if side > 0 else band.low
                yield Place(
                    bucket=bucket,
                    reason=f"{len(beyond)} of the last {len(held)} {quantity} readings {word} the own usual in seven days, "
                    f"the latest of them {one.values[quantity]:.0f} (usual {word} {edge:.0f} is rare).",
                    tier=Tier.ROUTINE,
                    weight=len(beyond) / len(held),
                )
                break


def _beyond(one: Scored, band: Band) -> int:
    value = one.values.get(band.quantity)
    if value is None or band.learning:
        return 0
    return (value > band.high) - (value < band.low)


def _wide(recent: Sequence[Scored]) -> Iterator[Place]:
    bands = [
        band for one in recent for band in one.bands if band.quantity == "systolic" and not band.learning
    ]
    if not bands:
        return
    spread = (bands[-1].high - bands[-1].low) / 4  # the band is the level and two spreads to each side
    if spread > WIDE * USUAL_SPREAD:
        said = f"Systolic swings by {spread:.0f} mmHg from day to day (usual people: {USUAL_SPREAD:.0f})."
        yield Place(bucket=Bucket.VARIABLE, reason=said, tier=Tier.ROUTINE, weight=spread)


def _calm(judged: Scored) -> str:
    if judged.findings:
        return judged.findings[0].reason
    if not judged.bands:
        return "Measured, but nothing to compare with yet."
    band = judged.bands[0]
    when = f" {band.when}" if band.when else ""
    told = f"Inside the own normal: {band.quantity}{when} usually {band.level:.0f}, from {band.low:.0f} to {band.high:.0f}"
    return told + (
        f"; still learning, {band.days} days so far." if band.learning else f", over {band.days} days."
    )
