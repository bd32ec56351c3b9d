"""What time counts: each rule alone, what it takes away and to whom it is attributed."""

import pytest

from ccm_bridge.billing import Reason
from tests.unit.ccm_bridge.billing_month import MONITORED, billed, consent, decided, monitoring, service, work

TAKEN = [
    ("front desk", work(25, credential="FRONT_DESK"), {}, Reason.NON_CLINICAL, 1500),
    ("lower-case front desk", work(25, credential=" front_desk "), {}, Reason.NON_CLINICAL, 1500),
    ("abroad", work(25, country="PH"), {}, Reason.NON_US_STAFF, 1500),
    (
        "before consent",
        work(25, day=3),
        {"consent": consent(at="2026-11-03T10:10:00-05:00")},
        Reason.BEFORE_CONSENT,
        600,
    ),
    (
        "consent known by its day only",
        work(25),
        {"consent": consent(at="2026-11-03")},
        Reason.BEFORE_CONSENT,
        1500,
    ),
    (
        "a second too early",
        work(20),
        {"consent": consent(at="2026-11-03T10:00:00.5-05:00")},
        Reason.BEFORE_CONSENT,
        1,
    ),
    ("after death", work(25), {"died_at": "2026-11-03T10:10:00-05:00"}, Reason.AFTER_DEATH, 900),
    ("death known by its day only", work(25), {"died_at": "2026-11-03"}, Reason.AFTER_DEATH, 1500),
    (
        "inpatient",
        work(25),
        {
            "stays": [
                {
                    "kind": "inpatient",
                    "admitted_at": "2026-11-03T10:10:00-05:00",
                    "discharged_at": "2026-11-03T10:12:00-05:00",
                }
            ]
        },
        Reason.INPATIENT_TIME,
        120,
    ),
    (
        "not yet discharged",
        work(25),
        {"stays": [{"kind": "snf", "admitted_at": "2026-10-30"}]},
        Reason.INPATIENT_TIME,
        1500,
    ),
    (
        "discharge day",
        work(25),
        {"stays": [{"from": "2026-11-01", "to": "2026-11-03"}]},
        Reason.INPATIENT_TIME,
        1500,
    ),
    (
        "patient abroad",
        work(25),
        {"stays": [{"kind": "abroad", "start": "2026-11-01", "end": "2026-11-05"}]},
        Reason.PATIENT_ABROAD,
        1500,
    ),
    ("after the hospice election", work(25), {"hospice_elected_on": "2026-11-03"}, Reason.HOSPICE, 1500),
    ("shared among four", work(40, patients=4), {}, Reason.MULTI_PATIENT_SPLIT, 1800),
    ("prior authorization", work(25, activity="prior_authorization"), {}, Reason.NOT_CARE_MANAGEMENT, 1500),
    ("obtaining consent", work(25, activity="Obtaining_Consent"), {}, Reason.NOT_CARE_MANAGEMENT, 1500),
    ("part of a visit", work(25, activity="visit"), {}, Reason.VISIT_TIME, 1500),
    (
        "face to face with the practitioner",
        work(35, credential="NP", contact="in_person"),
        {},
        Reason.VISIT_TIME,
        2100,
    ),
    ("staff in person", work(25, contact="in_person"), {}, Reason.VISIT_TIME, 1500),
    ("a bot", work(25, source="bot"), {}, Reason.AUTOMATED, 1500),
    ("idle", work(25, activity="idle"), {}, Reason.AUTOMATED, 1500),
    ("voided", work(25, voided=True), {}, Reason.VOIDED, 1500),
    ("later than the question", work(25), {"as_of": "2026-11-03T10:05:00-05:00"}, Reason.AFTER_AS_OF, 1200),
    ("the month before", work(25, start="2026-10-31T23:50:00-04:00"), {}, Reason.OTHER_MONTH, 600),
    ("the month after", work(25, start="2026-11-30T23:50:00-05:00"), {}, Reason.OTHER_MONTH, 900),
]


