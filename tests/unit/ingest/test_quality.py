"""Which numbers are put aside, what was said before, what belongs together, and what makes a fact the same fact."""

import itertools
import random
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import devices, quality
from ingest.devices.measurement import Flag, Measurement, Sent
from ingest.events import Beyond, Kind
from ingest.quality import Doubt, Echo, Seen, Taken

NINE = datetime(2026, 3, 2, 9, 0, 17, tzinfo=UTC)
CARRIER = uuid4()


def bp(systolic=128.0, diastolic=82.0, pulse=70.0, **said):
    return Measurement(kind=Kind.BLOOD_PRESSURE, systolic=systolic, diastolic=diastolic, pulse=pulse, **said)


def sugar(glucose, unit=None, sent=None, **said):
    return Measurement(
        kind=Kind.GLUCOSE,
        glucose=glucose,
        sent={"glucose": Sent(glucose if sent is None else sent, unit)},
        **said,
    )


CASES = [
    ("an ordinary pressure", bp(), ()),
    ("the lowest systolic that may be", bp(50.0, 30.0), ()),
    ("a systolic below it", bp(49.0, 30.0), (Doubt.IMPLAUSIBLE_SYSTOLIC,)),
    ("the highest systolic that may be", bp(280.0, 120.0), ()),
    ("a systolic above it", bp(281.0, 120.0), (Doubt.IMPLAUSIBLE_SYSTOLIC,)),
    ("a diastolic above the highest", bp(250.0, 201.0), (Doubt.IMPLAUSIBLE_DIASTOLIC,)),
    ("diastolic over systolic", bp(80.0, 120.0), (Doubt.PRESSURES_CROSSED,)),
    ("diastolic equal to systolic", bp(100.0, 100.0), (Doubt.PRESSURES_CROSSED,)),
    ("nine between them", bp(100.0, 91.0), (Doubt.PULSE_PRESSURE_TOO_SMALL,)),
    ("ten between them", bp(100.0, 90.0), ()),
    ("kilopascal in disguise", bp(16.0, 10.7), (Doubt.UNIT_CONFUSION,)),
    ("a crisis without its diastolic", bp(210.0, None), ()),
    ("a pulse alone", bp(None, None, 70.0), ()),
    ("an ordinary glucose", sugar(108.0), ()),
    ("LO has no number to doubt", Measurement(kind=Kind.GLUCOSE, beyond=Beyond.LO), ()),
    ("5.6 without a unit", sugar(5.6), (Doubt.UNIT_CONFUSION,)),
    ("5.6 that calls itself mg/dL", sugar(5.6, "mg/dL"), (Doubt.UNIT_CONFUSION,)),
    ("28 that calls itself mg/dL", sugar(28.0, "mg/dL"), ()),
    ("28 without a unit", sugar(28.0), (Doubt.UNIT_CONFUSION,)),
    ("9 mg/dL", sugar(9.0, "mg/dL"), (Doubt.IMPLAUSIBLE_GLUCOSE,)),
    ("1.5 mmol/L is a crisis and no confusion", sugar(27.02, "mmol/L", 1.5), ()),
    ("108 that calls itself mmol/L", sugar(1945.68, "mmol/L", 108), (Doubt.UNIT_CONFUSION,)),
    ("1001 mg/dL", sugar(1001.0, "mg/dL"), (Doubt.IMPLAUSIBLE_GLUCOSE,)),
    (
        "a sensor that calls itself broken",
        sugar(108.0, "mg/dL", flags=(Flag.SENSOR_FAULT,)),
        (Doubt.DEVICE_FAULT,),
    ),
    ("a loose cuff is kept and carried", bp(flags=(Flag.CUFF_LOOSE,)), ()),
]


