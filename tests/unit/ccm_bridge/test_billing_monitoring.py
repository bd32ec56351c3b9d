"""Remote monitoring: its gates, live contact, windows and set-up."""

import pytest

from ccm_bridge.billing import Reason
from tests.unit.ccm_bridge.billing_month import (
    MONITORED,
    NOVEMBER,
    billed,
    decided,
    monitoring,
    service,
    window,
    work,
)

TALK = monitoring(25)
GATES = [
    ("not enrolled", {"rpm": {"enrolled": False}}, "BLOCK", "BLOCK", Reason.NOT_ENROLLED),
    ("nothing known", {"rpm": None}, "HOLD", "HOLD", Reason.UNKNOWN_FACT),
    ("enrolment unknown", {"rpm": MONITORED | {"enrolled": None}}, "HOLD", "HOLD", Reason.UNKNOWN_FACT),
    ("not ordered", {"rpm": MONITORED | {"order": False}}, "BLOCK", "BLOCK", Reason.NO_ORDER),
    ("order unknown", {"rpm": MONITORED | {"order": None}}, "HOLD", "HOLD", Reason.UNKNOWN_FACT),
    ("no consent", {"rpm": MONITORED | {"consent_at": None}}, "HOLD", "HOLD", Reason.NO_CONSENT),
    (
        "revoked before it was given",
        {"rpm": MONITORED | {"revoked_at": "2026-09-30T09:00:00-04:00"}},
        "HOLD",
        "HOLD",
        Reason.NO_CONSENT,
    ),
    (
        "no device",
        {"rpm": MONITORED | {"device_fda_defined": False}},
        "BLOCK",
        "HOLD",
        Reason.DEVICE_NOT_QUALIFYING,
    ),
    ("typed in", {"rpm": MONITORED | {"auto_upload": False}}, "BLOCK", "HOLD", Reason.MANUAL_READING),
    ("upload unknown", {"rpm": MONITORED | {"auto_upload": None}}, "HOLD", "HOLD", Reason.UNKNOWN_FACT),
    (
        "device unknown",
        {"rpm": MONITORED | {"device_fda_defined": None}},
        "HOLD",
        "HOLD",
        Reason.UNKNOWN_FACT,
    ),
    ("set-up unknown", {"rpm": MONITORED | {"setup_on": None}}, "HOLD", "MET", Reason.UNKNOWN_FACT),
    ("surgery", {"rpm": MONITORED | {"global_surgery": True}}, "HOLD", "HOLD", Reason.GLOBAL_PERIOD),
    ("never seen", {"rpm": MONITORED, "initiating_visit": None}, "HOLD", "HOLD", Reason.NOT_ESTABLISHED),
    (
        "seen too late",
        {"rpm": MONITORED, "initiating_visit": "2026-10-02"},
        "BLOCK",
        "BLOCK",
        Reason.NOT_ESTABLISHED,
    ),
    ("seen that day", {"rpm": MONITORED, "initiating_visit": "2026-10-01"}, "MET", "MET", None),
    (
        "known otherwise",
        {"rpm": MONITORED | {"established": True}, "initiating_visit": None},
        "MET",
        "MET",
        None,
    ),
    (
        "known not to be",
        {"rpm": MONITORED | {"established": False}},
        "BLOCK",
        "BLOCK",
        Reason.NOT_ESTABLISHED,
    ),
    ("no condition", {"rpm": MONITORED, "conditions": []}, "HOLD", "HOLD", Reason.UNKNOWN_FACT),
    (
        "one acute condition",
        {"rpm": MONITORED, "conditions": [{"icd10": "J18.9", "chronic_months": 1}]},
        "MET",
        "MET",
        None,
    ),
    ("no consent to care management", {"rpm": MONITORED, "consent": None}, "MET", "MET", None),
]


@pytest.mark.parametrize(
    ("facts", "supply", "management", "reason"), [row[1:] for row in GATES], ids=[row[0] for row in GATES]
)
def test_gates_open_and_close_supply_and_management(facts, supply, management, reason):
    decision = decided(TALK, device_windows=[window(18)], **facts)
    assert decision.standing == {"RPM_MANAGEMENT": management, "RPM_DEVICE": supply}
    assert ("99454" in decision.codes) == (supply == "MET")
    assert ("99457" in decision.codes) == (management == "MET")
    assert decision.hold == ("HOLD" in {supply, management})
    assert reason is None or reason in decision.reasons


