"""What holds for every month: sums, order, exclusions, clocks."""

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccm_bridge.billing import decide
from ccm_bridge.billing.book import shipped
from ccm_bridge.billing.civil import day_of, day_span, midnight, month_span, month_spans, months_before
from ccm_bridge.billing.ladder import climb
from ccm_bridge.billing.spans import common, seconds, span, union, without
from tests.unit.ccm_bridge.billing_month import MONITORED, a_month, decided, monitoring, window, work

ZONES = [
    "America/New_York",
    "America/Phoenix",
    "America/Los_Angeles",
    "Pacific/Honolulu",
    "America/St_Johns",
    "Asia/Kathmandu",  # +05:45
]
RANK = {
    "ccm_staff": ({"99490": 1}, {"99439": 1}),
    "rpm": ({"99470": 1}, {"99457": 2}, {"99458": 1}),
}
FIRST = datetime(2026, 11, 1, 4, tzinfo=UTC)  # midnight in New York

spans = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60)), max_size=8).map(
    lambda raw: union(*(span(start, start + length) for start, length in raw))
)


def as_set(one):
    return {second for start, end in one for second in range(start, end)}


@given(spans, spans)
def test_spans_are_sets_of_seconds(one, other):
    assert as_set(union(one, other)) == as_set(one) | as_set(other)
    assert as_set(common(one, other)) == as_set(one) & as_set(other)
    assert as_set(without(one, other)) == as_set(one) - as_set(other)
    assert seconds(one) == len(as_set(one))


entries = st.builds(
    lambda offset, length, credential, program, staff, country, flagged, interactive, tagged: work(
        seconds=length,
        start=(FIRST + timedelta(seconds=offset)).isoformat(),
        credential=credential,
        program=program,
        staff=staff,
        country=country,
        as_clinical_staff=flagged,
        interactive=interactive,
        also_program=tagged,
    ),
    st.integers(-7200, 31 * 86400),
    st.integers(0, 5400),
    st.sampled_from(["RN", "LPN", "MA", "MD", "NP", "PHARMD", "FRONT_DESK"]),
    st.sampled_from(["CCM", "CCM", "RPM", "PCM"]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["US", "US", "US", "PH", None]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, None, None, "RPM"]),
)
crowded = st.builds(
    lambda entry, minute: entry | {"start": (FIRST + timedelta(hours=30, minutes=minute)).isoformat()},
    entries,
    st.integers(0, 240),
)
months = st.lists(st.one_of(entries, crowded), max_size=7)
facts = st.fixed_dictionaries(
    {
        "complex": st.fixed_dictionaries(
            {
                "mdm_documented": st.sampled_from([True, False, None]),
                "elected": st.sampled_from([True, False, None]),
            }
        ),
        "rpm": st.just(MONITORED),
        "pcm": st.sampled_from([None, {"gate_documented": True}]),
        "patient_zone": st.sampled_from([*ZONES, None]),
        "device_windows": st.lists(
            st.builds(
                lambda start, days: window(days, (date(2026, 10, 1) + timedelta(days=start)).isoformat()),
                st.integers(0, 60),
                st.integers(0, 30),
            ),
            max_size=3,
        ),
    }
)


def answer(decision):
    return (
        dict(decision.codes),
        dict(decision.held),
        decision.hold,
        set(decision.reasons),
        dict(decision.counted_seconds),
        dict(decision.standing),
        sorted((line.code, line.units, str(line.date_of_service)) for line in decision.lines),
    )


@settings(max_examples=60)
@given(months, facts, st.randoms(use_true_random=False))
def test_the_order_of_entries_and_windows_does_not_matter(worked, known, chance):
    shuffled = known | {
        "device_windows": chance.sample(known["device_windows"], len(known["device_windows"]))
    }
    again = chance.sample(worked, len(worked))
    assert answer(decided(*worked, **known)) == answer(decided(*again, **shuffled))