@pytest.mark.parametrize(("said", "doubts"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_doubt(said, doubts):
    assert quality.judge(said)[1] == doubts


def test_a_pulse_out_of_range_is_flagged_and_holds_nothing_back():
    judged, doubts = quality.judge(bp(85.0, 50.0, 28.0))
    assert doubts == ()
    assert (judged.pulse, judged.flags) == (28.0, (Flag.PULSE_IMPLAUSIBLE,))


def test_a_low_number_that_may_be_true_is_flagged():
    judged, doubts = quality.judge(sugar(28.0, "mg/dL"))
    assert doubts == ()
    assert judged.flags == (Flag.UNIT_SUSPECT,)


# The same fact has the same id.

SAID = {
    "device": "meter-3",
    "kind": "glucose",
    "glucose": 108,
    "seq": 41,
    "measured_at": "2026-03-02T07:41:09",
}


def known(**changed):
    import msgspec

    (said,) = devices.decode("canonical", msgspec.json.encode({**SAID, **changed}))
    return quality.reading_id(said.device, said, carrier=uuid4())


def test_a_replay_through_another_gateway_is_the_same_fact():
    assert known(id=str(uuid4()), gateway_time="2026-03-02T12:42:00Z") == known(
        id=str(uuid4()), gateway_time="2026-03-09T08:00:00Z", flags=["playback"], history=True
    )


def test_the_spelling_of_the_device_and_of_the_time_do_not_make_another_fact():
    assert known(device="02:00:00:00:0B:01") == known(device="020000000b01")
    assert known(measured_at="2026-03-02T07:41:09Z") == known(measured_at="2026-03-02T02:41:09-05:00")
    assert known(measured_at="2026-03-02T07:41:09") == known(measured_at="2026-03-02 07:41:09.000")


@pytest.mark.parametrize(
    "changed",
    [
        {"seq": 42},
        {"glucose": 109},
        {"measured_at": "2026-03-02T07:42:09"},
        {"device": "meter-4"},
        {"glucose": "HI"},
    ],
    ids=["sequence number", "value", "time", "device", "HI"],
)
def test_another_fact_has_another_id(changed):
    assert known(**changed) != known()


def test_a_sequence_number_that_came_round_again_is_another_fact():
    assert known(measured_at="2029-01-01T07:00:00") != known()


def test_without_count_and_clock_the_gateways_time_tells_readings_apart():
    bare = {"device": "meter-3", "kind": "glucose", "glucose": 108}

    def undated(**said):
        import msgspec

        (found,) = devices.decode("canonical", msgspec.json.encode({**bare, **said}))
        return found

    taken = undated(gateway_time="2026-03-02T12:42:00Z")
    assert quality.reading_id("m", taken, carrier=uuid4()) == quality.reading_id("m", taken, carrier=uuid4())
    nothing = undated()
    assert quality.reading_id("m", nothing, carrier=CARRIER) == quality.reading_id(
        "m", nothing, carrier=CARRIER
    )
    assert quality.reading_id("m", nothing, carrier=uuid4()) != quality.reading_id(
        "m", nothing, carrier=uuid4()
    )


def test_a_burst_of_thirty_from_the_memory_with_one_twice_is_thirty_facts():
    frames = [
        bytes(
            [3, number & 0xFF, number >> 8, 0xEA, 7, 3, 2, 7, number % 60, 5, 0, 0, 100 + number, 0xB0, 0x11]
        )
        for number in range(30)
    ]
    burst = [*frames, frames[7]]
    random.Random(7).shuffle(burst)
    ids = {
        quality.reading_id("m", said, carrier=uuid4())
        for raw in burst
        for said in devices.decode("ble-glucose", raw)
    }
    assert len(ids) == 30


# Echoes.


def seen(hours=0.0, *, values=(137.0, 87.0, None), seq=None):
    return Seen(reading_id=uuid4(), at=NINE + timedelta(hours=hours), values=values, seq=seq)


ECHOES = [
    ("three hours later to the second", seen(3), Echo.WHOLE_HOURS),
    ("three hours earlier, arriving late", seen(-3), Echo.WHOLE_HOURS),
    ("fourteen hours", seen(14), Echo.WHOLE_HOURS),
    ("fifteen hours is another day", seen(15), None),
    ("three hours and a second", seen(3 + 1 / 3600), None),
    ("one minute later", seen(1 / 60), Echo.SAME_MOMENT),
    ("two and a half minutes later", seen(2.5 / 60), None),
    ("other values", seen(3, values=(138.0, 87.0, None)), None),
]


@pytest.mark.parametrize(("new", "echo"), [case[1:] for case in ECHOES], ids=[case[0] for case in ECHOES])
def test_echo(new, echo):
    found = quality.echo_of(new, [seen()])
    assert (found[1] if found else None) == echo


def test_a_reading_is_not_its_own_echo():
    one = seen()
    assert quality.echo_of(one, [one]) is None


def test_different_sequence_numbers_are_different_measurements():
    assert quality.echo_of(seen(3, seq=8), [seen(seq=7)]) is None
    assert quality.echo_of(seen(3, seq=7), [seen(seq=7)])


def test_the_same_glucose_on_the_hour_twice_is_an_ordinary_day():
    eight = Seen(reading_id=uuid4(), at=datetime(2026, 3, 2, 8, 0, tzinfo=UTC), values=(110.0,))
    noon = eight._replace(reading_id=uuid4(), at=datetime(2026, 3, 2, 12, 0, tzinfo=UTC))
    assert quality.echo_of(noon, [eight]) is None


DIARY = """\
2020-04-25 19:18:58 137 87
2020-04-25 22:18:58 137 87 echo
2020-04-26 01:28:36 116 81
2020-04-26 13:27:22 114 90
2020-04-26 16:27:22 114 90 echo
2020-04-27 07:51:08 127 87
2020-04-27 10:51:08 127 87 echo
2020-04-27 12:51:16 131 89
2020-04-27 15:51:16 131 89 echo
2020-04-27 18:58:04 133 88
2020-04-27 21:58:04 133 88 echo
2020-04-29 19:45:12 130 85
2020-04-29 22:45:12 130 85 echo
2020-04-30 13:27:45 121 83
2020-04-30 16:27:45 121 83 echo
"""
"""Rows of a real home diary with time-zone echoes (Welltory hrv-covid19, CC0 1.0)."""


def test_a_real_diary_full_of_echoes():
    earlier, found = [], []
    for line in DIARY.splitlines():
        day, hour, systolic, diastolic, *label = line.split()
        at = datetime.fromisoformat(f"{day}T{hour}+00:00")
        new = Seen(reading_id=uuid4(), at=at, values=(float(systolic), float(diastolic), None))
        found.append((bool(quality.echo_of(new, earlier)), bool(label)))
        earlier.append(new)
    assert all(told == truth for told, truth in found)


# Sittings.


def taken(minutes, systolic, diastolic=80.0, pulse=None, flags=()):
    return Taken(
        reading_id=uuid4(),
        at=NINE + timedelta(minutes=minutes),
        systolic=systolic,
        diastolic=diastolic,
        pulse=pulse,
        flags=flags,
    )


def test_two_readings_a_minute_apart_are_one_sitting():
    (sitting,) = quality.sittings([taken(0, 140.0, 90.0, 70.0), taken(1, 134.0, 86.0)])
    assert (sitting.systolic, sitting.diastolic, sitting.pulse, sitting.highest) == (137.0, 88.0, 70.0, 140.0)
    assert sitting.averaged == 2


def test_thirty_minutes_still_belong_and_thirty_one_do_not():
    assert [
        len(s.readings) for s in quality.sittings([taken(0, 140.0), taken(30, 130.0), taken(31, 128.0)])
    ] == [2, 1]


def test_a_sitting_does_not_grow_for_ever():
    assert len(quality.sittings([taken(20 * n, 130.0) for n in range(6)])) == 3


def test_a_reading_taken_badly_is_outvoted_and_its_danger_still_counts():
    (sitting,) = quality.sittings([taken(0, 196.0, flags=(Flag.MOVEMENT,)), taken(2, 134.0), taken(3, 136.0)])
    assert (sitting.systolic, sitting.averaged, sitting.highest) == (135.0, 2, 196.0)


def test_if_all_were_taken_badly_they_are_what_there_is():
    (sitting,) = quality.sittings(
        [taken(0, 140.0, flags=(Flag.CUFF_LOOSE,)), taken(1, 150.0, flags=(Flag.MOVEMENT,))]
    )
    assert (sitting.systolic, sitting.averaged) == (145.0, 2)


@given(order=st.permutations(range(5)))
def test_the_order_of_arrival_changes_no_sitting(order):
    readings = [taken(minutes, 120.0 + minutes) for minutes in (0, 5, 29, 45, 200)]
    assert quality.sittings([readings[i] for i in order]) == quality.sittings(readings)


def test_a_crisis_counts_at_once_and_is_repeated_in_five_minutes():
    expected = {
        (179.0, 119.0): None,
        (180.0, 90.0): timedelta(minutes=5),
        (150.0, 120.0): timedelta(minutes=5),
    }
    assert {pair: quality.repeat_after(bp(*pair)) for pair in expected} == expected


def test_what_no_one_owns_is_named():
    assert {Flag.USER_UNKNOWN, Flag.OWNER_AMBIGUOUS} == quality.OWNERLESS
    assert not any(
        a & b for a, b in itertools.combinations((quality.TECHNIQUE, quality.FAULTS, quality.OWNERLESS), 2)
    )
