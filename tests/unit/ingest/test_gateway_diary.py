"""Real diaries through the gateway's eyes, and the clock they are played on."""

import asyncio
import csv
from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.devices import canonical
from ingest.devices.measurement import Measurement, Refusal
from ingest.events import Beyond
from ingest.gateway import cast
from ingest.gateway.diary import Form, entries, message
from ingest.gateway.player import DAY, Start, play, score, start

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def decoded(line, form=Form.FINGERSTICKS):
    lines = [line] if form is Form.FINGERSTICKS else ["ts,systolic,diastolic,pulse", line]
    (entry,) = entries(form, lines)
    _, payload = message(entry, device_id="meter-1", shift=timedelta(0), gateway_time=NOON, history=False)
    (said,) = canonical.decode(payload)
    return said


def test_an_ordinary_line_is_an_ordinary_measurement():
    said = decoded("10-11-1989\t08:00\t58\t171")
    assert (said.glucose, said.context, said.device_time) == (
        171.0,
        "fasting",
        datetime.fromisoformat("1989-10-11T08:00"),
    )
    assert said.original == b"10-11-1989\t08:00\t58\t171"


def test_hi_and_lo_stay_the_emergencies_they_are():
    assert decoded("10-31-1989\t12:00\t60\t0Hi").beyond is Beyond.HI
    assert decoded("11-08-1989\t18:00\t62\t0Lo").beyond is Beyond.LO


@pytest.mark.parametrize(
    "line", ["10-31-1989\t12:00\t60\t3A", "10-12-1989\t7:00\t0\t"], ids=["3A", "no value"]
)
def test_a_dirty_value_reaches_ingest_and_is_refused_there(line):
    assert isinstance(decoded(line), Refusal)


def test_slipped_columns_reach_ingest_and_are_refused_there():
    first, second = entries(Form.FINGERSTICKS, ["10-12-1989\t7:00\t58\t100", "\t138\t33\t3A"])
    assert second.wall == first.wall
    _, payload = message(second, device_id="m", shift=timedelta(0), gateway_time=NOON, history=False)
    assert isinstance(canonical.decode(payload)[0], Refusal)


def test_an_impossible_time_travels_as_written_and_the_value_is_kept():
    (entry,) = [
        e
        for e in entries(Form.FINGERSTICKS, ["04-09-1991\t08:00\t58\t100", "04-09-1991\t56:35\t58\t237"])
        if e.number == 2
    ]
    _, payload = message(entry, device_id="m", shift=DAY, gateway_time=NOON, history=False)
    (said,) = canonical.decode(payload)
    assert (said.glucose, said.device_time, said.device_time_sent) == (237.0, None, "1991-04-10T56:35")


def test_what_a_person_wrote_and_no_meter_measured_is_not_sent():
    assert list(entries(Form.FINGERSTICKS, ["10-10-1989\t08:00\t33\t010", "10-10-1989\t08:00\t66\t0"])) == []


@pytest.mark.parametrize(
    "line", ["04-09-1991\t56:35\t33\t016", "\t006\t33\t21"], ids=["impossible time", "slipped"]
)
def test_a_dose_of_insulin_never_passes_for_a_glucose(line):
    assert [entry.number for entry in entries(Form.FINGERSTICKS, ["04-09-1991\t08:00\t58\t100", line])] == [1]


def test_a_number_under_an_unknown_code_is_refused_and_not_guessed_at():
    assert isinstance(decoded("04-09-1991\t08:00\t36\t042"), Refusal)


def test_a_blood_pressure_row_is_a_blood_pressure():
    said = decoded("2020-01-03 08:47:07,122,89,", Form.PRESSURES)
    assert (said.systolic, said.diastolic, said.pulse, said.device_time) == (
        122.0,
        89.0,
        None,
        datetime.fromisoformat("2020-01-03T08:47:07"),
    )


@given(st.lists(st.text(max_size=40), max_size=20), st.sampled_from(Form))
def test_any_text_at_all_is_played_without_an_exception(lines, form):
    if form is Form.PRESSURES:
        lines = ["ts,systolic,diastolic,pulse", *(line for line in lines if "\x00" not in line)]
    try:
        found = list(entries(form, lines))
    except csv.Error:
        return
    for entry in found:
        _, payload = message(entry, device_id="m", shift=DAY, gateway_time=NOON, history=True)
        assert canonical.decode(payload)