@pytest.mark.parametrize(
    ("entry", "facts", "reason", "seconds"), [row[1:] for row in TAKEN], ids=[row[0] for row in TAKEN]
)
def test_a_rule_takes_its_seconds_and_says_so(entry, facts, reason, seconds):
    decision = decided(entry, **facts)
    taken = [each for each in decision.excluded if reason in each.reasons]
    assert [(each.entry, each.seconds, each.outcome) for each in taken] == [(0, seconds, "EXCLUDE")]
    assert sum(decision.counted_seconds.values()) == entry["seconds"] - seconds
    assert {each for one in decision.excluded for each in one.reasons} == {reason}
    assert reason in decision.reasons
    assert any(step.outcome == "EXCLUDE" and " does not count: " in step.says for step in decision.trace)


DOUBTED = [
    ("country unknown", work(25, country=None), {}, Reason.UNKNOWN_FACT),
    ("credential unknown", work(25) | {"credential": None}, {}, Reason.UNKNOWN_FACT),
    ("credential of no list", work(25, credential="WIZARD"), {}, Reason.UNKNOWN_FACT),
    ("program unknown", work(25, program=None), {}, Reason.UNKNOWN_FACT),
    ("length unknown", work(25) | {"seconds": None}, {}, Reason.INCOMPLETE_ENTRY),
    ("no start, no day", work(25) | {"start": None}, {}, Reason.INCOMPLETE_ENTRY),
    (
        "a stay without a beginning",
        work(25),
        {"stays": [{"kind": "inpatient", "discharged_at": "2026-11-05"}]},
        Reason.UNKNOWN_FACT,
    ),
    (
        "two stays without a beginning",
        work(25),
        {
            "stays": [
                {"kind": "snf", "discharged_at": "2026-11-02"},
                {"kind": "snf", "discharged_at": "2026-11-05"},
            ]
        },
        Reason.INPATIENT_TIME,
    ),
    ("the day of a visit", work(25), {"other_services": [service("99214", on="2026-11-03")]}, Reason.E_M_DAY),
    (
        "recorded after the claim",
        work(25, recorded_at="2026-12-04T00:00:00Z"),
        {"claimed_at": "2026-12-03T00:00:00Z"},
        Reason.LATE_ENTRY,
    ),
    (
        "shared time without a start",
        work(60, patients=2, on="2026-11-03") | {"start": None},
        {},
        Reason.MULTI_PATIENT_SPLIT,
    ),
    (
        "another month for the patient",
        work(25, start="2026-10-31T23:00:00-05:00"),
        {"patient_zone": "America/Los_Angeles"},
        Reason.TZ_AMBIGUOUS,
    ),
    (
        "another month for us",
        work(25, start="2026-11-30T23:00:00-06:00"),
        {"patient_zone": "America/Denver"},
        Reason.TZ_AMBIGUOUS,
    ),
    (
        "no zone for the patient",
        work(25, start="2026-11-30T20:00:00-05:00"),
        {"patient_zone": None},
        Reason.TZ_AMBIGUOUS,
    ),
]


@pytest.mark.parametrize(
    ("entry", "facts", "reason"), [row[1:] for row in DOUBTED], ids=[row[0] for row in DOUBTED]
)
def test_doubtful_seconds_hold_where_they_decide(entry, facts, reason):
    decision = decided(entry, **facts)
    assert dict(decision.codes) == {}
    assert decision.held["99490"] == 1
    assert decision.hold
    assert reason in decision.reasons
    assert sum(decision.counted_seconds.values()) == 0
    assert {each.outcome for each in decision.excluded if reason in each.reasons} == {"HOLD"}
    assert any(step.outcome == "HOLD" and " is in doubt: " in step.says for step in decision.trace)


@pytest.mark.parametrize(
    ("entry", "facts", "reason"), [row[1:] for row in DOUBTED], ids=[row[0] for row in DOUBTED]
)
def test_doubtful_seconds_hold_nothing_where_the_cap_is_reached_anyway(entry, facts, reason):
    decision = decided(work(80, day=20), entry, complex={"mdm_documented": False, "elected": False}, **facts)
    assert dict(decision.codes) == {"99490": 1, "99439": 2}
    assert not decision.hold
    assert reason in decision.reasons