@pytest.mark.parametrize(
    ("rpm", "hold"),
    [({"enrolled": False}, False), (None, True), ({}, True)],
    ids=["not enrolled", "unknown", "empty"],
)
def test_neither_minutes_nor_windows_alone_pass_the_gates_of_a_patient_who_is_not_monitored(rpm, hold):
    for decision in (decided(TALK, rpm=rpm), decided(rpm=rpm, device_windows=[window(18)])):
        assert dict(decision.codes) == {}
        assert decision.hold == hold


def test_monitoring_begins_with_the_earlier_of_consent_and_set_up():
    later = MONITORED | {"setup_on": "2026-10-20"}
    assert decided(TALK, rpm=later, initiating_visit="2026-10-02").standing == {"RPM_MANAGEMENT": "BLOCK"}
    neither = MONITORED | {"setup_on": None, "consent_at": None, "established": None}
    seen = decided(TALK, rpm=neither, initiating_visit="2026-11-30").trace
    assert any(step.rule == "R1" and step.outcome == "MET" for step in seen)


# Live contact ------------------------------------------------------------------------------------------------

LIVE = [
    ("a call", [TALK], True),
    ("a silent call", [monitoring(25, interactive=False)], False),
    ("video", [monitoring(25, contact="video")], True),
    ("a message called live", [monitoring(25, contact="MESSAGE")], False),
    ("a voicemail called live", [monitoring(25, contact="voicemail")], False),
    ("a portal message called live", [monitoring(25, contact="portal")], False),
    ("a call of unknown kind", [monitoring(25, contact=None)], True),
    ("unknown", [monitoring(25, interactive=None)], None),
    ("a silent call, then a live one", [monitoring(20, interactive=False), monitoring(1, day=9)], True),
    ("a live one, then unknown", [monitoring(20), monitoring(1, day=9, interactive=None)], True),
    ("unknown, then a live one", [monitoring(20, interactive=None), monitoring(1, day=9)], True),
    (
        "live by front desk",
        [monitoring(20, interactive=False), monitoring(9, day=9, credential="FRONT_DESK")],
        False,
    ),
    ("live in doubt", [monitoring(20, interactive=False), monitoring(9, day=9, country=None)], None),
    ("live in care management", [monitoring(20, interactive=False), work(5, day=9, interactive=True)], False),
    (
        "live last month",
        [monitoring(20, interactive=False), monitoring(5, start="2026-10-31T10:00:00-04:00")],
        False,
    ),
    ("live, without a start", [monitoring(25, on="2026-11-03") | {"start": None}], True),
    ("unknown, without a start", [monitoring(25, on="2026-11-03", interactive=None) | {"start": None}], None),
    (
        "in doubt, without a start",
        [monitoring(20, interactive=False), monitoring(5, on="2026-11-03") | {"start": None}],
        None,
    ),
    (
        "live, overlapped by a colleague",
        [monitoring(20, interactive=False), monitoring(20, staff="rn-2")],
        True,
    ),
]


@pytest.mark.parametrize(("entries", "live"), [row[1:] for row in LIVE], ids=[row[0] for row in LIVE])
def test_management_needs_one_live_conversation(entries, live):
    decision = decided(*entries, rpm=MONITORED)
    codes = {
        code: units for code, units in decision.codes.items() if code.startswith("994") and code != "99490"
    }
    assert (codes == {"99457": 1}) == (live is True)
    assert decision.hold == (live is None)
    assert (Reason.NO_INTERACTIVE in decision.reasons) == (live is not True)


def test_conversations_are_counted():
    entries = [monitoring(20), monitoring(5, day=9), monitoring(5, day=12, interactive=False)]
    (step,) = (step for step in decided(*entries, rpm=MONITORED).trace if "conversations" in step.compared)
    assert dict(step.compared) == {"conversations": 2, "needed": 1}


def test_a_revocation_at_the_moment_of_consent_to_monitoring_is_no_contradiction():
    at_once = MONITORED | {"revoked_at": MONITORED["consent_at"]}
    assert decided(TALK, rpm=at_once).standing == {"RPM_MANAGEMENT": "BLOCK"}
    assert Reason.NO_CONSENT not in decided(TALK, rpm=at_once).reasons


# Windows -----------------------------------------------------------------------------------------------------