@settings(max_examples=60)
@given(months, facts, st.data())
def test_splitting_an_entry_changes_no_sum_and_no_code(worked, known, data):
    split = []
    for entry in worked:
        at = data.draw(st.integers(0, entry["seconds"]))
        later = (datetime.fromisoformat(entry["start"]) + timedelta(seconds=at)).isoformat()
        split += [entry | {"seconds": at}, entry | {"start": later, "seconds": entry["seconds"] - at}]
    whole, parts = decided(*worked, **known), decided(*split, **known)
    assert whole.counted_seconds == parts.counted_seconds
    # a live conversation stays live only where its counted part does: both halves carry the mark
    assert (dict(whole.codes), dict(whole.held), whole.hold) == (
        dict(parts.codes),
        dict(parts.held),
        parts.hold,
    )


EXCLUSIVE = [
    ({"99490", "99439"}, {"99491", "99437"}),
    ({"99490", "99439"}, {"99487", "99489"}),
    ({"99491", "99437"}, {"99487", "99489"}),
    ({"99490", "99491", "99487"}, {"99424", "99426"}),
    ({"99424", "99425"}, {"99426", "99427"}),
    ({"99470"}, {"99457", "99458"}),
]
BASE = {
    "99439": "99490",
    "99489": "99487",
    "99437": "99491",
    "99458": "99457",
    "99425": "99424",
    "99427": "99426",
}
CAPS = {"99439": 2, "99489": 4, "99458": 3, "99425": 2, "99427": 2, "99453": 1}


@settings(max_examples=100)
@given(months, facts)
def test_no_exclusive_codes_no_add_on_without_its_base_no_unit_over_its_cap(worked, known):
    codes = decided(*worked, **known).codes
    for one, other in EXCLUSIVE:
        assert not (one & set(codes) and other & set(codes)), codes
    for add_on, base in BASE.items():
        assert add_on not in codes or codes[base] == 1
    assert all(units >= 1 for units in codes.values())
    assert all(codes.get(code, 0) <= cap for code, cap in CAPS.items())


