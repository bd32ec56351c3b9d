"""A patient's weeks as pictures: readings, own band, alerts, and the drift statistic below. Coordinates for SVG, pure.

Drawn by the server, so that a chart needs no script; the template writes the numbers into its view box.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from risk.events import Band, Scored, Tier
from risk.meals import AFTER, AFTER_MEALS

WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM = 860.0, 230.0, 12.0, 44.0, 24.0
STRIP = 110.0
LABELS = {
    "systolic": "Systolic, mmHg",
    "diastolic": "Diastolic, mmHg",
    "pulse": "Pulse, per minute",
    "glucose": "Glucose, mg/dL",
}
KINDS = {"bp": "Drift of pressure", "glucose": "Drift of glucose"}
Banded = tuple[Scored, Band]
DRIFT_LEAST, DRIFT_MOST = 0.1, 1000.0
"""Months between chance alerts that the strip shows, on a scale of tens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One reading: a dot; a triangle if a finding was worth watching or more, a square if it was critical."""

    shape: str
    tier: Tier
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One quantity, in the units of the SVG's view box."""

    label: str
    said: str  # the same in words, for those who cannot see it
    band: str  # points of the polygon of the own band
    after_meals: str  # the same of readings after meals, if some are told to be
    level: str  # points of the own usual
    marks: tuple[Mark, ...]
    alerts: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, str], ...]
    days: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """The drift statistic of one kind, with the line at which the practice's budget speaks."""

    label: str
    said: str
    points: str
    line: float
    line_text: str
    ticks: tuple[tuple[float, str], ...]
    days: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Time from left to right, in the patient's own civil days."""

    first: datetime
    last: datetime
    zone: tzinfo

    def x(self, at: datetime) -> float:
        share = (at - self.first) / max((self.last - self.first).total_seconds(), 1.0)
        return round(LEFT + share.total_seconds() * (WIDTH - LEFT - RIGHT), 1)

    def days(self) -> tuple[tuple[float, str], ...]:
        """Up to six dates, each once, the last one left of the edge."""
        marks = [self.first + (self.last - self.first) * n / 6 for n in range(6)]
        dates = {f"{at.astimezone(self.zone):%d %b}": self.x(at) for at in reversed(marks)}
        return tuple((x, date) for date, x in reversed(dates.items()))

    def when(self, at: datetime) -> str:
        return f"{at.astimezone(self.zone):%d %b %H:%M}"


def pictures(
    scores: Sequence[Scored], alerts: Sequence[tuple[datetime, str]], *, zone: tzinfo
) -> list[Picture]:
    """A picture of each quantity that was measured at least twice, all on one time axis."""
    if not scores:
        return []
    axis = _Axis(scores[0].effective_at, scores[-1].effective_at, zone)
    return [
        _picture(name, held, alerts, axis)
        for name in LABELS
        if len(held := [one for one in scores if name in one.values]) > 1
    ]


def strips(scores: Sequence[Scored], threshold: float, *, zone: tzinfo) -> dict[str, Strip]:
    """The drift statistic of each kind, if it ever had something to say."""
    drawn = {}
    for kind, label in KINDS.items():
        told = [(one, one.drift_score) for one in scores if one.kind == kind and one.drift_score is not None]
        if len(told) > 1:
            axis = _Axis(scores[0].effective_at, scores[-1].effective_at, zone)
            worst, at = max((score, one.effective_at) for one, score in told)
            drawn[kind] = Strip(
                label=f"{label}: months between chance alerts",
                said=f"{label}: highest {worst:.1f} on {axis.when(at)}, now {told[-1][1]:.1f}; speaks from {threshold:g}.",
                points=_points([(axis.x(one.effective_at), _height(score)) for one, score in told]),
                line=_height(threshold),
                line_text=f"{threshold:g}",
                ticks=tuple((_height(mark), f"{mark:g}") for mark in (0.1, 1.0, 10.0, 100.0, 1000.0)),
                days=axis.days(),
            )
    return drawn


