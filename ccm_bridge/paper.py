"""Letter paper: the faces it is set in, and the pieces that a page is made of: heads, sentences, pairs, tables."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources

from fpdf import FPDF
from fpdf.enums import XPos, YPos

INK, MUTED, LINE, ACCENT = (20, 35, 46), (77, 97, 110), (205, 209, 205), (11, 92, 120)
SIDE = 16  # mm
LEADING, ABOVE, BESIDE = 3.7, 0.7, 1.2
"""A table's line, and the room around a cell's words. mm."""


def fonts_of(paper: FPDF) -> None:
    """The faces that every paper of ours is set in: they hold all letters that names are written with."""
    fonts = resources.files("ccm_bridge") / "fonts"
    for family, style, name in (
        ("sans", "", "DejaVuSans"),
        ("sans", "B", "DejaVuSans-Bold"),
        ("mono", "", "DejaVuSansMono"),
    ):
        with resources.as_file(fonts / f"{name}.ttf") as file:
            paper.add_font(family, style, file)


def wrapped(words: str, room: float, width: Callable[[str], float]) -> list[str]:
    r"""Words as lines no wider than the room. A word that is wider itself is cut.

    >>> wrapped("one two three\nfour", 7, len), wrapped("abcdefg h", 3, len)
    (['one two', 'three', 'four'], ['abc', 'def', 'g h'])
    """
    space, found = width(" "), []
    for paragraph in words.split("\n"):
        line, reached = "", 0.0
        for word in _cut(paragraph.split(), room, width):
            wide = width(word)
            if line and reached + space + wide > room:
                found.append(line)
                line, reached = "", 0.0
            line, reached = (f"{line} {word}", reached + space + wide) if line else (word, wide)
        found.append(line)
    return found


def _cut(words: Iterable[str], room: float, width: Callable[[str], float]) -> Iterator[str]:
    for word in words:
        rest = word
        while width(rest) > room and len(rest) > 1:
            fits = next((n for n in range(len(rest) - 1, 1, -1) if width(rest[:n]) <= room), 1)
            yield rest[:fits]
            rest = rest[fits:]
        yield rest


class Paper(FPDF):
    """Letter paper with the packet's foot: whose month, which page, and the hash that binds the pages together."""

    def __init__(self, foot: str) -> None:
        super().__init__(format="letter")
        self._foot = foot
        self._widths: dict[str, float] = {}  # of words as a table's rows are set, mm
        fonts_of(self)
        self.set_margins(SIDE, 14, SIDE)
        self.set_auto_page_break(auto=True, margin=18)
        self.set_text_shaping(False)

    def footer(self) -> None:
        self.set_y(-13)
        self.set_font("sans", size=6.5)
        self.set_text_color(*MUTED)
        self.cell(0, 4, f"{self._foot}   ·   page {self.page_no()} of {{nb}}", align="C")

    def head(self, words: str) -> None:
        if self.get_y() > self.h - 45:
            self.add_page()
        self.ln(3)
        self.set_font("sans", "B", 11)
        self.set_text_color(*ACCENT)
        self.cell(0, 7, words, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_draw_color(*LINE)
        self.line(SIDE, self.get_y(), self.w - SIDE, self.get_y())
        self.ln(1.5)

    def say(self, words: str, *, size: float = 8.5, muted: bool = False) -> None:
        self.set_font("sans", size=size)
        self.set_text_color(*(MUTED if muted else INK))
        self.multi_cell(0, size * 0.52, words, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def pairs(self, rows: Iterable[tuple[str, str]]) -> None:
        """Names on the left, what is known on the right."""
        for name, words in rows:
            self.set_font("sans", size=8)
            self.set_text_color(*MUTED)
            top = self.get_y()
            self.multi_cell(38, 4.4, name, new_x=XPos.RIGHT, new_y=YPos.TOP)
            below = self.get_y() + 4.4
            self.set_xy(SIDE + 40, top)
            self.set_text_color(*INK)
            self.multi_cell(
                self.w - 2 * SIDE - 40, 4.4, words or "–", align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT
            )
            self.set_y(max(self.get_y(), below))

    def rows(self, widths: Sequence[float], heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table whose heads stand again on each new page; a row is torn only where a whole page is too short for it.

        The library's own table measures each cell letter by letter, twice: some nine tenths of a packet's time.
        """
        wide = [width * self.epw / sum(widths) for width in widths]
        self._heads(wide, heads)
        for cells in rows:
            self._face()
            lines = [
                wrapped(words, room - 2 * BESIDE, self._width)
                for words, room in zip(cells, wide, strict=True)
            ]
            if len(max(lines, key=len)) > self._left() and self.get_y() > self.t_margin + 10:
                self._new_page(wide, heads)
            while len(max(lines, key=len)) > self._left():
                left = self._left()
                self._row(wide, [own[:left] for own in lines])
                lines = [own[left:] for own in lines]
                self._new_page(wide, heads)
            self._row(wide, lines)

    def _face(self) -> None:
        self.set_font("sans", size=7.2)
        self.set_text_color(*INK)
        self.set_draw_color(*LINE)

    def _heads(self, wide: Sequence[float], heads: Sequence[str]) -> None:
        if self._left() < 3:  # noqa: PLR2004 - the heads do not stand alone at a page's end
            self.add_page()
        self._face()
        self.set_font("sans", "B", 7)
        self.set_text_color(*MUTED)
        self._row(wide, [[words] for words in heads])

    def _new_page(self, wide: Sequence[float], heads: Sequence[str]) -> None:
        self.add_page()
        self._heads(wide, heads)
        self._face()

    def _left(self) -> int:
        """How many lines a row may have on what is left of the page."""
        return int((self.page_break_trigger - self.get_y() - 2 * ABOVE) / LEADING)

    def _row(self, wide: Sequence[float], lines: Sequence[Sequence[str]]) -> None:
        top, left = self.get_y(), self.l_margin
        for own, room in zip(lines, wide, strict=True):
            for place, words in enumerate(own):
                self.set_xy(left + BESIDE - self.c_margin, top + ABOVE + place * LEADING)
                self.cell(room, LEADING, words)
            left += room
        self.set_xy(self.l_margin, top + max(map(len, lines)) * LEADING + 2 * ABOVE)
        self.line(self.l_margin, self.get_y(), self.l_margin + self.epw, self.get_y())

    def _width(self, word: str) -> float:
        if word not in self._widths:
            self._widths[word] = self.get_string_width(word)
        return self._widths[word]
