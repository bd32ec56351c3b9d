"""A sheet for a patient on paper: large type, one column, nothing to decode; with its reading level at the foot."""

from datetime import datetime

from fpdf import FPDF
from fpdf.enums import MethodReturnValue, XPos, YPos

from ccm_bridge.paper import ACCENT, INK, MUTED, fonts_of
from ccm_bridge.plain import Sheet

SIZES = {"heading": 21.0, "subheading": 18.0, "text": 18.0, "item": 18.0, "loud": 18.0}
"""Points. Large print is 18 and more (American Printing House)."""


class Large(FPDF):
    """Letter paper with wide margins; the foot says which page, and how hard it is to read."""

    def __init__(self, foot: str) -> None:
        super().__init__(format="letter")
        self._foot = foot
        fonts_of(self)
        self.set_margins(22, 20, 22)
        self.set_auto_page_break(auto=True, margin=24)

    def footer(self) -> None:
        self.set_y(-15)
        self.set_font("sans", size=10)
        self.set_text_color(*MUTED)
        self.cell(0, 5, f"{self._foot}   ·   page {self.page_no()} of {{nb}}", align="C")

    def say(self, words: str, size: float, *, bold: bool = False, bullet: bool = False) -> None:
        """A paragraph, never torn between two pages: the number to call must not stand alone overleaf."""
        self.set_font("sans", "B" if bold else "", size)
        indent = 7 if bullet else 0  # mm
        tall = self.multi_cell(
            self.epw - indent, size * 0.5, words, align="L", dry_run=True, output=MethodReturnValue.HEIGHT
        )
        if isinstance(tall, float | int) and self.will_page_break(tall):
            self.add_page()
        if bullet:
            self.cell(indent, size * 0.5, "•")
        self.multi_cell(0, size * 0.5, words, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def pdf(sheet: Sheet, *, made_at: datetime) -> bytes:
    """The sheet as a PDF."""
    paper = Large(f"reading level: grade {sheet.grade:.0f}")
    paper.set_title(sheet.title)
    paper.set_creator("Lamplight")
    paper.set_creation_date(made_at)
    paper.add_page()
    paper.set_text_color(*INK)
    paper.say(sheet.title, 28, bold=True)
    paper.set_text_color(*MUTED)
    paper.say(sheet.under, 14)
    for block in sheet.blocks:
        size = SIZES[block.kind]
        head = block.kind in ("heading", "subheading")
        if head and paper.get_y() > paper.h - 60:
            paper.add_page()  # no heading alone at the foot
        paper.ln(5 if block.kind == "heading" else 3 if block.kind == "subheading" else 1.5)
        paper.set_text_color(*(ACCENT if block.kind == "heading" else INK))
        if block.kind == "item":
            paper.say(block.text, size, bullet=True)
        else:
            paper.say(block.text, size, bold=head or block.kind == "loud")
    return bytes(paper.output())
