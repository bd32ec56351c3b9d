"""Whose reading is it: the registry's periods, at the instant of the measurement, on the clock of who had the device."""

import itertools
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import clock
from ingest.devices.measurement import Measurement
from ingest.events import Kind
from ingest.identity import Assignment, Device, Gateway, Owner, Stranger, owner

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
MARIA, NORA = UUID(int=1), UUID(int=2)
HERS = Assignment(MARIA, NOON - 30 * DAY, NOON - 2 * DAY, "America/New_York")
NOW_NORAS = Assignment(NORA, NOON - 2 * DAY, None, "America/New_York")
GATEWAY = Gateway(1)


def at(moment):
    said = Measurement(kind=Kind.GLUCOSE, glucose=100.0, device_time=moment)
    return lambda zone: clock.effective(said, gateway_time=None, received_at=NOON, zone=zone)


CASES = [
    ("a gateway nobody registered", None, Device(1, [NOW_NORAS], True), NOON, Stranger.UNKNOWN_GATEWAY),
    ("a device nobody registered", GATEWAY, None, NOON, Stranger.UNKNOWN_DEVICE),
    ("a device of another practice", GATEWAY, Device(2, [NOW_NORAS], True), NOON, Stranger.OTHER_PRACTICE),
    ("a device still in the drawer", GATEWAY, Device(1, [], False), NOON, Stranger.UNASSIGNED),
    ("before anybody had it", GATEWAY, Device(1, [HERS], True), NOON - 40 * DAY, Stranger.NOT_ASSIGNED_THEN),
    ("after it was given back", GATEWAY, Device(1, [HERS], True), NOON, Stranger.NOT_ASSIGNED_THEN),
    (
        "a device that several people share",
        GATEWAY,
        Device(1, [NOW_NORAS], True, shared=True),
        NOON,
        Stranger.SHARED_DEVICE,
    ),
    ("while the first had it", GATEWAY, Device(1, [HERS, NOW_NORAS], True), NOON - 3 * DAY, MARIA),
    ("while the second has it", GATEWAY, Device(1, [HERS, NOW_NORAS], True), NOON - DAY, NORA),
    (
        "at the very moment of the hand-over",
        GATEWAY,
        Device(1, [HERS, NOW_NORAS], True),
        NOON - 2 * DAY,
        NORA,
    ),
]


BUTTONS = [
    HERS._replace(until=None, slot=1),
    NOW_NORAS._replace(slot=2),
    Assignment(MARIA, NOON - 9 * DAY, NOON - 5 * DAY, "America/New_York", slot=3),
]
PRESSED = [
    ("the button of the first", 1, NOON, MARIA),
    ("the button of the second", 2, NOON, NORA),
    ("the button of the second before she had it", 2, NOON - 3 * DAY, Stranger.SHARED_DEVICE),
    ("a button of nobody", 4, NOON, Stranger.SHARED_DEVICE),
    ("a button that was given back", 3, NOON, Stranger.SHARED_DEVICE),
    ("a button while it was hers", 3, NOON - 6 * DAY, MARIA),
    ("no button, or one the cuff does not know", None, NOON, Stranger.SHARED_DEVICE),
    ("before anybody had a button", 1, NOON - 40 * DAY, Stranger.NOT_ASSIGNED_THEN),
]


@pytest.mark.parametrize(
    ("slot", "moment", "expected"), [c[1:] for c in PRESSED], ids=[c[0] for c in PRESSED]
)
@pytest.mark.parametrize("shared", [False, True], ids=["buttons alone", "said to be shared"])
def test_whose_button(slot, moment, expected, shared):
    found = owner(GATEWAY, Device(1, BUTTONS, True, shared), at(moment), slot)
    if shared and expected is Stranger.NOT_ASSIGNED_THEN:
        expected = Stranger.SHARED_DEVICE
    assert (found.patient_id if isinstance(found, Owner) else found) == expected


def test_a_whole_device_is_its_patients_whatever_button_was_pressed():
    assert owner(GATEWAY, Device(1, [NOW_NORAS], True), at(NOON), 2).patient_id == NORA


@pytest.mark.parametrize(
    ("gateway", "device", "moment", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_whose(gateway, device, moment, expected):
    found = owner(gateway, device, at(moment))
    assert (found.patient_id if isinstance(found, Owner) else found) == expected


def test_a_wall_clock_is_read_on_the_clock_of_who_had_the_device():
    """23:30 on the wall is before the hand-over in New York and after it in Honolulu."""
    handed_over = datetime(2026, 3, 1, 5, 0, tzinfo=UTC)  # midnight in New York
    early = Assignment(MARIA, NOON - 30 * DAY, handed_over, "America/New_York")
    late = Assignment(NORA, handed_over, None, "Pacific/Honolulu")
    found = owner(GATEWAY, Device(1, [early, late], True), at(datetime.fromisoformat("2026-02-28T18:30")))
    assert isinstance(found, Owner)
    assert found.patient_id == MARIA or found.instant.at >= handed_over


def test_the_payloads_idea_of_the_person_changes_nothing():
    said = Measurement(kind=Kind.GLUCOSE, glucose=100.0, device_time=NOON, claimed={"patient": str(NORA)})
    mine = Assignment(MARIA, NOON - DAY, None, "UTC")
    found = owner(
        GATEWAY,
        Device(1, [mine], True),
        lambda zone: clock.effective(said, gateway_time=None, received_at=NOON, zone=zone),
    )
    assert isinstance(found, Owner)
    assert found.patient_id == MARIA


@given(
    cuts=st.lists(st.integers(0, 50 * 24), min_size=2, max_size=6, unique=True).map(sorted),
    hour=st.integers(0, 50 * 24),
    order=st.randoms(use_true_random=False),
)
def test_periods_that_do_not_overlap_name_at_most_one_person_in_any_order(cuts, hour, order):
    begin = NOON - 55 * DAY
    periods = [
        Assignment(UUID(int=n), begin + timedelta(hours=a), begin + timedelta(hours=b), "UTC")
        for n, (a, b) in enumerate(itertools.pairwise(cuts))
    ]
    moment = begin + timedelta(hours=hour)
    expected = {p.patient_id for p in periods if p.since <= moment < p.until}
    order.shuffle(periods)
    found = owner(GATEWAY, Device(1, periods, True), at(moment))
    assert ({found.patient_id} if isinstance(found, Owner) else set()) == expected
