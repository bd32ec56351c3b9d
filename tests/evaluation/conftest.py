"""The report that an evaluation leaves behind: every figure with the command that made it."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"
SECTIONS = ("drift", "other drifts", "glucose drift", "meals", "low glucose", "high pressure", "operations")
INTRODUCTION = """# How well the scorer does

Decision support on public research data: fingersticks of people with type 1 diabetes around 1990, continuous glucose of people with
type 1 diabetes, and home pressures built from openly licensed diaries with changes added. It says how early a *shift* is seen and how
honest a *chance* is; it says nothing about outcomes. People with type 2 diabetes on tablets, pregnancy, dialysis, atrial fibrillation
(cuffs err) and children are untested. Where the data come from: `tests/evaluation/data/README.md`.
"""


class Report:
    """Sections by name; written when all were judged in one run."""

    def __init__(self):
        self.sections = {}
        self.figures = ROOT / "docs" / "figures"

    def say(self, name, *lines):
        assert name in SECTIONS
        self.sections[name] = "\n".join(lines)
        print(f"\n{self.sections[name]}")

    def write(self):
        if set(self.sections) != set(SECTIONS):
            return
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        made = (
            f"Made by `make evaluate` on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {memory:.0f} GB, Python "
            f"{platform.python_version()}, numpy {version('numpy')}, scikit-learn {version('scikit-learn')}. "
            "Square brackets are 95 % intervals from 200 resamplings of people (pressure, glucose drift) or chains (low glucose)."
        )
        text = "\n\n".join([INTRODUCTION + "\n" + made, *(self.sections[name] for name in SECTIONS)])
        (ROOT / "docs" / "evaluation.md").write_text(text + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def report():
    kept = Report()
    yield kept
    kept.write()


def interval(draws):
    """The middle 95 %."""
    low, high = np.nanpercentile(draws, (2.5, 97.5))
    return f"[{low:.2f}, {high:.2f}]"
