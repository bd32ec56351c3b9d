"""Rules and prices are data: a new year is new files, and a broken file is loud."""

import ast
import re
import shutil
from datetime import date
from decimal import Decimal
from importlib import resources
from pathlib import Path

import msgspec
import pytest

import ccm_bridge.billing
from ccm_bridge.billing import Reason, decide
from ccm_bridge.billing.book import among, read_book, shipped
from ccm_bridge.billing.facts import Facts
from tests.unit.ccm_bridge.billing_month import MONITORED, a_month, consent, decided, monitoring, window, work

YEARS = Path(str(resources.files("ccm_bridge.billing.years")))
ROOM = Path(ccm_bridge.billing.__file__).parent

PRICES_2026 = {
    "99490": "66.13",
    "99439": "50.44",
    "99487": "144.29",
    "99489": "78.16",
    "99491": "89.18",
    "99437": "63.13",
    "99424": "87.51",
    "99425": "61.46",
    "99426": "67.80",
    "99427": "54.11",
    "99453": "21.71",
    "99445": "52.11",
    "99454": "52.11",
    "99470": "26.05",
    "99457": "51.77",
    "99458": "41.42",
}
PRICES_2025 = {
    "99490": "60.49",
    "99439": "45.93",
    "99487": "131.65",
    "99489": "70.52",
    "99491": "82.16",
    "99437": "57.58",
    "99453": "19.73",
    "99454": "43.02",
    "99457": "47.87",
    "99458": "38.49",
}


@pytest.mark.parametrize(("month", "amounts"), [("2025-06", PRICES_2025), ("2026-06", PRICES_2026)])
def test_national_amounts(month, amounts):
    prices = shipped().prices_of(month)
    assert {code: str(prices.allowed(code)) for code in amounts} == amounts
    assert prices.source


def test_a_code_without_a_published_price_has_none():
    assert shipped().prices_of("2025-06").allowed("99426") is None
    assert shipped().prices_of("2026-06").allowed("99999") is None
    decision = decided(
        work(45, program="PCM", start="2025-11-03T10:00:00-05:00"),
        month="2025-11",
        pcm={"gate_documented": True},
        consent=consent(at="2025-10-01T09:00:00-04:00"),
    )
    (line,) = decision.lines
    assert (line.code, line.allowed, line.medicare, line.patient) == ("99426", None, None, None)


def test_lines_are_priced_and_rounded_one_by_one():
    decision = decided(work(60))
    assert [
        (line.code, str(line.allowed), str(line.medicare), str(line.patient)) for line in decision.lines
    ] == [
        ("99490", "66.13", "52.90", "13.23"),
        ("99439", "100.88", "80.70", "20.18"),
    ]
    assert sum(line.allowed for line in decision.lines) == Decimal("167.01")


def test_the_prices_of_a_month_of_everything_add_up():
    decision = decided(work(20), monitoring(20, day=6), rpm=MONITORED, device_windows=[window(18)])
    assert sum(line.allowed for line in decision.lines) == Decimal("170.01")
    for line in decision.lines:
        assert line.medicare + line.patient == line.allowed


def test_what_began_in_2026_is_not_billed_in_2025():
    last_year = {
        "month": "2025-11",
        "initiating_visit": "2025-08-10",
        "rpm": MONITORED | {"consent_at": "2025-10-01T09:00:00-04:00", "setup_on": "2025-10-01"},
    }
    few = decided(device_windows=[window(15, "2025-10-25")], **last_year)
    many = decided(device_windows=[window(16, "2025-10-25")], **last_year)
    assert (dict(few.codes), dict(many.codes)) == ({}, {"99454": 1})
    assert dict(decided(monitoring(19, start="2025-11-03T10:00:00-05:00"), **last_year).codes) == {}
    assert (many.rule_set, many.price_set) == ("CY2025", "PFS-2025")
    assert (decided().rule_set, decided().price_set) == ("CY2026", "PFS-2026-JUL")