@settings(max_examples=60)
@given(months, facts)
def test_no_second_is_counted_twice_and_none_is_invented(worked, known):
    decision = decided(*worked, **known)
    begins, ends = month_span("2026-11", ZoneInfo("America/New_York"))[0]
    seen: set[int] = set()
    for entry in worked:
        start = int(datetime.fromisoformat(entry["start"]).timestamp())
        seen |= set(range(max(start, begins), min(start + entry["seconds"], ends)))
    counted = decision.counted_seconds
    # staff and personal time may run side by side; only one of the two is ever billed
    assert counted["RPM"] + max(counted["CCM_STAFF"], counted["CCM_PERSONAL"]) <= len(seen)
    assert all(counted[pool] // 60 == minutes for pool, minutes in decision.counted_minutes.items())


def naive_count(worked, known):
    """Second by second, with nothing but sets: what section 4 says of the entries these tests make."""
    begins, ends = month_span("2026-11", ZoneInfo("America/New_York"))[0]
    theirs = month_spans("2026-11", ZoneInfo(known["patient_zone"]) if known["patient_zone"] else None)
    sure_month = as_range(common(span(begins, ends), theirs[0]))
    any_month = as_range(union(span(begins, ends), theirs[1]))
    claimed = []
    for entry in worked:
        two_tags = entry["also_program"] not in {None, entry["program"]}
        if entry["credential"] == "FRONT_DESK" or entry["country"] == "PH" or two_tags:
            continue
        start = int(datetime.fromisoformat(entry["start"]).timestamp())
        held = {second for second in range(start, start + entry["seconds"]) if second in any_month}
        doubtful = entry["country"] is None
        counted = set() if doubtful else {second for second in held if second in sure_month}
        practitioner = entry["credential"] in {"MD", "NP"} and not entry["as_clinical_staff"]
        tags = {entry["program"]}
        claimed.append((tags, practitioner, held, counted))
    pools = {"CCM_STAFF": set(), "CCM_PERSONAL": set(), "RPM": set()}
    for index, (tags, practitioner, _, counted) in enumerate(claimed):
        rivals = [held for at, (others, _, held, _) in enumerate(claimed) if at != index and others != tags]
        mine = counted - set().union(*rivals)
        for program in tags:
            personal = "CCM_PERSONAL" if practitioner else "CCM_STAFF"
            pool = personal if program == "CCM" else program
            if pool in pools:
                pools[pool] |= mine
    return {pool: len(counted) for pool, counted in pools.items()}


def as_range(one):
    (begins, ends) = one[0]
    return range(begins, ends)


@settings(max_examples=100)
@given(months, facts)
def test_the_count_is_what_a_naive_count_of_single_seconds_gives(worked, known):
    counted = decided(*worked, **known).counted_seconds
    pools = ("CCM_STAFF", "CCM_PERSONAL", "RPM")
    assert {pool: counted[pool] for pool in pools} == naive_count(worked, known)


@settings(max_examples=100)
@given(
    months,
    facts,
    st.integers(0, 6),
    st.sampled_from(["country", "credential", "seconds", "program", "interactive"]),
)
def test_to_forget_a_fact_of_an_entry_never_bills_more(worked, known, index, name):
    forgotten = [entry | ({name: None} if at == index else {}) for at, entry in enumerate(worked)]
    before, after = decided(*worked, **known), decided(*forgotten, **known)
    assert all(before.codes.get(code, 0) >= units for code, units in after.codes.items())
    assert all(
        before.counted_seconds.get(pool, 0) >= counted for pool, counted in after.counted_seconds.items()
    )


FORGETTABLE = [
    "payer",
    "conditions",
    "significant_risk_documented",
    "initiating_visit",
    "ccm_since",
    "consent",
    "care_plan",
    "practice",
    "rpm",
    "complex",
    "other_services",
    "stays",
    "entries",
    "device_windows",
    "zone",
    "patient_zone",
    "month",
]


@settings(max_examples=100)
@given(months, facts, st.sampled_from(FORGETTABLE))
def test_to_forget_a_fact_of_the_patient_never_bills_more(worked, known, name):
    before, after = decided(*worked, **known), decide(a_month(**({"entries": worked} | known | {name: None})))
    assert all(before.codes.get(code, 0) >= units for code, units in after.codes.items())


@given(st.integers(0, 400), st.integers(0, 60), st.sampled_from(["RN", "MD"]), st.booleans())
def test_more_minutes_never_make_less(minutes, more, credential, complex_month):
    known = {"complex": {"mdm_documented": complex_month, "elected": complex_month}}
    before, after = (
        decided(
            work(total / 2, credential=credential), work(total / 2, day=9, credential=credential), **known
        )
        for total in (minutes, minutes + more)
    )
    if set(before.codes) <= set(after.codes):
        assert all(after.codes[code] >= units for code, units in before.codes.items())
    else:  # 60 minutes lead from the plain to the complex family
        assert complex_month
        assert "99487" in after.codes


@pytest.mark.parametrize("year", ["2025-11", "2026-11"])
@pytest.mark.parametrize(
    "name", ["ccm_staff", "ccm_complex", "ccm_personal", "pcm_staff", "pcm_personal", "rpm"]
)
def test_every_ladder_is_monotone_and_points_to_the_next_rung_truly(year, name):
    ladder = getattr(shipped().rules_of(year).ladders, name)
    for before, after in itertools.pairwise(climb(ladder, minutes) for minutes in range(400)):
        units, further = (sum(stand.codes.values()) + sum(stand.held.values()) for stand in (before, after))
        assert units <= further
        if before.ahead is None:
            assert after.codes == before.codes
        elif after.minutes < before.ahead.minutes:
            assert (after.codes, after.held) == (before.codes, before.held)
        else:
            assert after.minutes == before.ahead.minutes
            assert (after.codes, after.held) != (before.codes, before.held)
            assert before.ahead.code in {**after.codes, **after.held}


# Clocks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "month", ["2025-03", "2025-11", "2026-02", "2026-03", "2026-10", "2026-11", "2026-12"]
)
def test_months_follow_each_other_without_gap_or_overlap(zone, month):
    here = ZoneInfo(zone)
    (begins, ends) = month_span(month, here)[0]
    following = (date.fromisoformat(f"{month}-01") + timedelta(days=31)).strftime("%Y-%m")
    assert month_span(following, here)[0][0] == ends
    assert day_of(begins, here).strftime("%Y-%m") == month == day_of(ends - 1, here).strftime("%Y-%m")
    assert day_of(begins - 1, here).strftime("%Y-%m") != month


