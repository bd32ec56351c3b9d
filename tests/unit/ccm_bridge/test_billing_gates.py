"""Gates and conflicts: known false blocks, unknown holds, known true bills."""

import pytest

from ccm_bridge.billing import Reason
from tests.unit.ccm_bridge.billing_month import (
    MONITORED,
    NOVEMBER,
    billed,
    consent,
    decided,
    monitoring,
    service,
    window,
    work,
)

PLAN, PRACTICE = NOVEMBER["care_plan"], NOVEMBER["practice"]
ONE = {"icd10": "I10", "chronic_months": 12}
TWO = {"icd10": "E11.9", "chronic_months": 12}

BLOCKED = [
    ("one condition", {"conditions": [ONE]}, Reason.ONE_CONDITION),
    ("no condition", {"conditions": []}, Reason.ONE_CONDITION),
    ("one condition spelt twice", {"conditions": [TWO, TWO | {"icd10": "e119"}]}, Reason.ONE_CONDITION),
    ("one of eleven months", {"conditions": [ONE, TWO | {"chronic_months": 11}]}, Reason.ONE_CONDITION),
    (
        "one, and an unknown one of eleven months",
        {"conditions": [ONE, {"icd10": None, "chronic_months": 11}]},
        Reason.ONE_CONDITION,
    ),
    ("one without a name", {"conditions": [{"icd10": None, "chronic_months": 12}]}, Reason.ONE_CONDITION),
    ("no risk", {"significant_risk_documented": False}, Reason.NO_RISK_STATEMENT),
    ("no visit in the year before", {"initiating_visit": "2025-09-30"}, Reason.NO_INITIATING_VISIT),
    ("visit only after the start", {"initiating_visit": "2026-10-02"}, Reason.NO_INITIATING_VISIT),
    ("declined", {"consent": consent(accepted=False)}, Reason.NO_CONSENT),
    (
        "cost was not explained",
        {"consent": consent(explained=["availability", "one_practitioner", "right_to_stop"])},
        Reason.NO_CONSENT,
    ),
    ("nothing was explained", {"consent": consent(explained=[])}, Reason.NO_CONSENT),
    ("plan signed after the month", {"care_plan": PLAN | {"signed_at": "2026-12-01"}}, Reason.NO_CARE_PLAN),
    ("no access", {"practice": PRACTICE | {"access_24_7": False}}, Reason.NO_24_7_ACCESS),
    ("no certified record", {"practice": PRACTICE | {"certified_ehr": False}}, Reason.NO_CERTIFIED_EHR),
    (
        "a nurse as biller",
        {"practice": PRACTICE | {"biller_credential": "RN"}},
        Reason.NO_BILLING_PRACTITIONER,
    ),
    ("an ACCESS patient", {"access_model": True}, Reason.ACCESS_MODEL),
]