def test_doubt_above_a_sure_code_holds_only_what_it_would_add():
    decision = decided(work(20), work(25, day=4, country=None))
    assert dict(decision.codes) == {"99490": 1}
    assert dict(decision.held) == {"99439": 1}
    assert decision.hold


def test_doubt_that_would_swap_a_code_leaves_neither():
    decision = decided(monitoring(15), monitoring(10, day=4, country=None), rpm=MONITORED)
    assert dict(decision.codes) == {}
    assert dict(decision.held) == {"99457": 1}
    assert decision.hold


FINE = [
    ("a stay in observation", work(20), {"stays": [{"kind": "observation", "admitted_at": "2026-11-01"}]}),
    ("observation of unknown days", work(20), {"stays": [{"kind": "observation"}]}),
    (
        "a stay before",
        work(20),
        {"stays": [{"kind": "inpatient", "admitted_at": "2026-10-01", "discharged_at": "2026-11-02"}]},
    ),
    (
        "discharged that very second",
        work(20),
        {
            "stays": [
                {
                    "kind": "inpatient",
                    "admitted_at": "2026-11-01",
                    "discharged_at": "2026-11-03T10:00:00-05:00",
                }
            ]
        },
    ),
    ("consent that very second", work(20), {"consent": consent(at="2026-11-03T10:00:00-05:00")}),
    ("death the second after", work(20), {"died_at": "2026-11-03T10:20:00-05:00"}),
    ("the same program twice", work(20, also_program="ccm"), {}),
    ("no second program", work(20, also_program=None), {}),
    ("a territory", work(20, country="gu"), {}),
    ("licensed practical nurse", work(20, credential="LPN"), {}),
    ("medical assistant", work(20, credential="MA"), {}),
    ("staff in person, attested", work(20, contact="in_person", separate_from_visit=True), {}),
    (
        "a visit elsewhere",
        work(20),
        {"other_services": [service("99214", by="other_practice", on="2026-11-03")]},
    ),
    ("a visit on another day", work(20), {"other_services": [service("99214", on="2026-11-04")]}),
    ("a visit of the month without its day", work(20), {"other_services": [service("99214")]}),
    (
        "attested as apart from the visit",
        work(20, separate_from_visit=True),
        {"other_services": [service("99214", on="2026-11-03")]},
    ),
    (
        "recorded before the claim",
        work(20, recorded_at="2026-11-04T00:00:00Z"),
        {"claimed_at": "2026-12-03T00:00:00Z"},
    ),
    (
        "recorded with the claim",
        work(20, recorded_at="2026-11-04T00:00:00Z"),
        {"claimed_at": "2026-11-04T00:00:00Z"},
    ),
    ("no visit on that day", work(20), {"other_services": [service("99495", on="2026-11-03")]}),
    ("corrects an entry of another list", work(20, id="b", corrects="gone"), {}),
    ("minutes without a start", work(20, on="2026-11-03") | {"start": None}, {}),
    (
        "minutes without a start beside another day",
        [work(10, on="2026-11-03") | {"start": None}, work(10, day=4)],
        {},
    ),
    ("unknown zone of the patient in mid-month", work(20), {"patient_zone": None}),
    ("revoked later in the month", work(20), {"consent": consent(revoked_at="2026-11-29T10:00:00-05:00")}),
    ("revoked earlier in the month", work(20), {"consent": consent(revoked_at="2026-11-02T10:00:00-05:00")}),
    ("asked the second it ended", work(20), {"as_of": "2026-11-03T10:20:00-05:00"}),
]


@pytest.mark.parametrize(("entry", "facts"), [row[1:] for row in FINE], ids=[row[0] for row in FINE])
def test_what_no_rule_forbids_counts(entry, facts):
    entries = entry if isinstance(entry, list) else [entry]
    assert billed(*entries, **facts) == {"99490": 1}