@pytest.mark.parametrize("zone", ZONES)
def test_a_stretch_over_month_end_is_split_at_the_practices_midnight(zone):
    at = datetime(2026, 10, 31, 23, 50, tzinfo=ZoneInfo(zone)).isoformat()
    here = {"zone": zone, "patient_zone": zone}
    october = decided(work(25, start=at), month="2026-10", **here)
    november = decided(work(25, start=at), **here)
    assert (october.counted_minutes["CCM_STAFF"], november.counted_minutes["CCM_STAFF"]) == (10, 15)
    assert not october.hold
    assert not november.hold


@pytest.mark.parametrize(
    ("month", "start", "zone"),
    [
        ("2026-11", "2026-11-01T01:50:00-04:00", "America/New_York"),
        ("2026-03", "2026-03-08T01:50:00-05:00", "America/New_York"),
        ("2026-11", "2026-11-01T01:50:00-07:00", "America/Los_Angeles"),
        ("2026-03", "2026-03-08T01:50:00-08:00", "America/Los_Angeles"),
        ("2026-11", "2026-11-01T01:50:00-07:00", "America/Phoenix"),
        ("2026-11", "2026-11-01T01:50:00+05:45", "Asia/Kathmandu"),
    ],
)
def test_a_duration_is_elapsed_time_when_the_clocks_change(month, start, zone):
    since = {"ccm_since": "2026-02-01", "initiating_visit": "2026-01-10"}
    since |= {
        "consent": {
            "at": "2026-02-01T09:00:00Z",
            "method": "verbal",
            "explained": ["availability", "cost_sharing", "one_practitioner", "right_to_stop"],
            "revoked_at": None,
        }
    }
    since |= {"care_plan": {"version": 1, "signed_at": "2026-02-02", "copy_given_at": "2026-02-02"}}
    for length, codes in ((1199, {}), (1200, {"99490": 1})):
        assert (
            dict(
                decided(
                    work(seconds=length, start=start), month=month, zone=zone, patient_zone=zone, **since
                ).codes
            )
            == codes
        )


@given(st.sampled_from(ZONES), st.sampled_from(ZONES), st.integers(-90000, 90000))
def test_a_doubt_between_two_calendars_is_symmetric(ours, theirs, offset):
    """Whichever zone is the practice's, seconds on which both agree count, and no others do."""
    at = (FIRST + timedelta(seconds=offset)).isoformat()
    one = decided(work(60, start=at), zone=ours, patient_zone=theirs)
    other = decided(work(60, start=at), zone=theirs, patient_zone=ours)
    assert one.counted_seconds == other.counted_seconds


@given(st.sampled_from(ZONES), st.integers(-90000, 90000))
def test_an_unknown_zone_of_the_patient_counts_no_more_than_any_known_one(theirs, offset):
    at = (FIRST + timedelta(seconds=offset)).isoformat()
    known = decided(work(60, start=at), patient_zone=theirs).counted_seconds["CCM_STAFF"]
    assert decided(work(60, start=at), patient_zone=None).counted_seconds["CCM_STAFF"] <= known


def test_an_unknown_zone_lies_between_the_edges_of_the_earth():
    sure, possible = month_spans("2026-11", None)
    for zone in ZONES:
        here = month_span("2026-11", ZoneInfo(zone))
        assert common(sure, here) == sure
        assert union(possible, here) == possible
    assert seconds(possible) - seconds(sure) == 2 * 26 * 3600


def test_days_are_as_long_as_their_zone_makes_them():
    new_york = ZoneInfo("America/New_York")
    hours = [
        seconds(day_span(day, new_york)) // 3600
        for day in (date(2026, 3, 8), date(2026, 3, 9), date(2026, 11, 1))
    ]
    assert hours == [23, 24, 25]
    assert (
        midnight(date(2026, 3, 29), ZoneInfo("Asia/Beirut"))
        == midnight(date(2026, 3, 28), ZoneInfo("Asia/Beirut")) + 86400
    )


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(0, 60))
def test_going_back_months_never_passes_the_month(day, months_back):
    before = months_before(day, months_back)
    assert (day.year * 12 + day.month) - (before.year * 12 + before.month) == months_back
    assert before.day <= day.day


def test_the_same_facts_give_the_same_answer():
    month = a_month(work(25), monitoring(25, day=6), rpm=MONITORED, device_windows=[window(18)])
    assert decide(month) == decide(month)
