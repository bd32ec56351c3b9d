"""The instant of a measurement: every rule by its name, on clocks the test owns."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import clock, devices
from ingest.clock import TimeRule as R
from ingest.devices.measurement import Flag, Measurement
from ingest.events import Kind
from ingest.events import TimeConfidence as C

NEW_YORK, KATHMANDU, PHOENIX = (
    ZoneInfo("America/New_York"),
    ZoneInfo("Asia/Kathmandu"),
    ZoneInfo("America/Phoenix"),
)
NOON = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)  # noon in New York


def at(text):
    return datetime.fromisoformat(text)


def cuff(**said):
    return Measurement(kind=Kind.BLOOD_PRESSURE, systolic=128.0, diastolic=82.0, **said)


def told(said, *, gateway=None, received=NOON, zone=NEW_YORK, error=None):
    return clock.effective(said, gateway_time=gateway, received_at=received, zone=zone, gateway_error=error)


CASES = [
    (
        "an instant with its zone is taken as it is",
        {"device_time": at("2026-03-02T16:58:00+00:00")}, {}, "2026-03-02T16:58:00+00:00", R.DEVICE_INSTANT, C.HIGH,
    ),
    (
        "a wall clock is read in the patient's zone",
        {"device_time": at("2026-03-02T11:58:00")}, {}, "2026-03-02T16:58:00+00:00", R.DEVICE_LOCAL, C.HIGH,
    ),
    (
        "a wall clock with an offset needs no zone",
        {"device_time": at("2026-03-02T09:58:00"), "utc_offset_minutes": -420},
        {}, "2026-03-02T16:58:00+00:00", R.DEVICE_OFFSET, C.HIGH,
    ),
    (
        "a zone of five and three quarter hours",
        {"device_time": at("2026-03-02T22:43:00")},
        {"zone": KATHMANDU}, "2026-03-02T16:58:00+00:00", R.DEVICE_LOCAL, C.HIGH,
    ),
    (
        "an offset that exists nowhere gives way to the zone",
        {"device_time": at("2026-03-02T11:58:00"), "flags": (Flag.OFFSET_INSANE,)},
        {}, "2026-03-02T16:58:00+00:00", R.INSANE_OFFSET, C.LOW,
    ),
    (
        "an instant beside an insane offset is kept and doubted",
        {"device_time": at("2026-03-02T16:58:00+00:00"), "flags": (Flag.OFFSET_INSANE,)},
        {}, "2026-03-02T16:58:00+00:00", R.INSANE_OFFSET, C.LOW,
    ),
    (
        "a time the cloud calls estimated is doubted",
        {"device_time": at("2026-03-02T16:58:00+00:00"), "flags": (Flag.TIME_ESTIMATED,)},
        {}, "2026-03-02T16:58:00+00:00", R.DEVICE_INSTANT, C.LOW,
    ),
    (
        "a year the cuff does not know is the moment the gateway took it",
        {}, {"gateway": at("2026-03-02T16:59:00+00:00")}, "2026-03-02T16:59:00+00:00", R.GATEWAY_TIME, C.LOW,
    ),
    (
        "without any clock it is the moment of receipt",
        {}, {}, "2026-03-02T17:00:00+00:00", R.RECEIPT_TIME, C.LOW,
    ),
    (
        "a clock in 2028 is never believed",
        {"device_time": at("2028-03-02T11:58:00")}, {}, "2026-03-02T17:00:00+00:00", R.FUTURE_CLOCK, C.SUSPECT,
    ),
    (
        "a clock in 2028 read together with a right one is put right",
        {"device_time": at("2028-03-02T11:58:00"), "device_now": at("2028-03-02T12:03:00")},
        {"gateway": at("2026-03-02T16:59:00+00:00")}, "2026-03-02T16:54:00+00:00", R.COINCIDENT, C.HIGH,
    ),
    (
        "a device's past later than its own present is another timeline",
        {"device_time": at("2026-03-02T11:58:00"), "device_now": at("2026-01-01T00:00:00")},
        {"gateway": at("2026-03-02T16:59:00+00:00")}, "2026-03-02T16:59:00+00:00", R.OTHER_TIMELINE, C.SUSPECT,
    ),
    (
        "a clock that fell back to 1970 with its battery",
        {"device_time": at("1970-01-01T00:03:00")}, {}, "2026-03-02T17:00:00+00:00", R.RESET_CLOCK, C.SUSPECT,
    ),
    (
        "a clock that fell back to 2000, in a replay of history too",
        {"device_time": at("2000-01-01T00:03:00"), "history": True},
        {}, "2026-03-02T17:00:00+00:00", R.RESET_CLOCK, C.SUSPECT,
    ),
    (
        "sixty days late is late, not wrong",
        {"device_time": at("2026-01-01T12:01:00")}, {}, "2026-01-01T17:01:00+00:00", R.DEVICE_LOCAL, C.HIGH,
    ),
    (
        "sixty-one days late is too old to be told from a wrong clock",
        {"device_time": at("2025-12-31T11:00:00")}, {}, "2025-12-31T16:00:00+00:00", R.TOO_OLD, C.SUSPECT,
    ),
    (
        "history may be years old",
        {"device_time": at("2023-05-05T11:00:00"), "history": True},
        {}, "2023-05-05T15:00:00+00:00", R.DEVICE_LOCAL, C.HIGH,
    ),
    (
        "history is never newer than now",
        {"device_time": at("2026-03-09T11:00:00"), "history": True},
        {}, "2026-03-02T17:00:00+00:00", R.FUTURE_CLOCK, C.SUSPECT,
    ),
    (
        "history without a date belongs nowhere",
        {"history": True}, {}, "2026-03-02T17:00:00+00:00", R.UNDATED_HISTORY, C.SUSPECT,
    ),
    (
        "five minutes ahead is a clock like any other",
        {"device_time": at("2026-03-02T12:05:00")}, {}, "2026-03-02T17:05:00+00:00", R.DEVICE_LOCAL, C.HIGH,
    ),
    (
        "an hour ahead is a cuff still on summer time",
        {"device_time": at("2026-03-02T12:59:00")}, {}, "2026-03-02T16:59:00+00:00", R.HOURS_AHEAD, C.LOW,
    ),
    (
        "five hours ahead is a cuff on UTC",
        {"device_time": at("2026-03-02T16:58:00")}, {}, "2026-03-02T16:58:00+00:00", R.HOURS_AHEAD, C.LOW,
    ),
    (
        "two and a half hours ahead is a broken clock",
        {"device_time": at("2026-03-02T14:30:00")}, {}, "2026-03-02T17:00:00+00:00", R.FUTURE_CLOCK, C.SUSPECT,
    ),
    (
        "a day ahead is a broken clock",
        {"device_time": at("2026-03-03T12:00:00")}, {}, "2026-03-02T17:00:00+00:00", R.FUTURE_CLOCK, C.SUSPECT,
    ),
    (
        "a gateway sixteen minutes slow does not make the device wrong",
        {"device_time": at("2026-03-02T11:59:00")},
        {"gateway": at("2026-03-02T16:44:00+00:00")}, "2026-03-02T16:59:00+00:00", R.DEVICE_LOCAL, C.HIGH,
    ),
    (
        "a gateway three hours slow loses against device and receipt, with doubt",
        {"device_time": at("2026-03-02T11:59:00")},
        {"gateway": at("2026-03-02T14:00:00+00:00")}, "2026-03-02T16:59:00+00:00", R.DEVICE_LOCAL, C.LOW,
    ),
    (
        "later than the gateway that took it, days before receipt: the gateway is believed",
        {"device_time": at("2026-02-25T12:00:00")},
        {"gateway": at("2026-02-20T15:00:00+00:00")}, "2026-02-20T15:00:00+00:00", R.AFTER_GATEWAY, C.LOW,
    ),
    (
        "an outbox that waited three weeks changes nothing",
        {"device_time": at("2026-02-09T11:58:00")},
        {"gateway": at("2026-02-09T17:00:00+00:00")}, "2026-02-09T16:58:00+00:00", R.DEVICE_LOCAL, C.HIGH,
    ),
    (
        "a gateway in 2038 is not heard where the device is right",
        {"device_time": at("2026-03-02T11:58:00")},
        {"gateway": at("2038-01-19T03:14:07+00:00")}, "2026-03-02T16:58:00+00:00", R.DEVICE_LOCAL, C.HIGH,
    ),
    (
        "a gateway in 2028 with nothing beside it is suspect",
        {}, {"gateway": at("2028-03-17T22:52:51+00:00")}, "2026-03-02T17:00:00+00:00", R.GATEWAY_CLOCK, C.SUSPECT,
    ),
    (
        "a gateway in 1970 with nothing beside it is suspect",
        {}, {"gateway": at("1970-01-01T00:00:10+00:00")}, "2026-03-02T17:00:00+00:00", R.GATEWAY_CLOCK, C.SUSPECT,
    ),
    (
        "a gateway in 2028 whose error its hello showed is put right",
        {},
        {"gateway": at("2028-03-02T16:57:00+00:00"), "error": NOON - at("2028-03-02T17:00:00+00:00")},
        "2026-03-02T16:57:00+00:00", R.GATEWAY_MAPPED, C.LOW,
    ),
    (
        "the coincident pair of a gateway put right is worth no more than the gateway",
        {"device_time": at("2020-01-01T00:00:00"), "device_now": at("2020-01-01T00:02:00")},
        {"gateway": at("2028-03-02T16:57:00+00:00"), "error": NOON - at("2028-03-02T17:00:00+00:00")},
        "2026-03-02T16:55:00+00:00", R.COINCIDENT, C.LOW,
    ),
    (
        "the hour that happens twice, told before its second time",
        {"device_time": at("2026-11-01T01:30:00")},
        {"received": at("2026-11-01T05:31:00+00:00")}, "2026-11-01T05:30:00+00:00", R.DST_FOLD, C.LOW,
    ),
    (
        "the hour that happens twice, told after its second time",
        {"device_time": at("2026-11-01T01:30:00")},
        {"received": at("2026-11-01T06:31:00+00:00")}, "2026-11-01T06:30:00+00:00", R.DST_FOLD, C.LOW,
    ),
    (
        "the hour that never was: the device was not put forward",
        {"device_time": at("2026-03-08T02:30:00")},
        {"received": at("2026-03-08T07:31:00+00:00")}, "2026-03-08T07:30:00+00:00", R.DST_GAP, C.LOW,
    ),
    (
        "Phoenix has neither",
        {"device_time": at("2026-03-08T02:30:00")},
        {"received": at("2026-03-08T09:31:00+00:00"), "zone": PHOENIX},
        "2026-03-08T09:30:00+00:00", R.DEVICE_LOCAL, C.HIGH,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "given", "instant", "rule", "confidence"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_rule(said, given, instant, rule, confidence):
    found = told(cuff(**said), **given)
    assert (found.at.isoformat(), found.rule, found.confidence) == (instant, rule, confidence)


def test_every_rule_has_a_case():
    assert {case[4] for case in CASES} == set(R)


def test_the_patients_offset_is_the_devices_if_it_sent_one_and_the_zones_if_not():
    assert (
        told(cuff(device_time=at("2026-03-02T09:58:00"), utc_offset_minutes=-420)).utc_offset_minutes == -420
    )
    assert told(cuff(device_time=at("2026-03-02T11:58:00"))).utc_offset_minutes == -300
    assert told(cuff(), zone=KATHMANDU).utc_offset_minutes == 345


def test_a_burst_behind_a_wrong_gateway_clock_keeps_its_spacing():
    sent = at("2028-03-17T22:52:51+00:00")
    shown = [
        told(cuff(gateway_time=sent - timedelta(minutes=minutes), gateway_now=sent)).at
        for minutes in (30, 10, 0)
    ]
    assert [NOON - one for one in shown] == [timedelta(minutes=30), timedelta(minutes=10), timedelta(0)]


def test_a_vendors_local_time_written_as_utc_comes_out_right():
    raw = b'{"BPDataList":[{"HP":120,"LP":90,"MDate":1772452800,"TimeZone":"-0500"}],"BPUnit":0}'
    (said,) = devices.decode("ihealth", raw)
    found = told(said, received=at("2026-03-02T17:05:00+00:00"))
    assert (found.at.isoformat(), found.rule) == ("2026-03-02T17:00:00+00:00", R.DEVICE_OFFSET)


moments = st.datetimes() | st.datetimes(timezones=st.just(UTC))
utc = st.datetimes(timezones=st.just(UTC))


@given(
    device_time=st.none() | moments,
    device_now=st.none() | moments,
    gateway=st.none() | utc,
    received=st.datetimes(at("2020-01-01T00:00:00"), at("2090-01-01T00:00:00"), timezones=st.just(UTC)),
    offset=st.none() | st.sampled_from([-720, -300, 0, 345, 840]),
    history=st.booleans(),
    error=st.none() | st.timedeltas(timedelta(days=-40000), timedelta(days=40000)),
    zone=st.sampled_from([UTC, NEW_YORK, KATHMANDU, PHOENIX]),
)
def test_any_clocks_give_an_instant_that_is_never_in_the_future(
    device_time, device_now, gateway, received, offset, history, error, zone
):
    said = cuff(device_time=device_time, device_now=device_now, utc_offset_minutes=offset, history=history)
    found = clock.effective(said, gateway_time=gateway, received_at=received, zone=zone, gateway_error=error)
    assert found.at.tzinfo is not None
    assert found.at <= received + clock.FUTURE
    if found.confidence is not C.SUSPECT and not history:
        assert found.at >= received - clock.PAST
    assert found.at >= clock.FIRST_CUFFS - timedelta(hours=15)
