"""A series drawn by the server: points and the patient's own band as SVG coordinates, so that a chart needs no script."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from risk.events import Tier


class Point(NamedTuple):
    """One observation of one quantity, with the band that held then."""

    at: datetime
    value: float | None  # None: beyond what the meter can say
    low: float | None
    high: float | None
    tier: Tier
    beyond: str | None = None  # HI or LO, in the meter's word


class Dot(NamedTuple):
    x: float
    y: float
    tier: Tier
    beyond: str | None = None  # drawn as an arrow at the edge, not as a number nobody measured


class Sketch(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a template needs to draw, in the units of its own view box."""

    width: int
    height: int
    line: str  # polyline points
    band: str  # polygon points, empty while no band is known
    dots: tuple[Dot, ...]  # what was over the line, and the last point
    low: float
    high: float
    said: str  # the same in words, for those who cannot see it


def sketch(points: Sequence[Point], *, width: int, height: int, unit: str, margin: int = 4) -> Sketch | None:
    """Draw `points`, oldest first; None where there is nothing to draw.

    Every point is one step to the right: rows compare readings, not calendars; the episode page has a time axis.

    >>> from datetime import UTC
    >>> at = datetime(2026, 1, 5, tzinfo=UTC)
    >>> two = [Point(at, 120.0, 110.0, 140.0, Tier.ROUTINE), Point(at, 160.0, 110.0, 140.0, Tier.HIGH)]
    >>> drawn = sketch(two, width=100, height=40, unit="mm[Hg]", margin=0)
    >>> drawn.line, drawn.band
    ('0,32 100,0', '0,16 100,16 100,40 0,40')
    >>> drawn.said
    '2 readings, 120 to 160 mmHg, the last 160; usual 110 to 140.'
    >>> over = [Point(at, 120.0, None, None, Tier.ROUTINE), Point(at, None, None, None, Tier.CRITICAL, "HI")]
    >>> sketch(over, width=100, height=40, unit="mg/dL").said
    '2 readings, 120 to 120 mg/dL, 1 HI, the last HI.'
    """
    points = [p for p in points if p.value is not None or p.beyond]
    if not points:
        return None
    every = [v for p in points for v in (p.value, p.low, p.high) if v is not None] or [0.0]
    low, high = min(every), max(every)
    rise = (height - 2 * margin) / ((high - low) or 1)
    step = (width - 2 * margin) / max(len(points) - 1, 1)

    def x(n: int) -> float:
        return round(margin + n * step, 1)

    def y(value: float) -> float:
        return round(height - margin - (value - low) * rise, 1)

    def at(p: Point) -> float:
        return y(p.value if p.value is not None else low if p.beyond == "LO" else high)

    last = len(points) - 1
    dots = [
        Dot(x(n), at(p), p.tier, p.beyond)
        for n, p in enumerate(points)
        if p.tier is not Tier.ROUTINE or p.beyond or n == last
    ]
    banded = [(n, p.low, p.high) for n, p in enumerate(points) if p.low is not None and p.high is not None]
    top = [_pair(x(n), y(upper)) for n, _, upper in banded]
    bottom = [_pair(x(n), y(lower)) for n, lower, _ in reversed(banded)]
    values = [p.value for p in points if p.value is not None]
    usual = f"; usual {points[-1].low:.0f} to {points[-1].high:.0f}" if points[-1].low is not None else ""
    spread = (
        f"{min(values):.0f} to {max(values):.0f} {spoken(unit)}" if values else "none in the meter's range"
    )
    beyond = [f"{many} {word}" for word in ("HI", "LO") if (many := sum(p.beyond == word for p in points))]
    newest = points[-1].beyond or f"{points[-1].value:.0f}"
    said = f"{len(points)} readings, {', '.join([spread, *beyond])}, the last {newest}{usual}."
    return Sketch(
        width=width,
        height=height,
        line=" ".join(_pair(x(n), at(p)) for n, p in enumerate(points)),
        band=" ".join([*top, *bottom]) if len(banded) > 1 else "",
        dots=tuple(dots),
        low=low,
        high=high,
        said=said,
    )


def _pair(x: float, y: float) -> str:
    return f"{x:g},{y:g}"


UNITS = {"systolic": "mm[Hg]", "diastolic": "mm[Hg]", "pulse": "/min", "glucose": "mg/dL"}


def spoken(unit: str) -> str:
    """A UCUM unit as people write it.

    >>> spoken("mm[Hg]"), spoken("mg/dL")
    ('mmHg', 'mg/dL')
    """
    return {"mm[Hg]": "mmHg", "1": ""}.get(unit, unit)