UNKNOWN = [
    ("payer", {"payer": None}, Reason.OTHER_PAYER),
    ("Medicare Advantage", {"payer": "medicare_advantage"}, Reason.OTHER_PAYER),
    ("conditions", {"conditions": None}, Reason.ONE_CONDITION),
    ("a second duration", {"conditions": [ONE, TWO | {"chronic_months": None}]}, Reason.ONE_CONDITION),
    ("a second name", {"conditions": [ONE, TWO | {"icd10": None}]}, Reason.ONE_CONDITION),
    ("risk", {"significant_risk_documented": None}, Reason.NO_RISK_STATEMENT),
    ("visit", {"initiating_visit": None}, Reason.NO_INITIATING_VISIT),
    ("beginning of care management", {"ccm_since": None}, Reason.NO_INITIATING_VISIT),
    ("consent", {"consent": None}, Reason.NO_CONSENT),
    ("time of consent", {"consent": consent(at=None)}, Reason.NO_CONSENT),
    ("method of consent", {"consent": consent(method=None)}, Reason.NO_CONSENT),
    ("implied consent", {"consent": consent(method="implied")}, Reason.NO_CONSENT),
    ("notices", {"consent": consent(explained=None)}, Reason.NO_CONSENT),
    (
        "a revocation before the consent",
        {"consent": consent(revoked_at="2026-09-01T09:00:00-04:00")},
        Reason.NO_CONSENT,
    ),
    ("plan", {"care_plan": None}, Reason.NO_CARE_PLAN),
    ("version of the plan", {"care_plan": PLAN | {"version": None}}, Reason.NO_CARE_PLAN),
    ("a plan of version nought", {"care_plan": PLAN | {"version": 0}}, Reason.NO_CARE_PLAN),
    ("signature", {"care_plan": PLAN | {"signed_at": None}}, Reason.NO_CARE_PLAN),
    ("copy", {"care_plan": PLAN | {"copy_given_at": None}}, Reason.PLAN_COPY_MISSING),
    ("copy after the month", {"care_plan": PLAN | {"copy_given_at": "2026-12-01"}}, Reason.PLAN_COPY_MISSING),
    ("practice", {"practice": None}, Reason.NO_24_7_ACCESS),
    ("access", {"practice": PRACTICE | {"access_24_7": None}}, Reason.NO_24_7_ACCESS),
    ("certified record", {"practice": PRACTICE | {"certified_ehr": None}}, Reason.NO_CERTIFIED_EHR),
    ("other services", {"other_services": None}, None),
    ("stays", {"stays": None}, None),
]


@pytest.mark.parametrize(("facts", "reason"), [row[1:] for row in BLOCKED], ids=[row[0] for row in BLOCKED])
def test_what_is_known_false_blocks_and_needs_nobody(facts, reason):
    decision = decided(work(25), **facts)
    assert dict(decision.codes) == {}
    assert dict(decision.held) == {}
    assert not decision.hold
    assert reason in decision.reasons
    assert Reason.UNKNOWN_FACT not in decision.reasons
    assert decision.standing == {"CCM": "BLOCK"}


@pytest.mark.parametrize(("facts", "reason"), [row[1:] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN])
def test_what_is_unknown_holds_and_never_bills(facts, reason):
    decision = decided(work(25), **facts)
    assert dict(decision.codes) == {}
    assert dict(decision.held) == {"99490": 1}
    assert decision.hold
    assert Reason.UNKNOWN_FACT in decision.reasons
    assert reason is None or reason in decision.reasons
    assert decision.standing == {"CCM": "HOLD"}


@pytest.mark.parametrize("fact", ["hospice_elected_on", "died_at", "entries", "other_services", "stays"])
def test_a_fact_that_is_absent_is_unknown(fact):
    facts = NOVEMBER | {"entries": [work(25)]}
    del facts[fact]
    from ccm_bridge.billing import decide, read_facts

    decision = decide(read_facts(facts))
    assert dict(decision.codes) == {}
    assert decision.hold
    assert Reason.UNKNOWN_FACT in decision.reasons
    assert "HOLD" in {step.outcome for step in decision.trace if Reason.UNKNOWN_FACT in step.reasons}


def test_device_windows_that_are_absent_matter_only_to_the_monitored():
    assert billed(work(20), device_windows=None) == {"99490": 1}
    assert decided(work(20), device_windows=None, rpm=MONITORED).hold
    assert decided(work(20), device_windows=None, rpm=None).hold


def test_known_false_beats_unknown():
    decision = decided(work(25), conditions=[ONE], significant_risk_documented=None, consent=None)
    assert not decision.hold
    assert dict(decision.held) == {}


def test_the_gates_of_an_enrolled_patient_are_shown_in_a_month_without_work():
    decision = decided(care_plan=None)
    assert Reason.NO_CARE_PLAN in decision.reasons
    assert not decision.hold
    assert decision.standing == {}