@pytest.mark.parametrize("month", ["2024-12", "2027-01"])
def test_a_month_without_rules_holds(month):
    decision = decided(work(25, start=f"{month}-03T10:00:00-05:00"), month=month)
    assert decision.hold
    assert dict(decision.codes) == {}
    assert {Reason.RULESET_MISSING, Reason.UNKNOWN_FACT} <= set(decision.reasons)
    assert month in decision.trace[0].says
    assert [step.outcome for step in decision.trace] == ["HOLD"]


@pytest.mark.parametrize(("name", "value"), [("month", None), ("zone", None)])
def test_without_a_month_or_a_zone_nothing_can_begin(name, value):
    decision = decided(work(25), **{name: value})
    assert decision.hold
    assert decision.reasons == (Reason.UNKNOWN_FACT,)
    assert [step.outcome for step in decision.trace] == ["HOLD"]
    assert name in decision.trace[0].says


# A new year --------------------------------------------------------------------------------------------------


@pytest.fixture
def with_2031(tmp_path):
    """The shipped folder and two more files: care management from 25 minutes, in a new code, at a new price."""
    for file in YEARS.glob("*.toml"):
        shutil.copy(file, tmp_path)
    rules = (YEARS / "rules-2026.toml").read_text().replace("CY2026", "CY2031").replace("2026-", "2031-")
    rules = rules.replace('code = "99490"\nminutes = 20', 'code = "99500"\nminutes = 25')
    (tmp_path / "rules-2031.toml").write_text(rules)
    prices = (
        (YEARS / "prices-2026.toml").read_text().replace("2026-", "2031-").replace("PFS-2031-JUL", "PFS-2031")
    )
    (tmp_path / "prices-2031.toml").write_text(prices + '99500 = "2.00"\n')
    return read_book(tmp_path)


def test_a_new_year_is_two_data_files(with_2031):
    def in_2031(minutes):
        month = a_month(
            work(minutes, start="2031-11-03T10:00:00-05:00"),
            month="2031-11",
            care_plan={"version": 1, "signed_at": "2031-01-02", "copy_given_at": "2031-01-02"},
        )
        return decide(month, book=with_2031)

    assert dict(in_2031(24).codes) == {}
    decision = in_2031(25)
    assert dict(decision.codes) == {"99500": 1}
    assert str(decision.lines[0].allowed) == "66.80"
    assert (decision.rule_set, decision.price_set) == ("CY2031", "PFS-2031")
    assert {str(step.effective) for step in decision.trace if step.rule == "C1"} == {"2031-01-01"}
    assert dict(decide(a_month(work(20)), book=with_2031).codes) == {"99490": 1}


def test_two_sets_in_force_at_once_are_refused(tmp_path):
    for file in YEARS.glob("*.toml"):
        shutil.copy(file, tmp_path)
    (tmp_path / "rules-notes.txt").write_text("not a rule set")
    assert len(read_book(tmp_path).rules) == 2
    late = (
        (YEARS / "rules-2026.toml")
        .read_text()
        .replace("effective_from = 2026-01-01", "effective_from = 2026-12-31")
    )
    (tmp_path / "rules-2027.toml").write_text(
        late.replace("effective_to = 2026-12-31", "effective_to = 2027-12-31")
    )
    with pytest.raises(ValueError, match="CY2026 and CY2026 are both in force on 2026-12-31"):
        read_book(tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("rules-2026.toml", "step = 20", "stepp = 20"),
        ("rules-2026.toml", "conditions = 2", 'conditions = "two"'),
        ("prices-2026.toml", "conversion_factor", "conversion"),
        ("conflicts.toml", 'outcome = "BLOCK"', 'outcome = "FORBID"'),
        ("sources.toml", "C1 = { source", "C1 = { sauce"),
    ],
)
def test_a_misspelt_data_file_is_refused(tmp_path, file, old, new):
    for each in YEARS.glob("*.toml"):
        shutil.copy(each, tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    with pytest.raises(msgspec.ValidationError):
        read_book(tmp_path)


def test_a_conflict_without_a_source_is_refused(tmp_path):
    for each in YEARS.glob("*.toml"):
        shutil.copy(each, tmp_path)
    table = (tmp_path / "conflicts.toml").read_text()
    (tmp_path / "conflicts.toml").write_text(table.replace('rule = "X4"', 'rule = "X99"'))
    with pytest.raises(ValueError, match="conflicts without a source: X99"):
        read_book(tmp_path)


def test_a_set_covers_whole_months_only():
    (rules,) = (each for each in shipped().rules if each.id == "CY2026")
    cut = msgspec.structs.replace(rules, effective_to=date(2026, 11, 29), effective_from=date(2026, 2, 2))
    assert [cut.covers(month) for month in ("2026-02", "2026-03", "2026-10", "2026-11")] == [
        False,
        True,
        True,
        False,
    ]
    assert rules.covers("2026-01")
    assert rules.covers("2026-12")


def test_a_conflict_may_begin_and_end():
    row = shipped().conflicts[0]
    dated = msgspec.structs.replace(row, since=date(2026, 2, 1), until=date(2026, 10, 31))
    assert [dated.covers(month) for month in ("2026-01", "2026-02", "2026-10", "2026-11")] == [
        False,
        True,
        True,
        False,
    ]
    book = msgspec.structs.replace(shipped(), conflicts=(dated,))
    services = {"other_services": [{"code": "99490", "by": "other_practice", "month": "2026-11"}]}
    assert dict(decide(a_month(work(25), **services), book=book).codes) == {"99490": 1}


# Sources -----------------------------------------------------------------------------------------------------


def _named_rules():
    """Every rule id that a module of the reasoner writes into a finding or a cut, and those of the conflict table."""
    called = {"Finding", "Cut", "predicate", "exclude", "doubt", "explain", "_finding", "Excluded"}
    named = {row.rule for row in shipped().conflicts}
    for file in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in called:
                candidates = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "rule")]
                named |= {
                    each.value
                    for each in candidates
                    if isinstance(each, ast.Constant) and isinstance(each.value, str)
                }
    return {rule for rule in named if re.fullmatch(r"[A-Z]\d+|\d(\.\d)?", rule)}


