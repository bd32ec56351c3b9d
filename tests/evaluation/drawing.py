"""Plain line figures as SVG, for the report: no plotting library, dark on light, words beside the lines."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

INK, FAINT = "#1f2933", "#d5dbe1"
COLOURS = ("#0b5cad", "#b3541e", "#3d7a3a", "#7a3d78", "#666666")


@dataclass
class Figure:
    """One pair of axes; give it lines, dots and bands, then write it."""

    title: str
    x: str
    y: str
    xs: tuple[float, float]
    ys: tuple[float, float]
    width: int = 720
    height: int = 330
    parts: list[str] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)

    def at(self, x, y):
        left, right, top, bottom = 58, self.width - 14, 34, self.height - 44
        px = left + (np.asarray(x, float) - self.xs[0]) / (self.xs[1] - self.xs[0]) * (right - left)
        py = bottom - (np.asarray(y, float) - self.ys[0]) / (self.ys[1] - self.ys[0]) * (bottom - top)
        return px, py

    def points(self, x, y):
        px, py = self.at(x, np.clip(y, *self.ys))
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True))

    def line(self, x, y, name="", *, colour=0, dashed=False):
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<polyline points="{self.points(x, y)}" fill="none" stroke="{COLOURS[colour]}" stroke-width="2"{dash}/>'
        )
        if name:
            self.legend.append((name, COLOURS[colour]))

    def band(self, x, low, high, *, colour=0):
        there = self.points(x, low) + " " + self.points(x[::-1], high[::-1])
        self.parts.append(f'<polygon points="{there}" fill="{COLOURS[colour]}" fill-opacity="0.13"/>')

    def dots(self, x, y, *, colour=4, size=1.8):
        px, py = self.at(x, np.clip(y, *self.ys))
        self.parts += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{size}" fill="{COLOURS[colour]}"/>'
            for a, b in zip(px, py, strict=True)
        ]

    def mark(self, x, text, *, colour=1, row=0):
        (px,), (bottom,) = self.at([x], [self.ys[0]])
        self.parts.append(
            f'<line x1="{px:.1f}" x2="{px:.1f}" y1="34" y2="{bottom:.1f}" stroke="{COLOURS[colour]}" stroke-dasharray="2 3"/>'
        )
        self.parts.append(
            f'<text x="{px + 4:.1f}" y="{46 + 15 * row}" fill="{COLOURS[colour]}">{text}</text>'
        )

    def write(self, file: Path):
        """The whole figure, with about five ticks on each axis."""
        out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" font-family="sans-serif" font-size="12" fill="{INK}">',
            f'<rect width="{self.width}" height="{self.height}" fill="white"/>',
            f'<text x="58" y="20" font-size="14" font-weight="bold">{self.title}</text>',
        ]
        for tick in np.linspace(*self.ys, 6):
            (left, right), (y, _) = self.at(self.xs, [tick, tick])
            out.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{FAINT}"/>')
            out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
        for tick in np.linspace(*self.xs, 6):
            (x,), (bottom,) = self.at([tick], [self.ys[0]])
            out.append(f'<text x="{x:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{tick:g}</text>')
        out.append(f'<text x="{self.width / 2}" y="{self.height - 8}" text-anchor="middle">{self.x}</text>')
        out.append(
            f'<text transform="translate(14 {self.height / 2}) rotate(-90)" text-anchor="middle">{self.y}</text>'
        )
        out += self.parts
        wide = 7.2 * max((len(name) for name, _ in self.legend), default=0) + 24
        for place, (name, colour) in enumerate(self.legend):
            y = self.height - 60 - 17 * (len(self.legend) - place)
            out.append(
                f'<rect x="{self.width - 20 - wide:.0f}" y="{y - 9}" width="12" height="9" fill="{colour}"/>'
            )
            out.append(f'<text x="{self.width - 3 - wide:.0f}" y="{y}">{name}</text>')
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join([*out, "</svg>"]) + "\n", encoding="utf-8")