OPEN = [
    ("twelve months each", {"conditions": [ONE, TWO]}),
    ("two of three", {"conditions": [ONE, TWO, {"icd10": "M17.0", "chronic_months": 3}]}),
    ("two and an unknown", {"conditions": [ONE, TWO, {"icd10": "M17.0", "chronic_months": None}]}),
    ("visit on the day itself", {"initiating_visit": "2026-10-01"}),
    ("visit a year to the day before", {"initiating_visit": "2025-10-01"}),
    (
        "plan signed on the last day",
        {"care_plan": PLAN | {"signed_at": "2026-11-30", "copy_given_at": "2026-11-30"}},
    ),
    ("written consent", {"consent": consent(method="Written")}),
    (
        "more explained than asked",
        {"consent": consent(explained=[*NOVEMBER["consent"]["explained"], "apcm"])},
    ),
    ("a nurse practitioner as biller", {"practice": PRACTICE | {"biller_credential": "np"}}),
    ("payer in capitals", {"payer": "Original_Medicare"}),
    ("hospice in the next month", {"hospice_elected_on": "2026-12-01"}),
]


@pytest.mark.parametrize("facts", [row[1] for row in OPEN], ids=[row[0] for row in OPEN])
def test_what_is_known_true_bills(facts):
    assert billed(work(25), **facts) == {"99490": 1}


@pytest.mark.parametrize(
    ("visit", "old"),
    [("2025-11-30", False), ("2025-11-29", True)],
    ids=["a year before month's end", "a day more"],
)
def test_an_old_visit_while_enrolled_is_a_warning(visit, old):
    started = {"ccm_since": "2025-12-01", "initiating_visit": visit}
    decision = decided(work(25), **started)
    assert dict(decision.codes) == {"99490": 1}
    assert (Reason.VISIT_OLD in decision.reasons) == old


@pytest.mark.parametrize(
    ("day", "old"), [("2025-11-30", False), ("2025-11-29", True)], ids=["a year", "a day more"]
)
def test_an_old_consent_is_a_warning(day, old):
    decision = decided(work(25), consent=consent(at=f"{day}T10:00:00-05:00"))
    assert dict(decision.codes) == {"99490": 1}
    assert (Reason.CONSENT_OLD in decision.reasons) == old


@pytest.mark.parametrize("elected", ["2026-11-01", "2026-11-15", "2026-11-30", "2024-01-01"])
def test_hospice_holds_every_program_of_the_month(elected):
    work_of_all = [work(25), monitoring(25, day=5)]
    decision = decided(*work_of_all, hospice_elected_on=elected, rpm=MONITORED, device_windows=[window(20)])
    assert dict(decision.codes) == {}
    assert decision.hold
    assert Reason.HOSPICE in decision.reasons


def test_a_death_in_the_month_asks_for_a_look_and_a_later_one_does_not():
    within = decided(work(25), died_at="2026-11-30T23:59:00-05:00")
    assert dict(within.codes) == {"99490": 1}
    assert Reason.AFTER_DEATH in within.reasons
    assert Reason.AFTER_DEATH not in decided(work(25), died_at="2026-12-01T00:00:00-05:00").reasons
    assert billed(work(25), died_at="2026-12-01T00:00:00-05:00") == {"99490": 1}


# Principal care management -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("documented", "codes", "hold"),
    [(True, {"99426": 1}, False), (False, {}, False), (None, {}, True)],
    ids=["documented", "not met", "unknown"],
)
def test_one_condition_becomes_principal_care_only_where_its_gate_is_documented(documented, codes, hold):
    decision = decided(work(45), conditions=[ONE], pcm={"gate_documented": documented})
    assert dict(decision.codes) == codes
    assert decision.hold == hold
    assert Reason.ONE_CONDITION in decision.reasons
    assert (Reason.PCM_UNPROVEN in decision.reasons) == (documented is not True)


def test_one_condition_and_enough_minutes_offer_principal_care_without_a_hold():
    offered = [step for step in decided(work(30), conditions=[ONE]).trace if step.rule == "5.4"]
    assert [step.outcome for step in offered] == ["WARN"]
    assert not [step for step in decided(work(29), conditions=[ONE]).trace if step.rule == "5.4"]
    assert not [step for step in decided(work(30)).trace if step.rule == "5.4"]
    known = decided(work(30), conditions=[ONE], pcm={"gate_documented": True}).trace
    assert "WARN" not in [step.outcome for step in known if step.rule == "5.4"]


