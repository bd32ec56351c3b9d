"""Checks that every scorer must pass, whoever wrote it: limits, trends and forecasts, for cuffs and fingersticks.

A scorer is a way to hear a reading and a number that says how bad things are; the suite knows nothing else of it.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import pytest

from risk.forecast import packaged
from risk.scoring import Model, score
from tests.unit.risk.diary import a_reading

MODEL = Model(forecast=packaged())
WOBBLE = (0, 3, -4, 2, -2, 5, -3, -1, 4, -5)


@dataclass(frozen=True)
class Scorer:
    """One thing that judges: which readings it hears, and how bad it says things are (None: no opinion)."""

    name: str
    reading: object  # (day, level) -> Reading
    usual: float
    worse: float  # added to a level, it makes things worse
    badness: object  # Scored -> float | None
    highest: float = math.inf

    def hear(self, memory, day, level):
        return score(memory, self.reading(day, level), model=MODEL)

    def diary(self, days, *, level=None, start=0.0, memory=None):
        told = []
        for place in range(days * 2):
            value = (self.usual if level is None else level) + WOBBLE[place % len(WOBBLE)]
            memory, scored = self.hear(memory, start + place / 2, value)
            told.append(scored)
        return memory, told


def cuff(day, level):
    return a_reading(day, systolic=float(level), diastolic=round(level * 0.6, 1))


def stick(day, level):
    return a_reading(day, glucose=float(max(level, 21)))


def tier(scored):
    return float(scored.tier.rank)


SCORERS = [
    Scorer("pressure limits", cuff, 128, +1, tier),
    Scorer("glucose limits, low", stick, 120, -1, tier),
    Scorer("glucose limits, high", stick, 120, +1, tier),
    Scorer("pressure drift", cuff, 134, +1, lambda scored: scored.drift_score),
    Scorer("glucose drift", stick, 150, +1, lambda scored: scored.drift_score),
    Scorer("low within a day", stick, 110, -1, lambda scored: scored.p_low_24h, highest=1.0),
    Scorer("low within a week", stick, 110, -1, lambda scored: scored.p_low_7d, highest=1.0),
    Scorer("a high week", cuff, 128, +1, lambda scored: scored.outlook.chance, highest=1.0),
]


def check_hearing_leaves_the_old_memory_alone(scorer):
    memory, _ = scorer.diary(20)
    before = bytes(memory)
    scorer.hear(memory, 20, scorer.usual)
    assert memory == before


def check_the_same_again_says_the_same(scorer):
    memory, told = scorer.diary(20)
    again, told_again = scorer.diary(20)
    assert memory == again
    assert [scorer.badness(one) for one in told] == [scorer.badness(one) for one in told_again]


def check_no_history_no_number_that_pretends_to_one(scorer):
    _, scored = scorer.hear(None, 0, scorer.usual)
    assert scorer.badness(scored) in (None, 0.0)


def check_the_number_stays_in_its_range(scorer):
    for level in (25, 60, 130, 200, 270):
        for scored in scorer.diary(20, level=level)[1]:
            said = scorer.badness(scored)
            assert said is None or (math.isfinite(said) and 0.0 <= said <= scorer.highest)


def check_a_worse_fortnight_is_never_said_to_be_better(scorer):
    memory, _ = scorer.diary(40)
    said = []
    for step in range(0, 61, 10):
        worst = [
            scorer.badness(one)
            for one in scorer.diary(10, level=scorer.usual + scorer.worse * step, start=40, memory=memory)[1]
        ]
        said.append(max(one for one in worst if one is not None))
    assert all(later >= earlier - 0.02 * max(1.0, earlier) for earlier, later in pairwise(said)), said
    assert said[-1] > said[0]


def check_a_memory_survives_being_written_and_read(scorer):
    memory, _ = scorer.diary(15)
    written = bytes(bytearray(memory))
    assert (
        scorer.hear(memory, 15, scorer.usual)[1].findings
        == scorer.hear(written, 15, scorer.usual)[1].findings
    )


def check_a_gap_of_a_month_is_no_error(scorer):
    memory, _ = scorer.diary(20)
    _, scored = scorer.hear(memory, 50, scorer.usual)
    assert scored.values


def check_a_calm_person_is_left_alone(scorer):
    told = scorer.diary(60)[1]
    assert not any(one.findings for one in told)


CHECKS = [check for name, check in sorted(globals().items()) if name.startswith("check_")]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("scorer", SCORERS, ids=lambda scorer: scorer.name)
def test_scorer(scorer, check):
    check(scorer)
