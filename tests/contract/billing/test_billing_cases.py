"""The contract of the reasoner: facts in, codes, reasons and holds out, whatever lies between."""

import json
from pathlib import Path

import pytest

from ccm_bridge.billing import Facts, decide, read_facts

HERE = Path(__file__).parent
SHOWN = json.loads((HERE / "cases.json").read_text())
FURTHER = json.loads((HERE / "further.json").read_text())
TRACES = json.loads((HERE / "traces.json").read_text())["months"]
CASES = [*SHOWN["cases"], *FURTHER["cases"]]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_a_month_is_decided_as_the_rules_say(case):
    facts = read_facts(json.dumps({"id": case["id"], "facts": SHOWN["default_facts"] | case["facts"]}))
    assert isinstance(facts, Facts), facts

    decision = decide(facts)

    expected = case["expected"]
    assert dict(decision.codes) == expected["codes"]
    assert set(expected["reasons"]) <= set(decision.reasons)
    assert decision.hold == expected["hold"]
    assert decision.trace
    assert all(step.source and step.says for step in decision.trace)
    assert dict(decision.codes) == _units_of(decision.lines)


def test_every_further_case_names_its_rule():
    assert all(case["source"] for case in FURTHER["cases"])


@pytest.mark.parametrize("month", TRACES, ids=[month["id"] for month in TRACES])
def test_an_auditor_reads_the_same_trace_word_for_word(month):
    decision = decide(read_facts(SHOWN["default_facts"] | month["facts"]))
    read = [[step.rule, step.outcome, step.says, dict(step.compared)] for step in decision.trace]
    assert read == month["trace"]


def _units_of(lines):
    units = {}
    for line in lines:
        units[line.code] = units.get(line.code, 0) + line.units
    return units