def test_a_gate_of_principal_care_without_work_asks_nothing():
    decision = decided(conditions=[ONE], pcm={"gate_documented": None})
    assert decision.standing == {}
    assert not decision.hold


def test_principal_care_adds_what_was_logged_in_both_programs():
    entries = work(20), work(20, day=4, program="PCM")
    assert billed(*entries, conditions=[ONE], pcm={"gate_documented": True}) == {"99426": 1}


def test_principal_care_without_consent_waits():
    decision = decided(work(45, program="PCM"), pcm={"gate_documented": True}, consent=None)
    assert dict(decision.held) == {"99426": 1}


def test_chronic_and_principal_care_never_stand_together():
    decision = decided(work(25), work(35, day=4, program="PCM"), pcm={"gate_documented": True})
    assert dict(decision.codes) == {"99490": 1}
    assert decision.hold
    assert Reason.PCM_MONTH in decision.reasons


def test_principal_care_gives_way_to_chronic_care_that_still_waits():
    decision = decided(
        work(25), work(35, day=4, program="PCM"), pcm={"gate_documented": True}, care_plan=None
    )
    assert dict(decision.codes) == {}
    assert dict(decision.held) == {"99490": 1}
    assert decision.hold


def test_principal_care_stands_where_chronic_care_is_out():
    decision = decided(
        work(25),
        work(35, day=4, program="PCM"),
        pcm={"gate_documented": True},
        significant_risk_documented=False,
    )
    assert dict(decision.codes) == {"99426": 1}
    assert not decision.hold


def test_principal_care_that_reaches_nothing_disturbs_nobody():
    assert billed(work(25), work(5, day=4, program="PCM"), pcm={"gate_documented": True}) == {"99490": 1}


# Families of chronic care management -------------------------------------------------------------------------

BOTH = work(25), work(35, day=4, credential="MD")
FLAGGED_BOTH = (
    work(15),
    work(10, day=4, credential="MD", as_clinical_staff=True),
    work(35, day=5, credential="NP"),
)


@pytest.mark.parametrize(
    ("entries", "policy", "codes", "hold"),
    [
        (BOTH, None, {"99490": 1}, True),
        (BOTH, "staff", {"99490": 1}, False),
        (BOTH, "personal", {"99491": 1}, False),
        (FLAGGED_BOTH, None, {"99491": 1}, True),
        (FLAGGED_BOTH, "staff", {"99490": 1}, False),
        (FLAGGED_BOTH, "personal", {"99491": 1}, False),
    ],
    ids=[
        "tie, staff alone 20",
        "staff",
        "personal",
        "tie, staff alone 15",
        "staff, with flagged",
        "personal, beside flagged",
    ],
)
def test_one_family_is_chosen_where_staff_and_practitioner_both_reach_one(entries, policy, codes, hold):
    decision = decided(*entries, practice=PRACTICE | {"family_policy": policy})
    assert dict(decision.codes) == codes
    assert decision.hold == hold
    assert (Reason.FAMILY_CHOICE in decision.reasons) == hold
    choice = next(step for step in decision.trace if step.rule == "X1")
    assert choice.outcome == ("HOLD" if hold else "MET")
    (reached,) = (
        step
        for step in decision.trace
        if step.outcome == "MET" and "99" in step.says and "reach 99" in step.says
    )
    assert reached.rule == ("5.1" if "99490" in codes else "5.3")
    assert "99490 x1" in choice.says
    assert "99491 x1" in choice.says


def test_staff_minutes_that_reach_the_rung_exactly_go_first():
    decision = decided(work(20), work(35, day=4, credential="MD"))
    assert dict(decision.codes) == {"99490": 1}
    flagged = work(1, day=5, credential="MD", as_clinical_staff=True)
    below = decided(work(seconds=1199), flagged, work(35, day=4, credential="MD"))
    assert dict(below.codes) == {"99491": 1}


def test_a_personal_family_is_not_turned_complex():
    decision = decided(
        work(60),
        work(35, day=4, credential="MD"),
        complex={"mdm_documented": True, "elected": True},
        practice=PRACTICE | {"family_policy": "personal"},
    )
    assert dict(decision.codes) == {"99491": 1}