def test_work_between_a_revocation_and_the_end_of_its_month_counts_with_a_warning():
    facts = {"consent": consent(revoked_at="2026-11-10T10:00:00-05:00")}
    decision = decided(work(12, day=9), work(10, day=20), **facts)
    assert dict(decision.codes) == {"99490": 1}
    warned = [each for each in decision.remarked if Reason.AFTER_REVOCATION in each.reasons]
    assert [(each.entry, each.seconds, each.outcome) for each in warned] == [(1, 600, "WARN")]


def test_a_revocation_takes_effect_at_local_midnight_after_its_month():
    facts = {"consent": consent(revoked_at="2026-10-31T23:59:00-04:00")}
    decision = decided(work(25, start="2026-10-31T23:50:00-04:00"), **facts)
    assert decision.counted_seconds["CCM_STAFF"] == 0
    assert Reason.AFTER_REVOCATION in decision.reasons


def test_monitoring_asks_for_its_own_consent_and_its_own_revocation():
    early = monitoring(25, day=3)
    late = MONITORED | {"consent_at": "2026-11-03T10:10:00-05:00"}
    assert decided(early, rpm=late).counted_minutes["RPM"] == 15
    assert decided(early, rpm=late).excluded[0].rule == "R5"
    ended = MONITORED | {"revoked_at": "2026-10-15T10:00:00-04:00"}
    assert decided(early, rpm=ended).counted_minutes["RPM"] == 0
    assert decided(early, rpm=MONITORED, consent=None).counted_minutes["RPM"] == 25


def test_the_day_of_a_visit_is_out_for_monitoring_even_when_attested():
    visit = {"other_services": [service("99213", on="2026-11-03")], "rpm": MONITORED}
    decision = decided(monitoring(25, separate_from_visit=True), **visit)
    assert decision.counted_minutes["RPM"] == 0
    assert Reason.E_M_DAY in decision.reasons
    assert [each.outcome for each in decision.excluded] == ["EXCLUDE"]


def test_staff_may_monitor_in_person_and_a_practitioner_may_not():
    assert billed(monitoring(20, contact="in_person"), rpm=MONITORED) == {"99457": 1}
    assert billed(monitoring(20, contact="in_person", credential="MD"), rpm=MONITORED) == {}


# Two people, two programs ------------------------------------------------------------------------------------


def test_the_later_of_two_overlapping_entries_gives_up_the_shared_seconds():
    first, second = work(15), work(15, start="2026-11-03T10:05:00-05:00", credential="MA")
    for entries, loser in (((first, second), 1), ((second, first), 0)):
        decision = decided(*entries)
        assert decision.counted_seconds["CCM_STAFF"] == 1200
        assert [(e.entry, e.seconds, e.reasons) for e in decision.excluded] == [
            (loser, 600, (Reason.OVERLAP,))
        ]


def test_three_people_at_once_count_once():
    entries = [work(20, credential=who) for who in ("RN", "LPN", "MA")]
    decision = decided(*entries)
    assert decision.counted_seconds["CCM_STAFF"] == 1200
    assert [each.seconds for each in decision.excluded] == [1200, 1200]


def test_adjoining_entries_do_not_overlap():
    decision = decided(work(10), work(10, start="2026-11-03T10:10:00-05:00", credential="MA"))
    assert dict(decision.codes) == {"99490": 1}
    assert not decision.excluded


def test_a_flagged_practitioner_beside_staff_counts_once():
    decision = decided(work(15), work(15, credential="MD", as_clinical_staff=True))
    assert decision.counted_minutes == {"CCM_STAFF": 15, "CCM_PERSONAL": 0, "RPM": 0}
    assert Reason.OVERLAP in decision.reasons


def test_a_practitioners_own_minutes_stay_apart_from_staff_minutes():
    decision = decided(work(15), work(15, credential="MD"))
    assert decision.counted_minutes == {"CCM_STAFF": 15, "CCM_PERSONAL": 15, "RPM": 0}
    assert Reason.OVERLAP not in decision.reasons


def test_the_flag_means_nothing_on_a_nurse():
    assert billed(work(20, as_clinical_staff=True)) == {"99490": 1}


