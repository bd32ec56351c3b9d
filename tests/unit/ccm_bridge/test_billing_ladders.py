"""Every threshold of every ladder, from a second below to a second above."""

import pytest

from ccm_bridge.billing import Reason
from ccm_bridge.billing.book import shipped
from ccm_bridge.billing.ladder import climb
from tests.unit.ccm_bridge.billing_month import MONITORED, billed, decided, monitoring, window, work

STAFF = [
    ("nothing", 0, {}),
    ("19:59", 1199, {}),
    ("20:00", 1200, {"99490": 1}),
    ("39:59", 2399, {"99490": 1}),
    ("40:00", 2400, {"99490": 1, "99439": 1}),
    ("59:59", 3599, {"99490": 1, "99439": 1}),
    ("60:00", 3600, {"99490": 1, "99439": 2}),
    ("79:59", 4799, {"99490": 1, "99439": 2}),
    ("80:00 is over the cap", 4800, {"99490": 1, "99439": 2}),
    ("ten hours", 36000, {"99490": 1, "99439": 2}),
]
COMPLEX = [
    ("59:59 stays plain", 3599, {"99490": 1, "99439": 1}),
    ("60:00", 3600, {"99487": 1}),
    ("89:59", 5399, {"99487": 1}),
    ("90:00", 5400, {"99487": 1, "99489": 1}),
    ("119:59", 7199, {"99487": 1, "99489": 1}),
    ("120:00", 7200, {"99487": 1, "99489": 2}),
    ("149:59", 8999, {"99487": 1, "99489": 2}),
    ("150:00", 9000, {"99487": 1, "99489": 3}),
    ("209:59", 12599, {"99487": 1, "99489": 4}),
]
PERSONAL = [
    ("29:59", 1799, {}),
    ("30:00", 1800, {"99491": 1}),
    ("59:59", 3599, {"99491": 1}),
    ("60:00", 3600, {"99491": 1, "99437": 1}),
    ("89:59", 5399, {"99491": 1, "99437": 1}),
    ("90:00", 5400, {"99491": 1, "99437": 2}),
    ("119:59", 7199, {"99491": 1, "99437": 2}),
    ("120:00", 7200, {"99491": 1, "99437": 3}),
]
MANAGEMENT = [
    ("9:59", 599, {}),
    ("10:00", 600, {"99470": 1}),
    ("19:59", 1199, {"99470": 1}),
    ("20:00", 1200, {"99457": 1}),
    ("39:59", 2399, {"99457": 1}),
    ("40:00", 2400, {"99457": 1, "99458": 1}),
    ("60:00", 3600, {"99457": 1, "99458": 2}),
    ("79:59", 4799, {"99457": 1, "99458": 2}),
    ("80:00", 4800, {"99457": 1, "99458": 3}),
    ("99:59", 5999, {"99457": 1, "99458": 3}),
]
PCM_STAFF = [
    ("29:59", 1799, {}),
    ("30:00", 1800, {"99426": 1}),
    ("59:59", 3599, {"99426": 1}),
    ("60:00", 3600, {"99426": 1, "99427": 1}),
    ("90:00", 5400, {"99426": 1, "99427": 2}),
    ("150:00 is over the cap", 9000, {"99426": 1, "99427": 2}),
]
PCM_PERSONAL = [
    ("29:59", 1799, {}),
    ("30:00", 1800, {"99424": 1}),
    ("60:00", 3600, {"99424": 1, "99425": 1}),
    ("90:00", 5400, {"99424": 1, "99425": 2}),
    ("119:59", 7199, {"99424": 1, "99425": 2}),
]


def table(rows):
    return pytest.mark.parametrize(
        ("seconds", "codes"), [row[1:] for row in rows], ids=[row[0] for row in rows]
    )


@table(STAFF)
def test_clinical_staff(seconds, codes):
    assert billed(work(seconds=seconds)) == codes


@table(COMPLEX)
def test_complex(seconds, codes):
    chosen = {"mdm_documented": True, "elected": True}
    assert billed(work(seconds=seconds), complex=chosen) == codes


@table(PERSONAL)
def test_practitioner_personally(seconds, codes):
    assert billed(work(seconds=seconds, credential="MD")) == codes


@table(MANAGEMENT)
def test_monitoring_management(seconds, codes):
    assert billed(monitoring(seconds=seconds), rpm=MONITORED) == codes


@table(PCM_STAFF)
def test_principal_care_by_staff(seconds, codes):
    assert billed(work(seconds=seconds, program="PCM"), pcm={"gate_documented": True}) == codes


@table(PCM_PERSONAL)
def test_principal_care_by_the_practitioner(seconds, codes):
    entry = work(seconds=seconds, program="PCM", credential="DO")
    assert billed(entry, pcm={"gate_documented": True}) == codes


@pytest.mark.parametrize(
    ("days", "code"), [(0, None), (1, None), (2, "99445"), (15, "99445"), (16, "99454"), (30, "99454")]
)
def test_days_of_data(days, code):
    assert billed(rpm=MONITORED, device_windows=[window(days)]) == ({code: 1} if code else {})