def test_every_shipped_diary_plays_and_its_dirt_is_known():
    said = Counter()
    for role in cast.roles():
        part = role.part()
        assert part.entries, role.diary
        for frame in score([part], start(NOON, live_days=21, seconds_per_day=3, zone=part.zone)):
            (one,) = canonical.decode(frame.payload)
            said[type(one).__name__] += 1
            if isinstance(one, Measurement) and one.beyond:
                said[one.beyond] += 1
            if isinstance(one, Measurement) and one.device_time is None:
                said["no usable time"] += 1
    assert (said["HI"], said["LO"], said["no usable time"]) == (6, 1, 2)
    assert said["Refusal"] == 21
    assert said["Measurement"] > 4_000


def test_the_cast_is_one_device_and_one_diary_each_at_two_gateways():
    roles = cast.roles()
    assert len({role.device_id for role in roles}) == len({role.diary for role in roles}) == len(roles)
    assert len({role.gateway_id for role in roles}) == 2
    for role in roles:
        ZoneInfo(role.zone)


def test_a_diary_ends_as_many_days_after_today_as_asked_and_its_past_is_history():
    part = next(role for role in cast.roles() if role.ahead_days == 18).part()
    begun = start(NOON, live_days=21, seconds_per_day=3, zone=part.zone)
    frames = score([part], begun)
    last = frames[-1].at.astimezone(part.zone)
    assert (last.date() - NOON.date()).days == 18
    assert frames == sorted(frames, key=lambda frame: frame.at)
    assert all(frame.history == (frame.at < begun.live_from) for frame in frames)
    assert 20 <= (NOON - begun.live_from).days <= 21


def test_playing_again_gives_the_same_messages():
    part = cast.roles()[0].part()
    begun = start(NOON, live_days=21, seconds_per_day=3, zone=part.zone)
    stored = msgspec.json.decode(msgspec.json.encode(begun), type=Start)
    assert score([part], begun) == score([part], stored)


@given(
    st.integers(0, 60 * 86_400),
    st.floats(0.5, 3_600),
    st.integers(1, 60),
    st.none() | st.floats(0.5, 7_200),
)
def test_the_simulated_clock_never_runs_ahead_of_the_real_one_and_due_is_its_inverse(
    seconds, pace, days, last
):
    begun = Start(NOON, NOON - days * DAY, pace, NOON.date(), last)
    real = NOON + timedelta(seconds=seconds)
    shown = begun.clock(real)
    assert shown <= real
    assert abs((begun.clock(begun.due(shown)) - shown).total_seconds()) < 0.01


async def test_history_goes_at_once_live_days_at_their_pace_and_a_restart_goes_on_where_it_was():
    part = cast.part(
        Form.PRESSURES,
        "ts,systolic,diastolic,pulse\n" + "\n".join(f"2020-01-{d:02} 08:00:00,120,80," for d in range(1, 31)),
        "c",
        UTC,
        0,
    )
    now = [NOON]
    begun = start(NOON, live_days=10, seconds_per_day=6, zone=UTC)
    frames = score([part], begun)
    taken, at = [], [0]
    stopping = asyncio.Event()

    async def put(batch, played):
        taken.extend(batch)
        at[0] = played

    async def play_until(count):
        stopping.clear()
        playing = asyncio.create_task(
            play(frames, begun, put, played=at[0], clock=lambda: now[0], stopping=stopping)
        )
        async with asyncio.timeout(5):
            while len(taken) < count:
                await asyncio.sleep(0)
        stopping.set()
        await playing

    await play_until(19)
    assert [frame.history for frame in taken] == [True] * 19
    now[0] += timedelta(seconds=6 * 3 + 5)  # three days and most of a fourth
    await play_until(23)
    assert taken == frames[:23]
    now[0] += timedelta(hours=1)  # caught up: today's is there, tomorrow's is not
    await play_until(30)
    assert taken == frames