@pytest.mark.parametrize(
    ("who", "reasons"),
    [("rn-1", (Reason.DUAL_PROGRAM,)), ("rn-2", (Reason.DUAL_PROGRAM, Reason.OVERLAP))],
    ids=["one person", "two people"],
)
def test_seconds_that_two_programs_claim_count_in_neither(who, reasons):
    decision = decided(work(30), monitoring(30, start="2026-11-03T10:20:00-05:00", staff=who), rpm=MONITORED)
    assert decision.counted_minutes["CCM_STAFF"] == 20
    assert decision.counted_minutes["RPM"] == 20
    assert [(e.entry, e.seconds, e.reasons) for e in decision.excluded] == [
        (0, 600, reasons),
        (1, 600, reasons),
    ]


def test_other_programs_claim_seconds_too():
    decision = decided(work(20), work(10, program="TCM"))
    assert decision.counted_minutes["CCM_STAFF"] == 10
    assert decision.hold


def test_seconds_that_are_out_claim_nothing():
    assert billed(work(20), monitoring(20, country="PH", staff="rn-2"), rpm=MONITORED) == {"99490": 1}


def test_two_entries_without_a_start_on_one_day_cannot_be_told_apart():
    twice = [work(10, on="2026-11-03") | {"start": None} for _ in range(2)]
    decision = decided(*twice)
    assert dict(decision.codes) == {}
    assert decision.hold


def test_an_entry_without_a_start_on_a_day_that_a_rule_touches_is_in_doubt():
    loose = work(20, on="2026-11-03") | {"start": None}
    decision = decided(loose, consent=consent(at="2026-11-03T09:00:00-05:00"))
    assert dict(decision.held) == {"99490": 1}


def test_an_entry_without_a_start_on_a_day_that_is_out_is_out():
    loose = work(20, on="2026-11-03") | {"start": None}
    decision = decided(loose, consent=consent(at="2026-11-05T09:00:00-05:00"))
    assert dict(decision.held) == {}
    assert not decision.hold
    assert [(each.seconds, each.reasons) for each in decision.excluded] == [(1200, (Reason.BEFORE_CONSENT,))]


def test_an_entry_without_a_program_may_belong_to_every_program_of_the_patient():
    untagged = work(25, program=None, interactive=True)
    documented = {"gate_documented": True}
    assert decided(untagged).standing == {"CCM": "MET"}
    assert decided(untagged, rpm=MONITORED).standing == {"CCM": "MET", "RPM_MANAGEMENT": "HOLD"}
    assert decided(untagged, rpm=None).standing == {"CCM": "MET", "RPM_MANAGEMENT": "HOLD"}
    assert decided(untagged, rpm=MONITORED | {"enrolled": None}).standing.keys() == {"CCM", "RPM_MANAGEMENT"}
    assert decided(untagged, pcm=documented).standing == {"CCM": "MET", "PCM": "MET"}
    assert dict(decided(untagged, rpm=MONITORED).held) == {"99490": 1, "99457": 1}


def test_a_second_tag_takes_the_minutes_out_of_both_programs_until_they_are_assigned():
    twice = work(25, also_program="RPM", interactive=True, id="a")
    decision = decided(twice, monitoring(1, day=9), rpm=MONITORED)
    assert dict(decision.codes) == dict(decision.held) == {}
    assert Reason.DUAL_PROGRAM in decision.reasons
    assigned = work(25, interactive=True, id="b", corrects="a")
    assert billed(twice, assigned, rpm=MONITORED) == {"99490": 1}


OVERLAPS = [
    (
        "two practitioners personally",
        [work(30, credential="MD"), work(30, credential="NP")],
        {},
        {"99491": 1},
    ),
    ("staff and flagged", [work(20), work(20, credential="MD", as_clinical_staff=True)], {}, {"99490": 1}),
    (
        "nurse and physician monitoring",
        [monitoring(20), monitoring(20, credential="MD")],
        {"rpm": MONITORED},
        {"99457": 1},
    ),
    (
        "two in principal care",
        [work(30, program="PCM"), work(30, program="PCM", credential="LPN")],
        {"pcm": {"gate_documented": True}},
        {"99426": 1},
    ),
    ("nobody's name on one of them", [work(20), work(20, staff=None)], {}, {"99490": 1}),
]