def test_every_rule_names_its_source():
    named = _named_rules()
    assert {"C1", "R4", "T8", "X5", "5.2", "6.1", "C4", "T19", "X14"} <= named
    assert named <= set(shipped().sources)


def test_the_trace_tells_rule_outcome_numbers_source_and_date():
    (step,) = (step for step in decided(work(25)).trace if step.rule == "C1")
    assert (step.outcome, dict(step.compared)["needed"], str(step.effective)) == ("MET", 2, "2026-01-01")
    assert "Noridian" in step.source
    assert step.default is None
    assert step.concerns == ("CCM",)
    assert next(step for step in decided(work(25)).trace if step.rule == "C3").default
    (step,) = (
        step
        for step in decided(
            work(25), other_services=[{"code": "99495", "by": "same_practice", "month": "2026-11"}]
        ).trace
        if step.rule == "X7"
    )
    assert str(step.effective) == "2020-01-01"


def test_no_data_file_carries_words_of_the_code_book():
    """The AMA's descriptors are not ours to ship; the words beside codes are plain ones of our own."""
    foreign = re.compile(
        r"first 20 minutes of|each additional|per calendar month, with|directed by a physician", re.IGNORECASE
    )
    for file in YEARS.glob("*.toml"):
        assert not foreign.search(file.read_text()), file.name


def test_numbers_live_in_the_data_and_not_in_the_code():
    code = re.compile(r"\b(99[0-9]{3}|G0[0-9]{3})\b")
    for file in ROOM.glob("*.py"):
        tree = ast.parse(file.read_text())
        docs = {
            ast.get_docstring(node, clean=False)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in docs:
                assert not code.search(node.value) or node.value == "CPO_G0181", f"{file.name}: {node.value}"


def test_a_code_with_letters_is_no_number():
    assert among("G0181", ("G0181-G0182",))
    assert not among("0181", ("G0181-G0182",))
    assert not among("G0183", ("G0181-G0182",))
    assert not among("99490X", ("99490",))
    assert not among("994905", ("99490-99491",))
    assert not among("90955", ("G0181-G0182",))
    assert not among("G0955", ("90951-90970",))
    assert not among("", ("99490",))
    assert among(" 99490 ", ("99491", "99490"))


def test_facts_of_every_kind_have_a_place_in_the_reader():
    assert all(field.default is not msgspec.NODEFAULT for field in msgspec.structs.fields(Facts))