def supplied(*windows, rpm=MONITORED, **facts):
    return decided(rpm=rpm, device_windows=list(windows), **facts)


def days_of(decision):
    """What the supply code was decided on."""
    return [step for step in decision.trace if step.rule == "6.1" and "needed" in step.compared]


OPEN = [
    ("the last day of the month", "2026-11-30T12:00:00-05:00", window(18, "2026-11-01"), {}, True),
    ("the very end", "2026-12-01T00:00:00-05:00", window(18, "2026-11-01"), {"99454": 1}, False),
    ("a second before", "2026-11-30T23:59:59-05:00", window(18, "2026-11-01"), {}, True),
    ("nothing asked", None, window(18, "2026-11-01"), {"99454": 1}, False),
    ("closed in mid-month", "2026-11-24T00:00:00-05:00", window(18), {"99454": 1}, False),
    ("not yet closed in mid-month", "2026-11-23T23:59:59-05:00", window(18), {}, True),
    ("ends in December", None, window(18, "2026-11-05"), {}, True),
    ("begins in December", None, window(18, "2026-12-01"), {}, False),
    ("begins on the last day", None, window(18, "2026-11-30"), {}, True),
    ("ended in October", None, window(18, "2026-10-01"), {}, False),
    ("ended on the first", None, window(18, "2026-10-03"), {"99454": 1}, False),
]


@pytest.mark.parametrize(
    ("asked", "listed", "codes", "still_open"), [row[1:] for row in OPEN], ids=[row[0] for row in OPEN]
)
def test_a_window_is_decided_in_the_month_in_which_it_closed(asked, listed, codes, still_open):
    decision = supplied(listed, as_of=asked)
    assert dict(decision.codes) == codes
    assert (Reason.OPEN_WINDOW in decision.reasons) == still_open
    assert not decision.hold


def test_supply_is_dated_on_the_last_day_of_its_window():
    (line,) = supplied(window(18)).lines
    assert (line.code, str(line.date_of_service)) == ("99454", "2026-11-23")


def test_two_periods_may_close_in_one_month():
    both = window(3, "2026-11-02"), window(16, "2026-12-02")
    decision = supplied(*both, month="2026-12")
    assert dict(decision.codes) == {"99445": 1, "99454": 1}
    assert [str(line.date_of_service) for line in decision.lines] == ["2026-12-01", "2026-12-31"]
    assert dict(supplied(window(16, "2026-11-02"), window(20, "2026-12-02"), month="2026-12").codes) == {
        "99454": 2
    }


UNCLEAR = [
    ("no start", {"end": "2026-11-23", "days_with_data": 18}, {}),
    ("no end", {"start": "2026-10-25", "days_with_data": 18}, {}),
    ("29 days", window(18, "2026-10-26", "2026-11-23"), {"99454": 1}),
    ("31 days", window(18, "2026-10-24", "2026-11-23"), {"99454": 1}),
    ("days unknown", window(None), {"99454": 1}),
]


@pytest.mark.parametrize(("listed", "held"), [row[1:] for row in UNCLEAR], ids=[row[0] for row in UNCLEAR])
def test_a_window_that_is_not_thirty_known_days_waits(listed, held):
    decision = supplied(listed)
    assert dict(decision.codes) == {}
    assert dict(decision.held) == held
    assert decision.hold
    assert {Reason.WINDOW_UNCLEAR, Reason.UNKNOWN_FACT} & set(decision.reasons)
    assert [step.compared["days"] for step in days_of(decision)] == ([0] if held else [])


DEVICES = [
    ("both of sixteen", [window(16), window(20)], {"99454": 1}, False),
    ("more of one", [window(1), window(16)], {"99454": 1}, False),
    ("few together", [window(2), window(3)], {"99445": 1}, False),
    ("one day each", [window(1), window(1)], {}, True),
    ("no days", [window(0), window(1)], {}, False),
    ("sixteen only together", [window(8), window(8)], {}, True),
    ("fifteen together", [window(8), window(7)], {"99445": 1}, False),
    ("one unknown beside enough", [window(16), window(None)], {"99454": 1}, False),
    ("shifted, both enough", [window(18), window(20, "2026-10-28")], {"99454": 1}, False),
    ("shifted, one enough", [window(10), window(20, "2026-10-28")], {}, True),
    ("shifted, few", [window(2), window(3, "2026-10-28")], {"99445": 1}, False),
]