def test_doubt_in_principal_care_holds_what_it_would_add():
    entries = work(30, program="PCM"), work(30, day=4, program="PCM", country=None)
    decision = decided(*entries, pcm={"gate_documented": True})
    assert (dict(decision.codes), dict(decision.held)) == ({"99426": 1}, {"99427": 1})
    entries = work(29, program="PCM"), work(30, day=4, program="PCM", country=None)
    assert dict(decided(*entries, pcm={"gate_documented": True}).codes) == {}


def test_the_question_of_the_family_stays_when_the_staff_family_turns_out_complex():
    entries = work(60), work(35, day=4, credential="MD")
    decision = decided(*entries, complex={"mdm_documented": True, "elected": True})
    assert dict(decision.codes) == {"99487": 1}
    assert decision.hold
    assert Reason.FAMILY_CHOICE in decision.reasons


COMPLEX = [
    (True, True, {"99487": 1}, False, None),
    (True, False, {"99490": 1, "99439": 2}, False, Reason.NOT_ELECTED),
    (False, True, {"99490": 1, "99439": 2}, False, Reason.NO_MDM),
    (False, False, {"99490": 1, "99439": 2}, False, Reason.NO_MDM),
    (None, False, {"99490": 1, "99439": 2}, False, Reason.NO_MDM),
    (False, None, {"99490": 1, "99439": 2}, False, Reason.NO_MDM),
    (True, None, {}, True, Reason.UNKNOWN_FACT),
    (None, True, {}, True, Reason.UNKNOWN_FACT),
    (None, None, {}, True, Reason.UNKNOWN_FACT),
]


@pytest.mark.parametrize(("mdm", "elected", "codes", "hold", "reason"), COMPLEX)
def test_complex_follows_documentation_and_election_never_price(mdm, elected, codes, hold, reason):
    decision = decided(work(60), complex={"mdm_documented": mdm, "elected": elected})
    assert dict(decision.codes) == codes
    assert decision.hold == hold
    assert reason is None or reason in decision.reasons
    (step,) = (
        step
        for step in decision.trace
        if step.rule == "5.2" and "needed" in step.compared and "elected" in step.compared
    )
    assert step.outcome == ("MET" if codes == {"99487": 1} else "HOLD" if hold else "BLOCK")
    assert (step.compared["minutes"], step.compared["mdm_documented"], step.compared["elected"]) == (
        60,
        mdm,
        elected,
    )


def test_complex_that_nobody_spoke_of_holds_from_sixty_minutes():
    assert billed(work(59), complex=None) == {"99490": 1, "99439": 1}
    assert decided(work(60), complex=None).hold


def test_a_complex_month_without_a_revised_plan_is_a_warning():
    elected = {"mdm_documented": True, "elected": True}
    assert Reason.PLAN_NOT_REVISED in decided(work(60), complex=elected).reasons
    revised = PLAN | {"version": 2, "signed_at": "2026-11-05", "copy_given_at": "2026-11-05"}
    assert Reason.PLAN_NOT_REVISED not in decided(work(60), complex=elected, care_plan=revised).reasons
    for missing in (None, PLAN | {"signed_at": None}):
        assert Reason.PLAN_NOT_REVISED in decided(work(60), complex=elected, care_plan=missing).reasons


# Conflicts ---------------------------------------------------------------------------------------------------

