"""Which problem of the care plan an alert's concern is about, and why: by ICD-10-CM code. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from ccm_bridge.careplan import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Conditions that belong together, by the beginnings of their ICD-10-CM codes (FY2026), without the dot."""

    words: str
    codes: tuple[str, ...]


HYPERTENSION = Kind(words="hypertension", codes=("I10", "I11", "I12", "I13", "I15", "I16", "I1A"))
HYPOTENSION = Kind(words="low blood pressure", codes=("I95",))
DIABETES = Kind(words="diabetes", codes=("E08", "E09", "E10", "E11", "E13"))
LOW_SUGAR = Kind(words="low blood sugar", codes=("E160", "E161", "E162"))
RAISED_SUGAR = Kind(words="raised blood sugar", codes=("R73",))
RHYTHM = Kind(words="the heart's rhythm", codes=("I44", "I45", "I47", "I48", "I49", "R00"))

FITS: dict[str, tuple[Kind, ...]] = {
    "high_pressure": (HYPERTENSION,),
    "pressure_drift_up": (HYPERTENSION,),
    "low_pressure": (HYPOTENSION, HYPERTENSION),  # the treatment of the one brings the other
    "pressure_drift_down": (HYPOTENSION, HYPERTENSION),
    "fast_pulse": (RHYTHM,),
    "slow_pulse": (RHYTHM,),
    "pulse_drift": (RHYTHM,),
    "high_glucose": (DIABETES, RAISED_SUGAR),
    "glucose_drift": (DIABETES, RAISED_SUGAR),
    "low_glucose": (DIABETES, LOW_SUGAR),
}
"""What a concern is usually a problem of, the likeliest first. Silence and unscored readings may be of any."""

WATCHED: dict[str, str] = {
    "high_pressure": "bp",
    "pressure_drift_up": "bp",
    "low_pressure": "bp",
    "pressure_drift_down": "bp",
    "high_glucose": "glucose",
    "glucose_drift": "glucose",
    "low_glucose": "glucose",
}
"""The home readings in which a concern shows: a problem that the plan follows by them fits where no code does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The problem that is proposed for minutes, or none, and the reason in a sentence."""

    name: str = ""
    why: str


def fitting(concern: str | None, problems: Sequence[Problem]) -> Fit:
    """The problem of a plan that a concern is about: by its code, else by what the plan follows it by, else none.

    Minutes that name the wrong problem are worse evidence than minutes whose author had to choose.

    >>> plan = [
    ...     Problem(name="Heart failure", icd10="I50.32", outcome="", goal=""),
    ...     Problem(name="High blood pressure", icd10="I10", outcome="", goal=""),
    ...     Problem(name="Type 2 diabetes", icd10="E11.65", outcome="", goal=""),
    ... ]
    >>> fitting("high_glucose", plan).name, fitting("pressure_drift_up", plan).name, fitting("fast_pulse", plan).name
    ('Type 2 diabetes', 'High blood pressure', '')
    >>> fitting("low_pressure", plan).why
    'The alert is about hypertension (I10).'
    """
    if not concern:
        return Fit(why="No alert says which problem it is about.")
    for kind in FITS.get(concern, ()):
        for problem in problems:
            if problem.icd10.upper().replace(".", "").startswith(kind.codes):
                return Fit(name=problem.name, why=f"The alert is about {kind.words} ({problem.icd10}).")
    watch = WATCHED.get(concern)
    followed = [problem for problem in problems if watch and problem.watch == watch]
    if followed:
        return Fit(name=followed[0].name, why="The plan follows it by the readings that the alert is about.")
    return Fit(why="No problem of the plan fits the alert.")