@pytest.mark.parametrize(
    ("entries", "facts", "codes"), [row[1:] for row in OVERLAPS], ids=[row[0] for row in OVERLAPS]
)
def test_an_overlap_is_named_in_every_family(entries, facts, codes):
    decision = decided(*entries, **facts)
    assert dict(decision.codes) == codes
    assert [(each.outcome, each.reasons) for each in decision.excluded] == [("EXCLUDE", (Reason.OVERLAP,))]


def test_of_two_equal_entries_the_same_one_gives_way_in_either_order():
    one, other = work(20, staff="a"), work(20, staff="b")
    assert [each.entry for each in decided(one, other).excluded] == [1]
    assert [each.entry for each in decided(other, one).excluded] == [0]


def test_a_colleague_at_another_time_makes_no_overlap_of_a_double_claim():
    double = [work(20, staff="a"), monitoring(20, staff="a"), monitoring(20, day=9, staff="b")]
    assert Reason.OVERLAP not in decided(*double, rpm=MONITORED).reasons
    shared = [work(20, staff="a"), monitoring(20, staff="a"), monitoring(20, staff="b")]
    assert Reason.OVERLAP in decided(*shared, rpm=MONITORED).excluded[0].reasons


# Late, corrected ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded", "late"),
    [
        ("2026-11-03T11:00:00-05:00", False),
        ("2026-11-10T10:20:00-05:00", False),
        ("2026-11-10T10:20:01-05:00", True),
        ("2026-12-01T00:00:00-05:00", True),
    ],
    ids=["at once", "seven days", "seven days and a second", "after the month"],
)
def test_a_late_entry_counts_with_a_warning(recorded, late):
    decision = decided(work(20, recorded_at=recorded))
    assert dict(decision.codes) == {"99490": 1}
    assert (Reason.LATE_ENTRY in decision.reasons) == late


def test_an_entry_of_the_last_day_is_late_once_the_month_is_over():
    entry = work(20, day=30, recorded_at="2026-12-01T00:00:01-05:00")
    assert Reason.LATE_ENTRY in decided(entry).reasons
    assert Reason.LATE_ENTRY not in decided(entry | {"recorded_at": "2026-12-01T00:00:00-05:00"}).reasons


def test_an_entry_of_unknown_length_is_late_by_its_start():
    entry = work() | {"seconds": None, "recorded_at": "2026-11-10T10:00:00-05:00"}
    assert Reason.LATE_ENTRY not in decided(entry).reasons
    assert Reason.LATE_ENTRY in decided(entry | {"recorded_at": "2026-11-10T10:00:01-05:00"}).reasons


def test_an_entry_of_which_little_is_known_is_in_doubt_and_nothing_breaks():
    for blank in (
        work(25, contact="in_person") | {"credential": None},
        work(patients=3) | {"seconds": None},
        work(25, contact=None, source=None, staff=None),
    ):
        assert decided(blank).counted_minutes["CCM_STAFF"] in {0, 25}


def test_a_correction_takes_the_place_of_what_it_corrects():
    decision = decided(work(45, id="a"), work(25, id="b", corrects="a"), work(5, id=None, day=5))
    assert decision.counted_minutes["CCM_STAFF"] == 30
    assert Reason.VOIDED in decision.reasons


# Dates of service --------------------------------------------------------------------------------------------


def test_lines_are_dated_on_the_last_counted_day():
    decision = decided(work(10), work(10, day=14), work(10, day=18, credential="FRONT_DESK"))
    assert [str(line.date_of_service) for line in decision.lines] == ["2026-11-14"]


def test_an_entry_that_ends_at_midnight_belongs_to_the_day_before():
    decision = decided(work(20, start="2026-11-14T23:40:00-05:00"))
    assert str(decision.lines[0].date_of_service) == "2026-11-14"


