"""Reading a case: any bytes give facts or sentences, never an exception; what is merely missing is unknown."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccm_bridge.billing import Decision, Facts, Reason, Refused, decide, read_facts
from tests.unit.ccm_bridge.billing_month import MONITORED, NOVEMBER, consent, decided, service, window, work

MALFORMED = [
    ("nothing", b"", "not JSON"),
    ("half a case", b'{"facts": {', "not JSON"),
    ("not a number", b'{"facts": NaN}', "not JSON"),
    ("bytes of no text", b"\xff\xfe", "not JSON"),
    ("too deep", b"[" * 100_000, "not JSON"),
    ("a list", b"[]", "an object is wanted"),
    ("null", b"null", "an object is wanted"),
    ("a number", b"3", "an object is wanted"),
    ("facts of nothing", b'{"id": "x", "facts": null}', "an object is wanted"),
    ("facts as a list", b'{"facts": [1]}', "an object is wanted"),
]


@pytest.mark.parametrize(("raw", "says"), [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED])
def test_what_is_no_case_is_refused_in_a_sentence(raw, says):
    refused = read_facts(raw)
    assert isinstance(refused, Refused)
    assert says in str(refused)


WRONG = [
    ("month", {"month": "2026-13"}, "month: a month such as 2026-11 is wanted."),
    ("month as a day", {"month": "2026-11-01"}, "month"),
    ("month as a number", {"month": 11}, "month: a text or null is wanted, not a whole number."),
    ("zone", {"zone": "Mars/Phobos"}, "zone is not the name of a time zone"),
    ("zone out of its folder", {"zone": "../etc/passwd"}, "zone is not the name"),
    ("zone as a folder", {"zone": "America"}, "zone is not the name"),
    ("zone as a number", {"zone": 5}, "zone is not the name"),
    ("zone as a list", {"zone": []}, "zone is not the name"),
    ("empty zone", {"zone": ""}, "zone is not the name"),
    ("zone of the patient", {"patient_zone": "Nowhere"}, "patient_zone is not the name"),
    (
        "seconds as text",
        {"entries": [work(20) | {"seconds": "1200"}]},
        "entries[0].seconds: a whole number or null is wanted, not a text.",
    ),
    ("seconds as a fraction", {"entries": [work(20) | {"seconds": 1200.5}]}, "entries[0].seconds"),
    ("seconds as truth", {"entries": [work(20) | {"seconds": True}]}, "entries[0].seconds"),
    (
        "negative seconds",
        {"entries": [work(20), work(20) | {"seconds": -60}]},
        "entries[1].seconds: a whole number, 0 or more, is",
    ),
    ("more than a day", {"entries": [work(20) | {"seconds": 86_401}]}, "entries[0].seconds"),
    (
        "a start without offset",
        {"entries": [work(20) | {"start": "2026-11-03T10:00:00"}]},
        "entries[0].start",
    ),
    ("a start of nonsense", {"entries": [work(20) | {"start": "yesterday"}]}, "entries[0].start"),
    ("a start as a number", {"entries": [work(20) | {"start": 1_793_000_000}]}, "entries[0].start"),
    ("nobody served", {"entries": [work(20, patients=0)]}, "entries[0].patients"),
    ("entries as an object", {"entries": {}}, "entries: a list or null is wanted, not an object."),
    ("an entry as text", {"entries": ["call"]}, "entries[0]: an object is wanted, not a text."),
    (
        "interactive as text",
        {"entries": [work(20, interactive="yes")]},
        "entries[0].interactive: true or false or null is wanted, not a text.",
    ),
    ("conditions as text", {"conditions": "I10"}, "conditions"),
    ("risk as text", {"significant_risk_documented": "yes"}, "significant_risk_documented"),
    ("a visit of nonsense", {"initiating_visit": "2026-02-30"}, "initiating_visit"),
    (
        "a visit at a nonsense time",
        {"initiating_visit": "2026-08-10Tmorning"},
        "initiating_visit is not a day",
    ),
    (
        "a visit without offset",
        {"initiating_visit": "2026-08-10T10:00:00"},
        "initiating_visit needs its offset",
    ),
    ("a death on no day", {"died_at": "2026-02-30"}, "died_at is not a day of the calendar"),
    ("a death beyond the calendar", {"consent": consent(at="9999-12-31")}, "at is not a day of the calendar"),
    ("consent without offset", {"consent": consent(at="2026-10-01T09:00:00")}, "consent.at"),
    ("consent as a list", {"consent": []}, "consent: an object or null is wanted, not a list."),
    (
        "a window backwards",
        {"device_windows": [window(3, "2026-11-05", "2026-11-04")]},
        "device_windows[0] ends before it starts.",
    ),
    (
        "more days than days",
        {"device_windows": [window(18), window(5, "2026-11-01", "2026-11-04")]},
        "device_windows[1] has more days with data",
    ),
    ("too many days", {"device_windows": [window(32)]}, "device_windows[0].days_with_data"),
    (
        "a stay backwards",
        {"stays": [{"kind": "snf", "admitted_at": "2026-11-05", "discharged_at": "2026-11-01"}]},
        "stays[0] ends before it starts.",
    ),
    ("a stay as text", {"stays": ["snf"]}, "stays[0]"),
    (
        "a service with a day for its month",
        {"other_services": [service("G0181", month="2026-11-04")]},
        "other_services[0].month: a month such as 2026-11 is wanted.",
    ),
    (
        "a service of two months",
        {"other_services": [service("G0181", on="2026-10-04")]},
        "other_services[0] has a day outside its month.",
    ),
    ("a year of the ancients", {"ccm_since": "0026-10-01"}, "ccm_since lies outside the years"),
    (
        "an instant of the ancients",
        {"ccm_since": "0001-01-01T00:00:00+14:00"},
        "ccm_since lies outside the years",
    ),
    (
        "an instant at the end of time",
        {"ccm_since": "9999-12-31T23:59:59-12:00"},
        "ccm_since lies outside the years",
    ),
    (
        "a start at the end of time",
        {"entries": [work(20) | {"start": "9999-12-31T23:59:59-12:00"}]},
        "entries[0].start lies outside",
    ),
    ("an unknown policy", {"practice": {"family_policy": "dearest"}}, "practice.family_policy"),
]


@pytest.mark.parametrize(("facts", "says"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_refused_by_its_place(facts, says):
    refused = read_facts(json.dumps({"id": "x", "facts": NOVEMBER | facts}))
    assert isinstance(refused, Refused)
    assert says in str(refused)
    assert str(refused).endswith(".")


def test_every_contradiction_is_named_at_once():
    refused = read_facts(
        NOVEMBER
        | {"device_windows": [window(9, "2026-11-05", "2026-11-04"), window(9, "2026-11-05", "2026-11-08")]}
    )
    assert len(refused.sentences) == 2
    assert str(refused) == " ".join(refused.sentences)


def test_refusals_do_not_repeat_what_was_said_of_the_patient():
    assert "secret" not in str(read_facts(NOVEMBER | {"zone": "secret", "payer": 3}))
    assert "secret" not in str(read_facts(NOVEMBER | {"entries": [work(20) | {"start": "secret"}]}))


@pytest.mark.parametrize("name", sorted(NOVEMBER))
def test_a_fact_that_is_null_or_absent_is_read_as_unknown(name):
    facts = NOVEMBER | {"entries": [work(25)]}
    for said in (facts | {name: None}, {key: value for key, value in facts.items() if key != name}):
        read = read_facts(json.dumps(said))
        assert isinstance(read, Facts)
        assert isinstance(decide(read), Decision)


def test_no_facts_at_all_hold():
    decision = decide(read_facts("{}"))
    assert decision.hold
    assert dict(decision.codes) == {}


def test_a_case_a_bare_object_and_a_mapping_are_read_alike():
    facts = NOVEMBER | {"entries": [work(25)]}
    assert (
        read_facts(json.dumps({"id": "x", "facts": facts}))
        == read_facts(json.dumps(facts))
        == read_facts(facts)
    )
    assert read_facts(json.dumps(facts).encode()) == read_facts(facts)


def test_reading_changes_nothing_in_what_was_given():
    facts = {
        "facts": json.loads(json.dumps(NOVEMBER | {"stays": [{"from": "2026-11-01", "to": "2026-11-02"}]}))
    }
    before = json.dumps(facts)
    read_facts(facts)
    assert json.dumps(facts) == before


# Other spellings ---------------------------------------------------------------------------------------------


def instants(read):
    return [
        None if at is None else at.isoformat()
        for stay in read.stays
        for at in (stay.admitted_at, stay.discharged_at)
    ]


@pytest.mark.parametrize(
    ("begins", "ends", "kind"),
    [
        ("admitted_at", "discharged_at", "kind"),
        ("admitted_on", "discharged_on", "type"),
        ("from", "to", "setting"),
        ("start", "end", "facility"),
        ("admission", "discharge", "code"),
    ],
)
def test_stays_are_read_in_the_spellings_of_several_hospitals(begins, ends, kind):
    read = read_facts(
        NOVEMBER | {"stays": [{kind: "snf", begins: "2026-11-03", ends: "2026-11-04T08:00:00-05:00"}]}
    )
    assert instants(read) == ["2026-11-03T00:00:00-05:00", "2026-11-04T08:00:00-05:00"]
    assert read.stays[0].kind == "snf"
    assert read.unread == ()


def test_a_day_where_an_instant_is_wanted_is_read_so_that_less_is_billed():
    read = read_facts(
        NOVEMBER
        | {
            "died_at": "2026-11-20",
            "as_of": "2026-11-30",
            "consent": consent(at="2026-10-31", revoked_at="2026-11-25"),
            "rpm": MONITORED | {"consent_at": "2026-11-01", "revoked_at": "2026-11-02"},
            "stays": [{"kind": "snf", "admitted_at": "2026-10-31", "discharged_at": "2026-11-01"}],
        }
    )
    said = [
        read.died_at,
        read.as_of,
        read.consent.at,
        read.consent.revoked_at,
        read.rpm.consent_at,
        read.rpm.revoked_at,
    ]
    assert [at.isoformat() for at in said] == [
        "2026-11-20T00:00:00-05:00",
        "2026-11-30T00:00:00-05:00",
        "2026-11-01T00:00:00-04:00",
        "2026-11-25T00:00:00-05:00",
        "2026-11-02T00:00:00-05:00",
        "2026-11-02T00:00:00-05:00",
    ]
    assert instants(read) == ["2026-10-31T00:00:00-04:00", "2026-11-02T00:00:00-05:00"]


def test_an_instant_where_a_day_is_wanted_is_its_day_in_the_practices_zone():
    late = "2026-11-01T03:30:00Z"  # 31 October, 23:30 in New York
    read = read_facts(
        NOVEMBER
        | {
            "initiating_visit": late,
            "ccm_since": late,
            "hospice_elected_on": late,
            "care_plan": {"version": 1, "signed_at": late, "copy_given_at": late},
            "rpm": MONITORED | {"setup_on": late},
            "device_windows": [{"start": late, "end": "2026-11-29", "days_with_data": 3}],
        }
    )
    days = [read.initiating_visit, read.ccm_since, read.hospice_elected_on, read.care_plan.signed_at]
    days += [read.care_plan.copy_given_at, read.rpm.setup_on, read.device_windows[0].start]
    assert {day.isoformat() for day in days} == {"2026-10-31"}


def test_without_a_zone_days_are_read_in_universal_time():
    read = read_facts(NOVEMBER | {"zone": None, "died_at": "2026-11-20", "ccm_since": "2026-11-01T03:30:00Z"})
    assert (read.died_at.isoformat(), read.ccm_since.isoformat()) == (
        "2026-11-20T00:00:00+00:00",
        "2026-11-01",
    )


def test_keys_that_nobody_knows_are_said_and_not_weighed():
    facts = NOVEMBER | {
        "mood": "good",
        "entries": [work(25, colour="red")],
        "consent": consent(pen="blue"),
        "stays": [{"kind": "snf", "admitted_at": "2026-10-01", "discharged_at": "2026-10-02", "ward": 3}],
        "other_services": [service("99495", colour="green")],
    }
    read = read_facts(facts)
    assert set(read.unread) == {
        "mood",
        "entries[0].colour",
        "consent.pen",
        "stays[0].ward",
        "other_services[0].colour",
    }
    decision = decide(read)
    assert dict(decision.codes) == {"99490": 1}
    (step,) = (step for step in decision.trace if Reason.UNREAD_FACT in step.reasons)
    assert step.outcome == "WARN"
    assert not decided(work(25)).reasons.count(Reason.UNREAD_FACT)


def test_every_shown_key_is_read():
    assert (
        read_facts(NOVEMBER | {"entries": [work(25)], "rpm": MONITORED, "device_windows": [window(3)]}).unread
        == ()
    )


# Anything at all ---------------------------------------------------------------------------------------------

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False),
    st.text(max_size=12),
    st.sampled_from(
        ["2026-11-03", "2026-11-03T10:00:00-05:00", "CCM", "RN", "US", "2026-11", "0001-01-01T00:00:00+14:00"]
    ),
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_give_an_answer(raw):
    assert isinstance(read_facts(raw), Facts | Refused)


@settings(max_examples=200)
@given(st.sampled_from([*sorted(NOVEMBER), "as_of", "pcm", "claimed_at", "unread"]), anything)
def test_any_value_in_any_place_gives_a_decision_or_a_sentence(name, value):
    read = read_facts(NOVEMBER | {"entries": [work(25)]} | {name: value})
    if isinstance(read, Facts):
        assert isinstance(decide(read), Decision)
    else:
        assert str(read)


@settings(max_examples=200)
@given(
    st.sampled_from(
        [
            "entries",
            "conditions",
            "stays",
            "other_services",
            "device_windows",
            "consent",
            "care_plan",
            "rpm",
            "complex",
            "practice",
        ]
    ),
    st.sampled_from(
        [
            "start",
            "seconds",
            "at",
            "end",
            "admitted_at",
            "code",
            "month",
            "days_with_data",
            "enrolled",
            "staff",
            "on",
            "icd10",
        ]
    ),
    anything,
)
def test_any_value_in_any_place_within_gives_a_decision_or_a_sentence(where, name, value):
    inside = {"code": "99490", name: value}
    said = inside if isinstance(NOVEMBER[where], dict) else [inside]
    read = read_facts(NOVEMBER | {where: said})
    if isinstance(read, Facts):
        assert isinstance(decide(read), Decision)
    else:
        assert str(read)