@pytest.mark.parametrize(
    ("listed", "codes", "hold"), [row[1:] for row in DEVICES], ids=[row[0] for row in DEVICES]
)
def test_several_devices_make_one_unit_of_the_days_they_share(listed, codes, hold):
    for order in (listed, listed[::-1]):
        decision = supplied(*order)
        assert dict(decision.codes) == codes
        assert decision.hold == hold
        assert (Reason.WINDOW_UNCLEAR in decision.reasons) == (len({each["start"] for each in listed}) > 1)
        assert (Reason.UNKNOWN_FACT in decision.reasons) == any(
            each["days_with_data"] is None for each in listed
        )


def test_overlapping_windows_are_dated_by_the_last_of_them():
    (line,) = supplied(window(18), window(20, "2026-10-28")).lines
    assert str(line.date_of_service) == "2026-11-26"


def test_windows_that_hang_together_through_a_third_are_one_period():
    chain = [window(20, "2026-11-02"), window(20, "2026-11-10"), window(20, "2026-12-02")]
    assert dict(supplied(*chain, month="2026-12").codes) == {"99454": 1}
    assert dict(supplied(chain[0], chain[2], month="2026-12").codes) == {"99454": 2}
    assert dict(supplied(chain[0], window(20, "2026-12-01"), month="2026-12").codes) == {"99454": 1}


def test_an_overlap_with_an_odd_window_waits():
    decision = supplied(window(20), window(20, "2026-10-28", "2026-11-20"))
    assert dict(decision.codes) == {}
    assert decision.hold


def test_a_period_that_shares_days_with_an_earlier_one_waits():
    decision = supplied(window(20, "2026-09-27"), window(20))
    assert dict(decision.codes) == {}
    assert decision.hold
    assert Reason.WINDOW_UNCLEAR in decision.reasons
    by_a_day = supplied(window(20, "2026-09-26"), window(20))
    assert dict(by_a_day.codes) == {}
    adjoining = supplied(window(20, "2026-09-25"), window(20))
    assert dict(adjoining.codes) == {"99454": 1}


BOUNDED = [
    ("consent on the first day", {"consent_at": "2026-10-25T18:00:00-04:00"}, 16, 16, {"99454": 1}, {}),
    ("consent on the second day", {"consent_at": "2026-10-26T18:00:00-04:00"}, 16, 15, {}, {"99454": 1}),
    ("a day to spare", {"consent_at": "2026-10-26T18:00:00-04:00"}, 17, 16, {"99454": 1}, {}),
    ("consent on the last day", {"consent_at": "2026-11-23T08:00:00-05:00"}, 30, 1, {}, {}),
    ("consent after the window", {"consent_at": "2026-11-24T08:00:00-05:00"}, 30, 0, {}, {}),
    ("set-up on the second day", {"setup_on": "2026-10-26"}, 16, 15, {}, {"99454": 1}),
    ("revoked in the month before", {"revoked_at": "2026-10-28T08:00:00-04:00"}, 22, 0, {}, {"99445": 1}),
    ("revoked, most days before", {"revoked_at": "2026-10-28T08:00:00-04:00"}, 25, 2, {"99445": 1}, {}),
    ("revoked in the month", {"revoked_at": "2026-11-01T08:00:00-05:00"}, 22, 22, {"99454": 1}, {}),
    ("no days at all", {}, 0, 0, {}, {}),
]


@pytest.mark.parametrize(
    ("rpm", "days", "sure", "codes", "held"), [row[1:] for row in BOUNDED], ids=[row[0] for row in BOUNDED]
)
def test_days_outside_consent_and_set_up_do_not_count(rpm, days, sure, codes, held):
    decision = supplied(window(days), rpm=MONITORED | {"setup_billed": True} | rpm)
    assert dict(decision.codes) == codes
    assert dict(decision.held) == held
    (step,) = days_of(decision)
    assert step.compared["days"] == sure
    assert step.outcome == ("MET" if sure >= 2 else "BLOCK")
    assert (Reason.UNDER_THRESHOLD in step.reasons) == (sure < 2)


def test_a_doubtful_window_asks_nothing_where_supply_is_out_anyway():
    for rpm, hold in ((MONITORED, True), (MONITORED | {"order": False}, False), ({"enrolled": False}, False)):
        assert supplied({"start": "2026-10-25"}, rpm=rpm).hold == hold
        assert supplied(window(20), rpm=rpm, died_at="2026-11-20T09:00:00-05:00").hold == hold