def test_an_entry_without_a_start_dates_a_line_by_its_day():
    decision = decided(work(20, on="2026-11-14") | {"start": None})
    assert str(decision.lines[0].date_of_service) == "2026-11-14"


def test_each_program_is_dated_by_its_own_work():
    decision = decided(work(20), monitoring(20, day=9), rpm=MONITORED)
    assert [str(line.date_of_service) for line in decision.lines] == ["2026-11-03", "2026-11-09"]


def test_doubtful_work_dates_nothing():
    loose = [work(1, on="2026-11-20") | {"start": None} for _ in range(2)]
    decision = decided(work(20), *loose, work(1, day=25, country=None))
    assert [str(line.date_of_service) for line in decision.lines] == ["2026-11-03"]


def test_one_second_past_midnight_is_the_next_day():
    decision = decided(work(20, start="2026-11-14T23:40:01-05:00"))
    assert str(decision.lines[0].date_of_service) == "2026-11-15"


SILENT = [
    ("a voicemail", [work(20, contact="voicemail")], True),
    ("no contact", [work(20, contact="none")], True),
    ("a voicemail and a call", [work(20, contact="voicemail"), work(1, day=4)], False),
    (
        "a voicemail and a call that is out",
        [work(20, contact="voicemail"), work(1, day=4, country="PH")],
        True,
    ),
    ("a voicemail and a monitoring call", [work(20, contact="voicemail"), monitoring(1, day=4)], True),
    (
        "a voicemail, and a call without a start",
        [work(20, contact="none"), work(1, on="2026-11-04") | {"start": None}],
        False,
    ),
    ("a message", [work(20, contact="message")], False),
    ("a voicemail in capitals", [work(20, contact="Voicemail")], True),
    ("a call", [work(20)], False),
]


@pytest.mark.parametrize(("entries", "silent"), [row[1:] for row in SILENT], ids=[row[0] for row in SILENT])
def test_a_month_in_which_nobody_was_reached_is_a_warning(entries, silent):
    decision = decided(*entries)
    assert decision.codes["99490"] == 1
    assert (Reason.NO_CONTACT in decision.reasons) == silent
    (step,) = (step for step in decision.trace if step.rule == "T15")
    assert step.outcome == ("WARN" if silent else "MET")


def test_a_month_in_which_nothing_counts_is_not_called_silent():
    decision = decided(work(20, contact="none", country="PH"))
    assert "T15" not in {step.rule for step in decision.trace}


def test_consent_to_care_management_says_nothing_of_other_programs():
    early = consent(at="2026-11-10T09:00:00-05:00")
    assert Reason.BEFORE_CONSENT not in decided(work(20, program="TCM"), consent=early).reasons
    assert Reason.BEFORE_CONSENT not in decided(monitoring(20), consent=early, rpm=None).reasons


def test_a_revocation_at_the_moment_of_consent_ends_it_with_its_month():
    at_once = consent(revoked_at="2026-10-01T09:00:00-04:00")
    decision = decided(work(25), consent=at_once)
    assert Reason.AFTER_REVOCATION in decision.reasons
    assert not decision.hold


def test_a_revocation_without_a_consent_waits():
    decision = decided(work(25), consent=consent(at=None, revoked_at="2026-11-29T09:00:00-05:00"))
    assert dict(decision.held) == {"99490": 1}


NAMED = [
    ("by when it began, on the practice's clock", {"start": "2026-11-03T16:00:00+00:00"}, "The entry of 03 Nov 11:00 "),
    ("by its day, where nobody knows the hour", {"start": None, "on": "2026-11-03"}, "The entry of 03 Nov "),
    ("as one without a day", {"start": None}, "An entry without a day "),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "name"), [row[1:] for row in NAMED], ids=[row[0] for row in NAMED])
def test_the_trace_names_an_entry_as_its_author_knows_it(changes, name):
    decision = decided(work(25, country="PH") | changes)
    assert any(step.says.startswith(name) for step in decision.trace)