CARE = [work(25)]
MONITORING = [monitoring(25, day=5)]
CONFLICTS = [
    ("X2", "99490", "other_practice", CARE, "BLOCK", Reason.OTHER_PRACTITIONER),
    ("X2 personal", "99491", "other_practice", CARE, "BLOCK", Reason.OTHER_PRACTITIONER),
    ("X2 complex", "99489", "other_practice", CARE, "BLOCK", Reason.OTHER_PRACTITIONER),
    ("X2 already ours", "99439", "same_practice", CARE, "BLOCK", Reason.OTHER_PRACTITIONER),
    ("X2 unknown", "99437", None, CARE, "HOLD", Reason.OTHER_PRACTITIONER),
    ("X3", "G0181", "other_practice", CARE, "BLOCK", Reason.CPO_G0181),
    ("X3 hospice", "g0182", "same_practice", CARE, "BLOCK", Reason.CPO_G0181),
    ("X3 unknown", "G0181", "somebody", CARE, "HOLD", Reason.CPO_G0181),
    ("X4 first", "90951", "other_practice", CARE, "BLOCK", Reason.ESRD_MONTH),
    ("X4 last", "90970", "other_practice", CARE, "BLOCK", Reason.ESRD_MONTH),
    ("X4 below", "90950", "other_practice", CARE, "MET", None),
    ("X4 above", "90971", "other_practice", CARE, "MET", None),
    ("X5", "99424", "same_practice", CARE, "BLOCK", Reason.PCM_MONTH),
    ("X5 another", "99427", "other_practice", CARE, "MET", Reason.PCM_MONTH),
    ("X6", "G0556", "same_practice", CARE, "BLOCK", Reason.APCM_MONTH),
    ("X6 last", "G0558", "same_practice", CARE, "BLOCK", Reason.APCM_MONTH),
    ("X6 another", "G0557", "other_practice", CARE, "MET", Reason.APCM_MONTH),
    ("X6 unknown", "G0557", None, CARE, "HOLD", Reason.APCM_MONTH),
    ("X7", "99496", "same_practice", CARE, "MET", None),
    ("X8", "99492", "same_practice", CARE, "MET", None),
    ("X9", "99374", "other_practice", CARE, "HOLD", Reason.OTHER_SERVICE),
    ("X9 unknown", "99374", None, CARE, "HOLD", Reason.OTHER_SERVICE),
    ("X7 unknown", "99495", None, CARE, "MET", None),
    ("X9 telephone", "98968", "same_practice", CARE, "HOLD", Reason.OTHER_SERVICE),
    ("6.4 review", "99091", "other_practice", CARE, "BLOCK", Reason.OTHER_SERVICE),
    ("6.4 self-measured", "99474", "same_practice", CARE, "BLOCK", Reason.OTHER_SERVICE),
    ("5.5", "G0511", "same_practice", CARE, "HOLD", Reason.OTHER_SERVICE),
    ("RPM beside CCM", "99457", "same_practice", CARE, "MET", None),
    ("a visit", "99213", "same_practice", CARE, "MET", None),
    ("with a modifier", "99490-25", "other_practice", CARE, "BLOCK", Reason.OTHER_PRACTITIONER),
    ("6.5", "G0557", "same_practice", MONITORING, "HOLD", Reason.APCM_MONTH),
    ("6.5 another", "G0557", "other_practice", MONITORING, "MET", None),
    ("X10 first", "98975", "other_practice", MONITORING, "BLOCK", Reason.RTM_CONFLICT),
    ("X10 last", "98986", "same_practice", MONITORING, "BLOCK", Reason.RTM_CONFLICT),
    ("X12", "99457", "other_practice", MONITORING, "BLOCK", Reason.OTHER_PRACTITIONER),
    ("X12 already ours", "99470", "same_practice", MONITORING, "BLOCK", Reason.OTHER_PRACTITIONER),
    ("X12 their device", "99454", "other_practice", MONITORING, "HOLD", Reason.OTHER_PRACTITIONER),
    ("X12 our device", "99454", "same_practice", MONITORING, "MET", None),
    ("R10", "95250", "other_practice", MONITORING, "HOLD", Reason.OTHER_SERVICE),
    ("6.4 review beside monitoring", "99091", "same_practice", MONITORING, "BLOCK", Reason.OTHER_SERVICE),
    ("CCM beside RPM", "99490", "same_practice", MONITORING, "MET", None),
]


@pytest.mark.parametrize("code", [None, "", "home health", "G018", "994900"])
def test_a_service_without_a_code_that_anybody_can_read_may_be_any_and_holds(code):
    decision = decided(work(25), other_services=[service(code, "other_practice")])
    assert (dict(decision.codes), decision.hold) == ({}, True)
    assert Reason.UNKNOWN_FACT in decision.reasons
    assert decided(work(25), other_services=[service(code, month="2026-10")]).codes == {"99490": 1}


