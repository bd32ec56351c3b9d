"""Facts for the reasoner: what nobody said stays unknown; device windows; what a reviewer reads first."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from ccm_bridge.billing import decide
from ccm_bridge.careplan import Content, Plan, Problem, differences, lacks
from ccm_bridge.enrolment import (
    Condition,
    Consent,
    Enrolment,
    Method,
    Program,
    Told,
    candidate,
    consent_of,
    ends_at,
    missing_words,
)
from ccm_bridge.month import (
    FEW,
    MANY,
    REPORT_WITHIN,
    Circumstance,
    DeviceDay,
    Known,
    Minute,
    Standing,
    Window,
    because,
    dropped,
    facts,
    fingerprint,
    minutes_of,
    short_of,
    standing,
    windows,
    windows_of,
)

from zoneinfo import ZoneInfo  # isort: skip
import itertools

NOVEMBER = date(2026, 11, 1)
ZONE = "America/New_York"
CLOSED = datetime(2026, 12, 5, tzinfo=UTC)
PATIENT = uuid4()


def consent(program=Program.CCM, **changes):
    usual = Consent(
        consent_id=uuid4(),
        program=program,
        accepted=True,
        given_at=datetime(2026, 10, 1, 13, tzinfo=UTC),
        method=Method.VERBAL,
        explained=frozenset(Told),
        language="English",
        given_by="the patient",
        explained_by_name="Ana",
    )
    return replace(usual, **changes)


def minute(minutes, day=3, **changes):
    usual = Minute(
        entry_id=uuid4(),
        staff_id=uuid4(),
        credential="RN",
        country="US",
        program="CCM",
        start=datetime(2026, 11, day, 15, tzinfo=UTC),
        seconds=minutes * 60,
        activity="check_in",
        contact="phone",
        interactive=True,
        as_clinical_staff=False,
        source="timer",
        corrects=None,
        entered_at=datetime(2026, 11, day, 16, tzinfo=UTC),
        voided=False,
        hash=uuid4().bytes,
    )
    return replace(usual, **changes)


def looked_up():
    return Circumstance(
        circumstance_id=uuid4(),
        kind="month_checked",
        month=NOVEMBER,
        from_at=None,
        until_at=None,
        code=None,
        by_whom=None,
        note="looked up",
        recorded_by_name="Cora",
        recorded_at=CLOSED,
    )


def known(*entries, **changes):
    usual = Known(
        patient_id=PATIENT,
        month=NOVEMBER,
        zone=ZONE,
        patient_zone=ZONE,
        enrolment=Enrolment(
            patient_id=PATIENT,
            version=1,
            state="enrolled",
            programs=frozenset({Program.CCM}),
            since=date(2026, 10, 1),
            conditions=(
                Condition(icd10="I10", name="Hypertension", chronic_months=12),
                Condition(icd10="E11.9", name="Diabetes", chronic_months=12),
            ),
            significant_risk_documented=True,
            payer="original_medicare",
            initiating_visit=date(2026, 8, 10),
            practitioner_name="Dora",
        ),
        consents=(consent(),),
        plan=Plan(
            plan_id=uuid4(),
            patient_id=PATIENT,
            version=1,
            content=Content(problems=()),
            review_on=date(2027, 10, 2),
            drafted_by_name="Ana",
            drafted_at=datetime(2026, 10, 2, tzinfo=UTC),
            signed_by_name="Dora",
            signed_at=datetime(2026, 10, 2, 13, tzinfo=UTC),
            copy_given_at=datetime(2026, 10, 2, 14, tzinfo=UTC),
        ),
        attested={"access_24_7": True, "certified_ehr": True},
        circumstances=(looked_up(),),
        entries=entries,
        device_days=(),
    )
    return replace(usual, **changes)


def decided(*entries, **changes):
    whole = known(*entries, **changes)
    return decide(facts(whole, as_of=CLOSED)), whole


def test_everything_known_supports_what_the_minutes_reach():
    decision, whole = decided(minute(22))
    assert dict(decision.codes) == {"99490": 1}
    assert standing(decision, whole.entries) is Standing.READY
    assert because(decision) == ()


UNKNOWN = [
    ("nobody looked the month up", {"circumstances": ()}),
    ("nobody checked the payer", {"payer": None}),
    ("no initiating visit is recorded", {"initiating_visit": None}),
    ("nobody stated the risk", {"significant_risk_documented": None}),
    ("no consent is recorded", {"consents": ()}),
    ("no plan is written", {"plan": None}),
    ("the practice attests nothing", {"attested": {}}),
]


@pytest.mark.parametrize("changes", [u[1] for u in UNKNOWN], ids=[u[0] for u in UNKNOWN])
def test_what_nobody_said_holds_and_bills_nothing(changes):
    whole = known(minute(22))
    inside = {k: v for k, v in changes.items() if k in Enrolment.__slots__}
    outside = {k: v for k, v in changes.items() if k not in inside}
    whole = replace(whole, enrolment=replace(whole.enrolment, **inside), **outside)
    decision = decide(facts(whole, as_of=CLOSED))
    assert dict(decision.codes) == {}
    assert standing(decision, whole.entries) is Standing.NEEDS
    assert because(decision)


def test_an_unlooked_month_is_unknown_and_supposing_a_look_up_decides_it():
    whole = known(minute(22), circumstances=())
    said = facts(whole, as_of=CLOSED)
    assert said.other_services is None
    assert said.stays is None
    assert said.hospice_elected_on is UNSET
    assert said.died_at is UNSET
    assert dict(decide(facts(whole, as_of=CLOSED, supposing_checked=True)).codes) == {"99490": 1}


def test_one_condition_is_not_billable_and_says_so():
    whole = known(minute(22))
    whole = replace(whole, enrolment=replace(whole.enrolment, conditions=whole.enrolment.conditions[:1]))
    decision = decide(facts(whole, as_of=CLOSED))
    assert standing(decision, whole.entries) is Standing.NOT_BILLABLE
    assert any("chronic condition" in step.says for step in because(decision))


def test_minutes_below_the_step_are_no_obstacle_that_asks_for_a_call():
    decision, whole = decided(minute(13))
    assert standing(decision, whole.entries) is Standing.UNDER
    assert because(decision) == ()
    assert short_of(decision)


def test_a_month_without_work_is_quiet():
    decision, whole = decided()
    assert standing(decision, whole.entries) is Standing.QUIET


def test_a_void_entry_counts_nothing_but_stays_in_sight():
    decision, whole = decided(minute(22, voided=True))
    assert dict(decision.codes) == {}
    assert minutes_of(whole.entries) == {}
    assert len(facts(whole, as_of=CLOSED).entries) == 1


@given(
    order=st.permutations([minute(7), minute(8, 4), minute(9, 5, program="RPM"), minute(4, 6, voided=True)])
)
def test_neither_facts_nor_fingerprint_depend_on_the_order_of_entries(order):
    decision, whole = decided(*order)
    first, again = decided(*sorted(order, key=lambda m: m.start))
    assert dict(decision.counted_seconds) == dict(first.counted_seconds)
    assert fingerprint(whole.entries) == fingerprint(again.entries)


def test_a_void_changes_the_fingerprint():
    one = minute(22)
    assert fingerprint([one]) != fingerprint([replace(one, voided=True)])


def around(kind, **changes):
    return replace(looked_up(), kind=kind, **changes)


def said_of(*circumstances, **changes):
    return facts(known(minute(22), circumstances=circumstances, **changes), as_of=CLOSED)


def test_a_look_up_of_another_month_says_nothing_about_this_one():
    assert said_of(replace(looked_up(), month=date(2026, 10, 1))).stays is None
    assert said_of(around("complex_mdm")).stays is None


def test_what_is_recorded_around_the_month_reaches_the_reasoner():
    begins, ends = datetime(2026, 11, 4, 5, tzinfo=UTC), datetime(2026, 11, 7, 5, tzinfo=UTC)
    said = said_of(
        looked_up(),
        around("other_service", code="G0181", by_whom="other_practice", from_at=begins),
        around("stay", code="inpatient", from_at=begins, until_at=ends),
        around("hospice", month=None, from_at=begins),
        around("death", month=None, from_at=ends),
    )
    (service,) = said.other_services
    assert (service.code, service.by, service.month, service.on) == (
        "G0181",
        "other_practice",
        "2026-11",
        date(2026, 11, 4),
    )
    (stay,) = said.stays
    assert (stay.kind, stay.admitted_at, stay.discharged_at) == ("inpatient", begins, ends)
    assert said.hospice_elected_on == date(2026, 11, 4)
    assert said.died_at == ends


def test_a_looked_up_month_without_findings_says_none_and_not_unknown():
    said = said_of(looked_up())
    assert (said.other_services, said.stays, said.hospice_elected_on, said.died_at) == ((), (), None, None)


def test_hospice_and_death_are_known_even_if_nobody_looked():
    at = datetime(2026, 11, 4, 5, tzinfo=UTC)
    said = said_of(around("hospice", from_at=at), around("death", from_at=at))
    assert said.hospice_elected_on == date(2026, 11, 4)
    assert said.died_at == at
    assert said.stays is None


def test_complex_decision_making_is_said_for_a_month():
    here = said_of(around("complex_mdm"), around("complex_elected")).complex
    other = said_of(around("complex_mdm", month=date(2026, 10, 1))).complex
    assert (here.mdm_documented, here.elected) == (True, True)
    assert (other.mdm_documented, other.elected) == (False, False)


def test_monitoring_is_unknown_without_enrolment_and_no_without_the_programme():
    assert facts(known(minute(22), enrolment=None), as_of=CLOSED).rpm.enrolled is None
    assert facts(known(minute(22)), as_of=CLOSED).rpm.enrolled is False


def monitored(*days, **changes):
    whole = known(minute(22), consents=(consent(), consent(Program.RPM, **changes)))
    enrolled = replace(
        whole.enrolment, programs=frozenset({Program.CCM, Program.RPM}), rpm_setup_on=date(2026, 9, 1)
    )
    measured = tuple(DeviceDay(day=day, device_id="c", readings=1, first_reading=uuid4()) for day in days)
    return replace(whole, enrolment=enrolled, device_days=measured)


def test_consent_to_monitoring_and_its_end_are_the_programmes_own():
    ended = datetime(2026, 11, 9, tzinfo=UTC)
    said = facts(monitored(revoked_at=ended), as_of=CLOSED)
    assert said.rpm.revoked_at == ended
    assert said.consent.revoked_at is None


def test_only_windows_that_touch_the_month_are_told():
    # Anchored on 2 October: windows end on 31 October, 30 November, 30 December.
    (window,) = facts(monitored(date(2026, 10, 2), date(2026, 11, 10)), as_of=CLOSED).device_windows
    assert (window.start, window.end, window.days_with_data) == (date(2026, 11, 1), date(2026, 11, 30), 1)
    # Anchored on 3 October the first window still ends in November, on the 1st; one that begins on 1 December is next month's.
    told = facts(monitored(date(2026, 10, 3)), as_of=CLOSED).device_windows
    assert [(w.start, w.end) for w in told] == [
        (date(2026, 10, 3), date(2026, 11, 1)),
        (date(2026, 11, 2), date(2026, 12, 1)),
    ]
    told = facts(monitored(date(2026, 10, 2), date(2026, 12, 1)), as_of=CLOSED).device_windows
    assert [w.start for w in told] == [date(2026, 11, 1)]
    # A day earlier, the second window still holds the month's last day but one, and a third begins on the last.
    told = facts(monitored(date(2026, 10, 1)), as_of=CLOSED).device_windows
    assert [(w.start, w.end) for w in told] == [
        (date(2026, 10, 31), date(2026, 11, 29)),
        (date(2026, 11, 30), date(2026, 12, 29)),
    ]


def test_a_patient_without_readings_or_without_monitoring_has_no_window():
    assert facts(monitored(), as_of=CLOSED).device_windows == ()
    plain = known(minute(22), device_days=monitored(date(2026, 11, 3)).device_days)
    assert facts(plain, as_of=CLOSED).device_windows == ()


def test_a_correction_names_what_it_corrects():
    wrong = uuid4()
    said = facts(known(minute(5, corrects=wrong), minute(6, day=4)), as_of=CLOSED).entries
    assert [entry.corrects for entry in said] == [str(wrong), None]


def test_minutes_add_up_per_programme():
    assert minutes_of([minute(7), minute(8), minute(5, program="RPM"), minute(9, voided=True)]) == {
        "CCM": 900,
        "RPM": 300,
    }


def test_what_an_amendment_takes_away_is_named_and_what_it_adds_is_not():
    assert dropped({"99490": 1, "99439": 2}, {"99490": 1, "99457": 1}) == {"99439": 2}
    assert dropped({"99490": 1}, {"99490": 2}) == {}


def test_an_overpayment_is_reported_within_sixty_days():
    assert timedelta(days=60) == REPORT_WITHIN


# Device windows


def test_the_day_of_setup_counts_and_the_day_before_does_not():
    days = [date(2026, 11, 4), date(2026, 11, 5)]
    (window,) = windows(days, setup_on=date(2026, 11, 5), until=date(2026, 11, 5))
    assert (window.start, window.days) == (date(2026, 11, 5), 1)
    assert windows(days, setup_on=date(2026, 11, 6), until=date(2026, 12, 1)) == ()


REACH = [
    ("on the last day, one more is possible", 15, date(2026, 12, 4), False, True),
    ("on the last day, measured already", 15, date(2026, 12, 4), True, False),
    ("the day after, nothing is", 15, date(2026, 12, 5), False, False),
    ("before it begins, all thirty are", 0, date(2026, 11, 1), False, True),
    ("with as many days left as are missing", 9, date(2026, 11, 28), False, True),
    ("with one day too few", 9, date(2026, 11, 29), False, False),
]


@pytest.mark.parametrize(
    ("days", "on", "measured", "possible"), [r[1:] for r in REACH], ids=[r[0] for r in REACH]
)
def test_what_can_still_be_reached(days, on, measured, possible):
    window = Window(start=date(2026, 11, 5), end=date(2026, 12, 4), days=days)
    assert window.reachable(16, on, measured_today=measured) is possible


@given(
    offsets=st.sets(st.integers(0, 200)),
    setup=st.one_of(st.none(), st.integers(0, 100)),
)
def test_windows_are_thirty_days_each_and_hold_every_day_once(offsets, setup):
    first = date(2026, 6, 1)
    days = [first + timedelta(days=n) for n in offsets]
    setup_on = first + timedelta(days=setup) if setup is not None else None
    found = windows(days, setup_on=setup_on, until=first + timedelta(days=220))
    counted = [day for day in days if setup_on is None or day >= setup_on]
    assert sum(window.days for window in found) == len(counted)
    for window in found:
        assert (window.end - window.start).days == 29
    for one, after in itertools.pairwise(found):
        assert after.start == one.end + timedelta(days=1)
    if counted:
        assert found[0].start == min(counted)
    else:
        assert found == ()


def test_sixteen_days_in_the_window_are_the_sixteen_day_code():
    days = tuple(
        DeviceDay(
            day=date(2026, 10, 25) + timedelta(days=n), device_id="c", readings=1, first_reading=uuid4()
        )
        for n in range(16)
    )
    whole = known(minute(22), consents=(consent(), consent(Program.RPM)), device_days=days)
    whole = replace(
        whole,
        enrolment=replace(
            whole.enrolment,
            programs=frozenset({Program.CCM, Program.RPM}),
            rpm_ordered=True,
            rpm_device_fda_defined=True,
            rpm_auto_upload=True,
            rpm_setup_on=date(2026, 10, 1),
        ),
    )
    assert decide(facts(whole, as_of=CLOSED)).codes["99454"] == 1
    assert decide(facts(replace(whole, device_days=None), as_of=CLOSED)).hold


SETUPS = [
    ("on the day of set-up", date(2026, 10, 2), 1),
    ("some days after set-up", date(2026, 10, 12), 1),
    ("so late that an earlier window may have closed elsewhere", date(2026, 11, 1), 0),
]


@pytest.mark.parametrize(("reads", "units"), [row[1:] for row in SETUPS], ids=[row[0] for row in SETUPS])
def test_setup_is_supported_once_with_the_first_window_that_begins(reads, units):
    """Set up on 2 October. The month in which the first window ends, and the months around it."""
    days = tuple(
        DeviceDay(day=reads + timedelta(days=n), device_id="c", readings=1, first_reading=uuid4())
        for n in range(90)
    )
    found = []
    for month in (date(2026, 10, 1), NOVEMBER, date(2026, 12, 1)):
        whole = known(consents=(consent(), consent(Program.RPM)), device_days=days, month=month)
        looked = around("month_checked", month=month)
        enrolled = replace(
            whole.enrolment,
            programs=frozenset({Program.CCM, Program.RPM}),
            rpm_ordered=True,
            rpm_device_fda_defined=True,
            rpm_auto_upload=True,
            rpm_setup_on=date(2026, 10, 2),
        )
        whole = replace(whole, enrolment=enrolled, circumstances=(looked,))
        found.append(decide(facts(whole, as_of=datetime(2027, 2, 1, tzinfo=UTC))).codes.get("99453", 0))
    assert sum(found) == units
    assert max(found) <= 1


@given(days=st.integers(0, 30), today=st.integers(-3, 35), wanted=st.sampled_from([2, 16]))
def test_what_is_reached_is_reachable_and_a_closed_window_reaches_nothing_more(days, today, wanted):
    window = Window(start=date(2026, 11, 5), end=date(2026, 12, 4), days=days)
    on = window.start + timedelta(days=today)
    if days >= wanted:
        assert window.reachable(wanted, on, measured_today=False)
    if on > window.end:
        assert window.reachable(wanted, on, measured_today=True) == (days >= wanted)


# Enrolment and plan


def test_the_latest_word_on_consent_counts():
    yes, no = consent(), consent(accepted=False, given_at=datetime(2026, 11, 1, tzinfo=UTC))
    assert consent_of([yes], Program.CCM) is yes
    assert consent_of([no, yes], Program.CCM) is None
    assert consent_of([yes], Program.RPM) is None


def test_a_revocation_ends_with_the_month_in_the_practices_time():
    said = consent(revoked_at=datetime(2026, 12, 1, 4, 30, tzinfo=UTC))  # 30 November in New York
    assert ends_at(said, ZoneInfo(ZONE)) == datetime(2026, 12, 1, 5, tzinfo=UTC)
    assert ends_at(consent(), ZoneInfo(ZONE)) is None


def test_what_was_not_explained_is_named():
    assert len(missing_words([Told.AVAILABILITY])) == 3
    assert missing_words(Told) == ()


def test_two_lasting_conditions_make_a_candidate():
    lasting = Condition(icd10="I10", name="Hypertension", chronic_months=12)
    short = Condition(icd10="J06.9", name="Cold", chronic_months=1)
    assert candidate([lasting, replace(lasting, icd10="E11.9")])[0]
    assert not candidate([lasting, short])[0]
    assert "No condition" in candidate([short])[1]


def test_a_plan_says_what_it_lacks_and_what_changed():
    pressure = Problem(name="Hypertension", icd10="I10", outcome="controlled", goal="below 140/90")
    before = Content(problems=(pressure,), allergies="none")
    after = Content(problems=(pressure,), allergies="penicillin", caregivers="her daughter")
    assert "medicines" in lacks(before)
    changed = {(c.before, c.after) for c in differences(before, after)}
    assert changed == {("none", "penicillin"), ("", "her daughter")}
    assert differences(after, after) == ()


def test_a_supply_begins_with_two_days_and_changes_with_sixteen():
    assert (FEW, MANY) == (2, 16)


def test_a_window_that_begins_with_the_next_month_is_not_this_months():
    first = date(2026, 11, 1) - timedelta(days=30)
    whole = monitored(first, first + timedelta(days=1))
    starts = [window.start for window in facts(whole, as_of=CLOSED).device_windows]
    assert starts == [date(2026, 11, 1)]
    assert [window.start for window in windows_of(whole)] == [first, date(2026, 11, 1)]
    day_before = date(2026, 11, 30) - timedelta(days=30)
    reaching = windows_of(monitored(day_before, day_before + timedelta(days=1)))
    assert [window.start for window in reaching] == [day_before, date(2026, 11, 30)]
    after = windows_of(monitored(date(2026, 11, 1), date(2026, 11, 2)))
    assert [window.start for window in after] == [date(2026, 11, 1)]


def test_decision_making_of_another_kind_is_not_an_election():
    month = NOVEMBER
    said = said_of(looked_up(), around("complex_mdm", month=month)).complex
    assert (said.mdm_documented, said.elected) == (True, False)


def test_what_is_met_is_not_asked_of_anybody():
    decision, _ = decided(minute(22))
    assert because(decision) == ()
    assert all(step.reasons for step in because(decided(minute(22), enrolment=None)[0]))


def test_a_code_that_is_gone_altogether_is_named_with_its_single_unit():
    assert dropped({"99490": 1}, {}) == {"99490": 1}
    assert dropped({"99439": 2}, {"99439": 1}) == {"99439": 1}
    assert dropped({"99490": 1}, {"99490": 1}) == {}