def test_no_supply_is_dated_after_a_death():
    decision = supplied(window(20), died_at="2026-11-23T20:00:00-05:00")
    assert dict(decision.codes) == {}
    assert dict(decision.held) == {"99454": 1}
    assert any(step.rule == "6.1" and Reason.AFTER_DEATH in step.reasons for step in decision.trace)
    between = supplied(window(20), window(20, "2026-10-28"), died_at="2026-11-24T20:00:00-05:00")
    assert dict(between.codes) == {}
    after = supplied(window(20), died_at="2026-11-24T00:00:00-05:00")
    assert dict(after.codes) == {"99454": 1}


# Set-up ------------------------------------------------------------------------------------------------------

SETUP = [
    ("in its window", {"setup_on": "2026-10-25"}, [window(16)], True),
    ("inside the window", {"setup_on": "2026-10-26"}, [window(18)], True),
    ("on the window's last day", {"setup_on": "2026-11-23"}, [window(30)], False),
    ("the day before the window", {"setup_on": "2026-10-24"}, [window(16)], False),
    (
        "the day before, known not to be billed",
        {"setup_on": "2026-10-24", "setup_billed": False},
        [window(16)],
        True,
    ),
    ("after the window, not billed", {"setup_on": "2026-12-05", "setup_billed": False}, [window(16)], False),
    ("in its window, already billed", {"setup_on": "2026-10-25", "setup_billed": True}, [window(16)], False),
    ("two days", {"setup_on": "2026-10-25"}, [window(2)], True),
    ("one day", {"setup_on": "2026-10-25"}, [window(1)], False),
    (
        "in the month, before its window",
        {"month": "2026-10", "setup_on": "2026-10-01"},
        [window(9, "2026-10-02")],
        True,
    ),
    ("after the window, in the month", {"setup_on": "2026-11-24"}, [window(30)], False),
    ("no window", {"setup_on": "2026-11-01"}, [], False),
]


@pytest.mark.parametrize(("rpm", "listed", "due"), [row[1:] for row in SETUP], ids=[row[0] for row in SETUP])
def test_set_up_is_billed_once_with_its_first_period(rpm, listed, due):
    facts = {"month": rpm["month"], "rpm": MONITORED | rpm} if "month" in rpm else {"rpm": MONITORED | rpm}
    decision = decided(device_windows=listed, **facts)
    assert decision.codes.get("99453", 0) == int(due)
    for step in decision.trace:
        if step.rule == "6.2":
            assert step.outcome == ("MET" if due else "BLOCK")
            assert step.reasons == (() if due else (Reason.UNDER_THRESHOLD,))


def test_set_up_goes_with_the_first_of_two_periods():
    listed = [window(16, "2026-12-02"), window(1, "2026-11-02")]
    decision = supplied(*listed, month="2026-12", rpm=MONITORED | {"setup_on": "2026-11-02"})
    assert dict(decision.codes) == {"99454": 1}
    listed = [window(16, "2026-12-02"), window(2, "2026-11-02")]
    decision = supplied(*listed, month="2026-12", rpm=MONITORED | {"setup_on": "2026-11-02"})
    assert dict(decision.codes) == {"99445": 1, "99453": 1, "99454": 1}


def test_set_up_that_somebody_billed_is_not_billed_again():
    decision = supplied(
        window(16), rpm=MONITORED | {"setup_on": "2026-10-25"}, other_services=[service("99453")]
    )
    assert dict(decision.codes) == {"99454": 1}
    assert decision.standing["RPM_SETUP"] == "BLOCK"


def test_nothing_is_asked_of_a_patient_without_monitoring():
    decision = decided(work(20))
    assert not [step for step in decision.trace if step.rule.startswith("R")]
    shown = {step.rule for step in decided(work(20), rpm=MONITORED).trace}
    assert {"R0", "R1", "R2", "R3", "R4", "R5", "R6"} <= shown


def test_a_month_of_everything():
    facts = {"rpm": MONITORED | {"setup_on": "2026-11-01"}, "device_windows": [window(16, "2026-11-01")]}
    assert billed(work(45), monitoring(45, day=6), **facts) == {
        "99490": 1,
        "99439": 1,
        "99457": 1,
        "99458": 1,
        "99454": 1,
        "99453": 1,
    }
    assert NOVEMBER["rpm"] == {"enrolled": False}