@pytest.mark.parametrize(
    ("code", "by", "entries", "standing", "reason"),
    [row[1:] for row in CONFLICTS],
    ids=[row[0] for row in CONFLICTS],
)
def test_services_of_the_month_block_hold_or_stand_beside(code, by, entries, standing, reason):
    decision = decided(*entries, other_services=[service(code, by)], rpm=MONITORED)
    assert list(decision.standing.values()) == [standing]
    assert bool(decision.codes) == (standing == "MET")
    assert decision.hold == (standing == "HOLD")
    assert reason is None or reason in decision.reasons
    assert (Reason.UNKNOWN_FACT in decision.reasons) == (
        standing == "HOLD" and by not in {"same_practice", "other_practice"}
    )


DEVICE = [
    ("our set-up of the month", "99453", "same_practice", {"99454": 1}, False),
    ("their set-up", "99453", "other_practice", {}, False),
    ("their supply", "99445", "other_practice", {}, False),
    ("already billed", "99454", "same_practice", {}, False),
    ("their management", "99457", "other_practice", {}, True),
    ("our management", "99457", "same_practice", {"99454": 1}, False),
    ("self-measured", "99473", "same_practice", {}, False),
    ("data review", "99091", "same_practice", {"99454": 1}, False),
]


@pytest.mark.parametrize(
    ("code", "by", "codes", "hold"), [row[1:] for row in DEVICE], ids=[row[0] for row in DEVICE]
)
def test_one_practice_is_paid_for_the_device_of_a_period(code, by, codes, hold):
    decision = decided(other_services=[service(code, by)], rpm=MONITORED, device_windows=[window(20)])
    assert dict(decision.codes) == codes
    assert decision.hold == hold


@pytest.mark.parametrize(
    ("month", "by", "code", "hold"),
    [
        ("2026-10", "other_practice", "99454", True),
        ("2026-10", None, "99445", True),
        ("2026-10", "same_practice", "99454", False),
        ("2026-09", "other_practice", "99454", False),
        ("2026-10", "other_practice", "99457", False),
        ("2026-12", "other_practice", "99454", False),
    ],
    ids=["another's October", "nobody's October", "our October", "September", "management", "December"],
)
def test_a_window_that_reaches_into_another_practices_month_waits(month, by, code, hold):
    """The window runs from 25 October to 23 November."""
    decision = decided(other_services=[service(code, by, month)], rpm=MONITORED, device_windows=[window(20)])
    assert decision.hold == hold
    assert bool(decision.codes) != hold
    assert (Reason.OTHER_PRACTITIONER in decision.reasons) == hold


def test_only_a_window_of_this_month_reaches_back():
    listed = {
        "device_windows": [
            window(20, "2026-09-25"),
            window(20, "2026-11-01"),
            {"start": "2026-10-25"},
            {"end": "2026-11-23"},
        ]
    }
    decision = decided(
        other_services=[service("99454", "other_practice", "2026-10")], rpm=MONITORED, **listed
    )
    assert dict(decision.codes) == {"99454": 1}
    assert Reason.OTHER_PRACTITIONER not in decision.reasons
    unlisted = decided(other_services=[service("99454", "other_practice", "2026-10")], device_windows=None)
    assert not unlisted.hold


def test_services_of_another_month_do_not_matter_and_of_an_unknown_month_hold():
    assert billed(work(25), other_services=[service("G0181", month="2026-10")]) == {"99490": 1}
    decision = decided(work(25), other_services=[service("G0181", month=None)])
    assert decision.hold
    assert Reason.UNKNOWN_FACT in decision.reasons


def test_the_trace_says_that_the_services_are_clear_only_where_they_are():
    def clear(*services):
        return any(
            step.rule == "C9" and step.outcome == "MET"
            for step in decided(work(25), other_services=services).trace
        )

    assert clear()
    assert clear(service("99495"))
    assert clear(service("G0557", "other_practice"))
    assert not clear(service("G0181"))
    assert not clear(service("99495"), service("G0181"), service("99484"))
