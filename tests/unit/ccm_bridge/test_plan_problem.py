"""The problem that is proposed for minutes about an alert: a table of concerns and plans."""

import pytest

from ccm_bridge.careplan import Problem
from ccm_bridge.plan_problem import FITS, WATCHED, fitting
from ccm_bridge.tasks import CONCERNS


def problem(name, icd10, watch=""):
    return Problem(name=name, icd10=icd10, outcome="", goal="", watch=watch)


SUGAR, PRESSURE = problem("Type 2 diabetes", "E11.65"), problem("High blood pressure", "I10")
HEART, KIDNEY = problem("Heart failure", "I50.32", "bp"), problem("Kidney disease", "N18.31")
FAINT, FLUTTER = problem("Drops on standing", "I95.1"), problem("Atrial fibrillation", "I48.91")
RAISED, LOWS = problem("Prediabetes", "R73.03"), problem("Low sugar without diabetes", "E16.2")

PROPOSED = [
    ("a pressure alert is about hypertension, also where it stands second", "high_pressure", [SUGAR, PRESSURE], "High blood pressure"),
    ("a glucose alert is about diabetes, also where it stands second", "low_glucose", [PRESSURE, SUGAR], "Type 2 diabetes"),
    ("a drift is about what it drifts in", "pressure_drift_up", [SUGAR, PRESSURE], "High blood pressure"),
    ("hypertension with heart disease is hypertension", "high_pressure", [SUGAR, problem("Heart and pressure", "I11.0")], "Heart and pressure"),
    ("resistant hypertension is hypertension", "high_pressure", [problem("Resistant", "i1a.0")], "Resistant"),
    ("low pressure is about hypotension before the treatment of hypertension", "low_pressure", [PRESSURE, FAINT], "Drops on standing"),
    ("low pressure without hypotension is about hypertension's treatment", "low_pressure", [SUGAR, PRESSURE], "High blood pressure"),
    ("a fast pulse is about the rhythm", "fast_pulse", [PRESSURE, FLUTTER], "Atrial fibrillation"),
    ("a fast pulse is about nothing where the plan knows no rhythm", "fast_pulse", [PRESSURE, SUGAR], ""),
    ("raised sugar without diabetes fits a glucose alert", "high_glucose", [PRESSURE, RAISED], "Prediabetes"),
    ("low sugar without diabetes fits a low one", "low_glucose", [PRESSURE, LOWS], "Low sugar without diabetes"),
    ("prediabetes does not explain a low sugar", "low_glucose", [PRESSURE, RAISED], ""),
    ("what the plan follows by the cuff fits where no code does", "high_pressure", [KIDNEY, HEART], "Heart failure"),
    ("a code goes before what is followed", "high_pressure", [HEART, PRESSURE], "High blood pressure"),
    ("silence may be about any problem", "no_readings", [PRESSURE, SUGAR], ""),
    ("an unknown concern is about none", "wet_cuff", [PRESSURE], ""),
    ("work without an alert proposes none", None, [PRESSURE], ""),
    ("a plan without problems proposes none", "high_pressure", [], ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("concern", "problems", "name"), [row[1:] for row in PROPOSED], ids=[row[0] for row in PROPOSED]
)
def test_the_problem_proposed_is_the_one_that_the_alert_is_about(concern, problems, name):
    fit = fitting(concern, problems)
    assert fit.name == name
    assert fit.why.endswith(".")


def test_the_table_speaks_of_concerns_that_there_are():
    assert set(FITS) | set(WATCHED) <= set(CONCERNS)