@pytest.mark.parametrize(
    ("entry", "facts", "codes", "held"),
    [
        (monitoring(100), {"rpm": MONITORED}, {"99457": 1, "99458": 3}, {"99458": 1}),
        (monitoring(141), {"rpm": MONITORED}, {"99457": 1, "99458": 3}, {"99458": 3}),
        (
            work(210),
            {"complex": {"mdm_documented": True, "elected": True}},
            {"99487": 1, "99489": 4},
            {"99489": 1},
        ),
        (
            work(120, program="PCM", credential="MD"),
            {"pcm": {"gate_documented": True}},
            {"99424": 1, "99425": 2},
            {"99425": 1},
        ),
    ],
    ids=["99458", "99458 by three", "99489", "99425"],
)
def test_units_above_a_limit_wait_for_a_person(entry, facts, codes, held):
    decision = decided(entry, **facts)
    assert dict(decision.codes) == codes
    assert dict(decision.held) == held
    assert decision.hold
    assert Reason.CAP_REACHED in decision.reasons


@pytest.mark.parametrize(
    ("entry", "facts"),
    [
        (work(61), {}),
        (work(121, program="PCM"), {"pcm": {"gate_documented": True}}),
    ],
    ids=["99439", "99427"],
)
def test_minutes_above_a_cap_are_named_and_hold_nothing(entry, facts):
    decision = decided(entry, **facts)
    assert Reason.CAP_REACHED in decision.reasons
    assert not decision.hold


def test_the_cap_is_not_named_when_it_is_met_exactly():
    assert Reason.CAP_REACHED not in decided(work(60)).reasons


@pytest.mark.parametrize(
    ("minutes", "needed", "short"),
    [(19, 20, 1), (20, 40, 20), (39, 40, 1), (41, 60, 19)],
    ids=["a minute to the first", "a whole step to the next", "a minute to the next", "most of a step"],
)
def test_the_trace_says_how_many_minutes_are_missing(minutes, needed, short):
    missing = [step for step in decided(work(minutes)).trace if "short" in step.compared]
    assert [dict(step.compared) for step in missing] == [
        {"minutes": minutes, "needed": needed, "short": short}
    ]
    assert missing[0].rule == "5.1"


@pytest.mark.parametrize(
    ("minutes", "under"), [(19, True), (20, False), (39, True), (40, False)], ids=["19", "20", "39", "40"]
)
def test_minutes_that_miss_the_next_rung_are_a_reason_and_a_full_rung_is_none(minutes, under):
    assert (Reason.UNDER_THRESHOLD in decided(work(minutes)).reasons) == under


def test_the_short_code_of_monitoring_points_to_the_full_one():
    ladder = shipped().rules_of("2026-11").ladders.rpm
    for minutes, code, at, spare in ((7, "99470", 10, 7), (15, "99457", 20, 5), (39, "99458", 40, 19)):
        stand = climb(ladder, minutes)
        assert (stand.ahead.code, stand.ahead.minutes, stand.spare) == (code, at, spare)
    stand = climb(shipped().rules_of("2025-11").ladders.rpm, 15)
    assert (stand.ahead.code, stand.ahead.minutes, stand.spare, dict(stand.codes)) == ("99457", 20, 15, {})


@pytest.mark.parametrize(
    ("minutes", "unusual"),
    [(90, False), (119, False), (120, True)],
    ids=["two add-ons", "still two", "three"],
)
def test_more_add_ons_than_usual_are_a_warning(minutes, unusual):
    steps = decided(work(minutes, credential="MD")).trace
    assert any(step.outcome == "WARN" and "99437" in step.says for step in steps) == unusual


@pytest.mark.parametrize(("minutes", "needed"), [(10, 10), (20, 20), (40, 20)])
def test_a_first_rung_names_the_minutes_it_needed(minutes, needed):
    (reached,) = (
        step
        for step in decided(monitoring(minutes), rpm=MONITORED).trace
        if step.rule == "6.3" and step.outcome == "MET" and "minutes" in step.compared
    )
    assert dict(reached.compared) == {"minutes": minutes, "needed": needed}


def test_units_that_wait_for_a_person_ask_for_no_more_minutes():
    steps = decided(monitoring(105), rpm=MONITORED).trace
    assert not [step for step in steps if "short" in step.compared]
    (limit,) = (step for step in steps if Reason.CAP_REACHED in step.reasons)
    assert (limit.outcome, dict(limit.compared)) == ("HOLD", {"minutes": 105, "units": 3, "spare": 25})
    (cap,) = (step for step in decided(work(70)).trace if Reason.CAP_REACHED in step.reasons)
    assert (cap.outcome, dict(cap.compared)) == ("BLOCK", {"minutes": 70, "units": 2, "spare": 10})


def test_minutes_that_are_all_out_are_under_the_threshold():
    assert Reason.UNDER_THRESHOLD in decided(work(25, country="PH")).reasons


def test_a_practitioners_minutes_have_a_line_of_their_own_where_there_are_any():
    def lines(*entries):
        return [step.rule for step in decided(*entries).trace if "short" in step.compared]

    assert lines(work(12), work(10, day=4, credential="MD")) == ["5.1", "5.3"]
    assert lines(work(12)) == ["5.1"]
    assert lines(work(10, credential="MD")) == ["5.1", "5.3"]


@pytest.mark.parametrize(
    ("asked", "open_month"),
    [("2026-11-30T23:59:59-05:00", True), ("2026-12-01T00:00:00-05:00", False), (None, False)],
    ids=["a second before the end", "at the end", "not said"],
)
def test_an_open_month_is_a_warning(asked, open_month):
    decision = decided(work(25), as_of=asked)
    assert dict(decision.codes) == {"99490": 1}
    assert [step.outcome for step in decision.trace if step.rule == "5.6"] == ["WARN"] * open_month