def spark(scores: Sequence[Scored], *, width: int = 150, height: int = 34) -> dict[str, object] | None:
    """The last readings of the main quantity in a table row: band, line, and the last point."""
    name = next((name for name in ("systolic", "glucose") if any(name in one.values for one in scores)), None)
    held = [one for one in scores if name in one.values]
    if name is None or len(held) < 2:  # noqa: PLR2004 - one point is no line
        return None
    values = [one.values[name] for one in held]
    bands = [(one, band) for one in held for band in one.bands if band.quantity == name]
    bands = _apart(bands)[0]
    edges = [edge for _, band in bands for edge in (band.low, band.high)]
    low, high = min(values + edges), max(values + edges)
    first = held[0].effective_at
    span = max((held[-1].effective_at - first).total_seconds(), 1.0)

    def at(one: Scored, value: float) -> tuple[float, float]:
        x = 3 + (one.effective_at - first).total_seconds() / span * (width - 6)
        return round(x, 1), round(height - 3 - (value - low) / max(high - low, 1.0) * (height - 6), 1)

    upper = [at(one, band.high) for one, band in bands]
    lower = [at(one, band.low) for one, band in bands]
    return {
        "width": width,
        "height": height,
        "band": _points([*upper, *reversed(lower)]),
        "line": _points([at(one, value) for one, value in zip(held, values, strict=True)]),
        "last": at(held[-1], values[-1]),
        "said": f"{name.capitalize()}, last {len(values)} readings, {min(values):.0f} to {max(values):.0f}",
    }


def _picture(
    name: str, scores: Sequence[Scored], alerts: Sequence[tuple[datetime, str]], axis: _Axis
) -> Picture:
    bands = [(one, band) for one in scores for band in one.bands if band.quantity == name]
    values = [one.values[name] for one in scores]
    edges = [edge for _, band in bands for edge in (band.low, band.high)]
    low, high = min(values + edges) - 5, max(values + edges) + 5

    def y(value: float) -> float:
        return round(8 + (HEIGHT - BOTTOM - 8) * (1 - (value - low) / (high - low)), 1)

    step = next(step for step in (10, 20, 50, 100, 200) if (high - low) / step <= 6 or step == 200)  # noqa: PLR2004 - about six ticks
    usual = ""
    if bands:
        newest = bands[-1][1]
        when = f"{newest.when} " if newest.when else ""
        usual = f"; usual {when}now {newest.low:.0f} to {newest.high:.0f}"
    bands, after_meals = _apart(bands)

    def around(bands: Sequence[Banded]) -> str:
        upper = [(axis.x(one.effective_at), y(band.high)) for one, band in bands]
        lower = [(axis.x(one.effective_at), y(band.low)) for one, band in reversed(bands)]
        return _points(upper + lower)

    return Picture(
        label=LABELS[name],
        said=f"{LABELS[name]}: {len(values)} readings, {min(values):.0f} to {max(values):.0f}, "
        f"the last {values[-1]:.0f}{usual}.",
        band=around(bands),
        after_meals=around(after_meals) if len(after_meals) > 1 else "",
        level=_points([(axis.x(one.effective_at), y(band.level)) for one, band in bands]),
        marks=tuple(
            Mark(
                shape=_shape(axis.x(one.effective_at), y(one.values[name]), _tier(one, name)),
                tier=_tier(one, name),
                title=f"{axis.when(one.effective_at)}: {one.values[name]:.0f}"
                + (", after a meal" if one.context == AFTER else "")
                + (f". {one.findings[0].reason}" if one.findings else ""),
            )
            for one in scores
        ),
        alerts=tuple((axis.x(at), f"{axis.when(at)}: {reason}") for at, reason in alerts),
        ticks=tuple(
            (y(mark), str(mark)) for mark in range(math.ceil(low / step) * step, math.floor(high) + 1, step)
        ),
        days=axis.days(),
    )


def _apart(bands: list[Banded]) -> tuple[list[Banded], list[Banded]]:
    """The bands of readings after meals apart from the others, if there are both: drawn as one they would be a saw."""
    after = [one for one in bands if one[1].when == AFTER_MEALS]
    others = [one for one in bands if one[1].when != AFTER_MEALS]
    return (others, after) if others else (after, [])


def _tier(scored: Scored, name: str) -> Tier:
    """The worst that was found about this quantity."""
    about = (
        finding.tier
        for finding in scored.findings
        if finding.evidence and finding.evidence[0].quantity == name
    )
    return max(about, key=lambda tier: tier.rank, default=Tier.ROUTINE)


def _shape(x: float, y: float, tier: Tier) -> str:
    """A path: colour is not alone in saying how much a reading matters."""
    if tier is Tier.CRITICAL:
        return f"M{x - 4} {y - 4}h8v8h-8z"
    if tier is not Tier.ROUTINE:
        return f"M{x} {y - 5}l4.5 8.5h-9z"
    return f"M{x - 2.2} {y}a2.2 2.2 0 1 0 4.4 0a2.2 2.2 0 1 0 -4.4 0z"


def _height(score: float) -> float:
    share = math.log(min(max(score, DRIFT_LEAST), DRIFT_MOST) / DRIFT_LEAST) / math.log(
        DRIFT_MOST / DRIFT_LEAST
    )
    return round(8 + (STRIP - BOTTOM - 8) * (1 - share), 1)


def _points(pairs: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in pairs)
