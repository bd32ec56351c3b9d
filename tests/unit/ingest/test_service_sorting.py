"""A batch becomes readings, refusals and answers: every message gets one answer, every fact goes out once, nothing raises."""

import base64
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import wire
from ingest.devices import FAMILIES
from ingest.events import Reading, Refused
from ingest.identity import Assignment, Decided, Device, Gateway
from ingest.presence import Roll
from ingest.quality import Seen
from ingest.recent import MOST_PER_DEVICE, REACH, Recent
from ingest.sorting import Known, asks, claims, numbers, pasts, read, sort
from ingest.verdict import DECIDED, KEPT, LARGEST, Again, News

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MARIA = UUID(int=1)
METER = Device(1, [Assignment(MARIA, NOW - timedelta(days=900), None, "America/Chicago")], True)
KNOWN = Known({"gw": Gateway(1)}, {"meter": METER, "cuff": METER})


def heard(payload, gateway="gw", family="canonical"):
    message, error = read(
        gateway, family, payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    )
    assert error is None
    return message


def fingerstick(minutes_ago=5, **more):
    at = NOW - timedelta(minutes=minutes_ago)
    return {
        "id": str(uuid4()),
        "device": "meter",
        "kind": "glucose",
        "glucose": 100,
        "measured_at": at.isoformat(),
    } | more


def names(answer):
    return {*answer.acked, *(no.id for no in answer.refused)}


def test_a_good_message_is_a_reading_and_an_answer_that_names_it():
    message = fingerstick()
    out = sort([heard(message)], KNOWN, Recent(), NOW)
    assert out.answers["gw"].acked == (UUID(message["id"]),)
    assert (out.readings[0].patient_id, out.readings[0].caused_by) == (MARIA, UUID(message["id"]))


def test_what_is_played_from_a_diary_says_so_because_its_receipt_lies_in_the_diarys_time():
    gateway_time = NOW - timedelta(days=9)
    said = heard(fingerstick(minutes_ago=9 * 24 * 60 + 1) | {"gateway_time": gateway_time.isoformat()})
    played = sort([said], Known({"gw": Gateway(1, True)}, KNOWN.devices), Recent(), NOW).readings[0]
    live = sort([said], KNOWN, Recent(), NOW).readings[0]
    assert (played.received_at, played.flags) == (gateway_time, ("played",))
    assert (live.received_at, live.flags) == (NOW, ())


def test_a_message_without_a_name_is_answered_under_the_name_of_its_bytes():
    raw = msgspec.json.encode(fingerstick() | {"id": None})
    out = sort([heard(raw)], KNOWN, Recent(), NOW)
    assert out.answers["gw"].acked == (wire.nameless("gw", raw),)


def test_the_same_fact_under_two_names_goes_out_once_and_both_are_answered():
    message = fingerstick()
    out = sort([heard(message), heard(message | {"id": str(uuid4())})], KNOWN, Recent(), NOW)
    assert (len(out.readings), len(out.answers["gw"].acked), out.tally.duplicates) == (1, 2, 1)


def test_what_kafka_already_has_is_answered_and_not_sent_again():
    recent, message = Recent(), heard(fingerstick())
    first = sort([message], KNOWN, recent, NOW)
    recent.accept(*first.seen[0])
    again = sort([message], KNOWN, recent, NOW)
    assert (again.readings, again.tally.duplicates, again.answers) == ([], 1, first.answers)


def test_sorting_tells_the_memory_nothing_so_a_batch_that_fails_later_is_sorted_alike_again():
    recent, message = Recent(), heard(fingerstick())
    assert sort([message], KNOWN, recent, NOW).readings == sort([message], KNOWN, recent, NOW).readings


def test_a_rule_that_raises_costs_its_own_message_only():
    class Broken:
        def get(self, name):
            return object() if name == "cuff" else METER

    failures = []
    known = Known({"gw": Gateway(1)}, Broken())
    bad = {"id": str(uuid4()), "device": "cuff", "kind": "bp", "systolic": 120, "diastolic": 80}
    out = sort([heard(bad), heard(fingerstick())], known, Recent(), NOW, failures.append)
    assert (len(out.readings), [no.reason for no in out.refused], len(failures)) == (1, ["contradiction"], 1)


def test_a_decoder_that_raises_is_reported_and_its_message_refused():
    def broken(family, raw):
        raise RecursionError

    message, error = read("gw", "canonical", b"{}", broken)
    assert isinstance(error, RecursionError)
    assert sort([message], KNOWN, Recent(), NOW).refused[0].hop == "decode"


def test_a_measurement_that_failed_is_kept_as_no_reading_and_a_battery_is_news():
    failed = fingerstick() | {"glucose": 0}
    battery = {
        "id": str(uuid4()),
        "device": "meter",
        "kind": "event",
        "event": "battery",
        "battery_percent": 15,
    }
    out = sort([heard(failed), heard(battery)], KNOWN, Recent(), NOW)
    assert [no.reason for no in out.refused] == ["no-reading"]
    assert [news.battery_percent for _, news in out.news] == [15]
    assert out.answers["gw"].acked == (UUID(battery["id"]),)


def test_an_owner_the_device_does_not_know_waits_for_a_person():
    unknown = {
        "id": str(uuid4()),
        "device": "cuff",
        "kind": "bp",
        "systolic": 150,
        "diastolic": 90,
        "user": 255,
    }
    assert sort([heard(unknown)], KNOWN, Recent(), NOW).refused[0].reason == "owner-unknown"


def test_the_same_bytes_said_in_two_places_are_two_messages():
    canonical, _ = read("gw", "canonical", b"{}")
    ava4, _ = read("gw", "ava4", b"{}")
    hello, _ = read("gw", None, b"{}", place="hello")
    out = sort([canonical, ava4, hello], KNOWN, Recent(), NOW)
    assert len({no.event_id for no in out.refused}) == 3
    assert [no.place for no in out.refused] == ["readings", "readings/ava4", "hello"]
    assert len(out.answers["gw"].refused) == len({no.id for no in out.answers["gw"].refused}) == 3


BORN = date(1950, 4, 12)
CUFF = Device(1, [Assignment(MARIA, NOW - timedelta(days=900), None, "America/Chicago", BORN)], True)
FHIR = {
    "resourceType": "Observation",
    "id": "1",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
    "subject": {"reference": "Patient/M-17"},
    "device": {"identifier": {"value": "cuff"}, "display": "cuff"},
    "effectiveDateTime": "2026-03-02T11:55:00Z",
    "component": [
        {
            "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
            "valueQuantity": {"value": value, "system": "http://unitsofmeasure.org", "code": "mm[Hg]"},
        }
        for code, value in (("8480-6", 128), ("8462-4", 81))
    ],
}


@pytest.mark.parametrize(
    ("whose", "people", "reason"),
    [
        pytest.param(
            "M-17", {(1, "M-17"): [UUID(int=2)]}, "identity-contradicted", id="another patient's number"
        ),
        pytest.param("M-17", {(1, "M-17"): [MARIA]}, None, id="the right patient's number"),
        pytest.param("M-17", {(2, "M-17"): [UUID(int=2)]}, None, id="a number of another practice's patient"),
        pytest.param("vendor-4711", {}, None, id="a number that is the vendor's own"),
    ],
)
def test_a_message_that_names_another_patient_waits_for_a_person(whose, people, reason):
    message = heard(FHIR | {"subject": {"reference": f"Patient/{whose}"}}, family="fhir")
    assert numbers([message]) == [whose]
    device = message.said[0].device
    out = sort([message], Known({"gw": Gateway(1)}, {device: CUFF}, people), Recent(), NOW)
    assert [no.reason for no in out.refused] == ([reason] if reason else [])
    assert len(out.readings) == (0 if reason else 1)


def again(refused, **more):
    return Again(refused.event_id, refused.part, refused.received_at, NOW + timedelta(days=3), **more)


def test_what_a_person_decided_flows_with_its_first_times_and_bytes_and_the_same_id_however_often():
    unknown = {
        "id": str(uuid4()),
        "device": "cuff",
        "kind": "bp",
        "systolic": 150,
        "diastolic": 90,
        "user": 255,
    }
    message = heard(unknown)
    (no,) = sort([message], KNOWN, Recent(), NOW).refused
    nora = UUID(int=2)
    replayed = message._replace(again=again(no, decided=Decided(1, nora, "America/Chicago")))
    recent = Recent()
    out = sort([replayed], KNOWN, recent, NOW + timedelta(days=3))
    (reading,) = out.readings
    assert (reading.patient_id, reading.received_at, reading.raw) == (nora, NOW, message.raw)
    assert (reading.effective_at, reading.caused_by) == (NOW, UUID(unknown["id"]))
    assert (reading.released_at, reading.known_at) == (NOW + timedelta(days=3),) * 2
    assert DECIDED in reading.flags
    assert "user_unknown" not in reading.flags
    assert out.again == {no.event_id: reading}
    recent.accept(*out.seen[0])
    second = sort([replayed], KNOWN, recent, NOW + timedelta(days=4))
    assert (second.readings, second.again[no.event_id].event_id) == ([], reading.event_id)


def test_what_comes_again_and_is_refused_again_is_the_same_refusal():
    message = heard(fingerstick(device="nobody's"))
    (no,) = sort([message], KNOWN, Recent(), NOW).refused
    (second,) = sort([message._replace(again=again(no))], KNOWN, Recent(), NOW + timedelta(days=1)).refused
    assert (second.event_id, second.reason, second.received_at) == (no.event_id, "unknown-device", NOW)


def test_a_device_registered_since_gives_its_reading_the_first_time_of_receipt_and_the_gateways_clock_of_then():
    message = heard(fingerstick(device="new"))
    slow = Known({"gw": Gateway(1, False, timedelta(hours=2))}, KNOWN.devices)
    (no,) = sort([message], slow, Recent(), NOW).refused
    assert no.clock_error_s == 7200
    known = Known({"gw": Gateway(1, False, timedelta(days=400))}, {"new": METER})
    replayed = message._replace(again=again(no, clock_error=timedelta(seconds=no.clock_error_s)))
    (reading,) = sort([replayed], known, Recent(), NOW + timedelta(days=3)).readings
    assert (reading.received_at, reading.effective_at) == (NOW, NOW - timedelta(minutes=5))
    assert reading.time_confidence == "high"


def test_of_a_payload_with_many_readings_only_the_one_that_was_set_aside_comes_again():
    payload = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": FHIR}, {"resource": FHIR | {"id": "2", "status": "cancelled"}}],
    }
    message = heard(payload, family="fhir")
    device = message.said[0].device
    known = Known({"gw": Gateway(1)}, {device: CUFF._replace(shared=True)})
    refused = sort([message], known, Recent(), NOW).refused
    lane = next(no for no in refused if no.reason == "shared-device")
    replayed = message._replace(again=again(lane, decided=Decided(1, MARIA, "America/Chicago")))
    out = sort([replayed], known, Recent(), NOW)
    assert (len(out.readings), out.refused) == (1, [])


def test_implausible_numbers_are_set_aside_with_their_doubt():
    crossed = {"id": str(uuid4()), "device": "cuff", "kind": "bp", "systolic": 80, "diastolic": 120}
    (no,) = sort([heard(crossed)], KNOWN, Recent(), NOW).refused
    assert (no.hop, no.reason, no.practice_id) == ("quality", "pressures-crossed", 1)


def test_the_answer_is_the_same_for_the_same_bytes_however_often():
    message = heard(b'{"kind": "glucose"}')
    first, second = (sort([message], KNOWN, Recent(), NOW).refused[0] for _ in range(2))
    assert first.event_id == second.event_id


@settings(max_examples=300)
@given(
    family=st.sampled_from([*FAMILIES, "no-such-family"]),
    raw=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=100).map(str.encode),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=6)
            ),
        ).map(lambda value: __import__("json").dumps(value).encode()),
        st.fixed_dictionaries(
            {
                "device": st.sampled_from(["meter", "cuff", "m\x00", "other"]) | st.text(max_size=8),
                "kind": st.sampled_from(["bp", "glucose"]),
            },
            optional={
                "glucose": st.integers(-5, 3000) | st.sampled_from(["HI", "LO", "3A"]),
                "systolic": st.floats(0, 500),
                "diastolic": st.floats(0, 500),
                "measured_at": st.sampled_from(
                    ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00", "\x00", "2026-03-02T07:00:00"]
                )
                | st.text(max_size=12),
                "gateway_time": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
                "history": st.booleans(),
                "seq": st.integers(0, 2**40),
                "id": st.uuids().map(str) | st.text(max_size=4),
            },
        ).map(lambda value: __import__("json").dumps(value).encode()),
    ),
    playback=st.booleans(),
)
def test_any_bytes_through_any_family_give_exactly_one_answer_that_can_be_kept(family, raw, playback):
    message, error = read("gw", family, raw)
    assert error is None
    known = Known({"gw": Gateway(1, playback, timedelta(hours=1))}, KNOWN.devices)
    for ask in asks([message], NOW):
        assert ask.since <= ask.until
        assert "\x00" not in ask.device_id
    pasts([message], known, Recent(), NOW)
    failures = []
    out = sort([message], known, Recent(), NOW, failures.append)
    assert failures == []
    assert len(names(out.answers["gw"])) == 1
    assert len(out.readings) + len(out.refused) + len(out.news) >= 1 or out.tally.duplicates
    for kind, events in ((Reading, out.readings), (Refused, out.refused)):
        for event in events:
            kept = msgspec.json.decode(msgspec.json.encode(event), type=kind)
            assert kept == event
            assert not any("\x00" in text for text in msgspec.structs.astuple(kept) if isinstance(text, str))


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(60, 64)), max_size=20),
    st.randoms(use_true_random=False),
)
def test_splitting_a_series_into_batches_changes_no_fact(said, random):
    messages = [heard(fingerstick(minutes, glucose=value)) for minutes, value in said]
    whole = {r.event_id for r in sort(messages, KNOWN, Recent(), NOW).readings}
    recent, parts = Recent(), []
    while messages:
        size = random.randint(1, 5)
        batch, messages = messages[:size], messages[size:]
        out = sort(batch, KNOWN, recent, NOW)
        parts += [r.event_id for r in out.readings]
        for device_id, seen in out.seen:
            recent.accept(device_id, seen)
    assert (set(parts), len(parts)) == (whole, len(whole))


def test_equal_values_under_different_counts_of_the_device_are_two_measurements():
    pair = [heard(fingerstick(minutes, glucose=110, seq=seq)) for minutes, seq in ((5, 1), (4, 2))]
    assert [reading.flags for reading in sort(pair, KNOWN, Recent(), NOW).readings] == [(), ()]
    recent = Recent()
    for one in pair:
        out = sort([one], KNOWN, recent, NOW)
        assert out.tally.echoes == 0
        recent.accept(*out.seen[0])


@given(st.integers(0, 450), st.integers(0, 450))
def test_an_answer_in_pieces_says_the_same_and_every_piece_passes_the_broker(acked, refused):
    answer = wire.Answer(
        acked=tuple(UUID(int=n) for n in range(acked)),
        refused=tuple(wire.No(id=UUID(int=n), reason="r" * 30, detail="d" * 200) for n in range(refused)),
    )
    found = list(wire.pieces(answer))
    assert (
        wire.Answer(
            acked=tuple(name for one in found for name in one.acked),
            refused=tuple(no for one in found for no in one.refused),
        )
        == answer
    )
    assert all(len(msgspec.json.encode(one)) < 48 * 1024 for one in found)


# -- what devices said lately ----------------------------------------------------------------------------------------


def seen(n, hours, values=(120.0, 80.0, None)):
    return Seen(UUID(int=n), NOW + timedelta(hours=hours), values)


def test_an_unknown_past_is_asked_for_once_and_then_known():
    recent = Recent()
    assert recent.missing("cuff", NOW)
    recent.learn("cuff", NOW - REACH, [seen(1, -3)])
    assert not recent.missing("cuff", NOW)
    assert recent.missing("cuff", NOW - timedelta(hours=1))
    assert recent.has("cuff", UUID(int=1))
    assert recent.echo("cuff", seen(2, 0))


def test_the_memory_of_a_device_is_bounded_and_knows_what_it_forgot():
    recent = Recent(readings=MOST_PER_DEVICE)
    recent.learn("cuff", NOW - REACH, [])
    for n in range(MOST_PER_DEVICE * 3):
        recent.accept("cuff", seen(n, n, (float(n), 80.0, None)))
    assert sum(recent.has("cuff", UUID(int=n)) for n in range(MOST_PER_DEVICE * 3)) <= MOST_PER_DEVICE
    assert recent.missing("cuff", NOW)  # so far back it must ask again
    assert not recent.missing("cuff", NOW + timedelta(hours=MOST_PER_DEVICE * 3) + REACH)


def test_the_number_of_devices_remembered_is_bounded():
    recent = Recent(devices=10, readings=20)
    for n in range(100):
        recent.accept(f"cuff-{n}", seen(n, 0))
    assert sum(recent.echo(f"cuff-{n}", seen(1_000, 3)) is not None for n in range(100)) == 10
    assert sum(recent.has(f"cuff-{n}", UUID(int=n)) for n in range(100)) == 20


def test_a_resent_window_is_recognised_even_when_the_device_said_much_since():
    recent = Recent()
    for n in range(MOST_PER_DEVICE * 4):
        recent.accept("meter", seen(n, n))
    assert all(recent.has("meter", UUID(int=n)) for n in range(MOST_PER_DEVICE * 4))


def test_a_time_at_the_edge_of_the_calendar_is_no_exception():
    for edge in ("9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"):
        heard(fingerstick(gateway_time=edge, sent_at=edge, measured_at=edge, device_now=edge))


def test_claims_stay_within_what_can_be_stored_whatever_the_message_says():
    message = heard(fingerstick(measured_at="9999-12-31T23:59:59", gateway_time="9999-12-31T23:59:59Z"))
    low, high = claims(message.said[0], NOW)
    assert low - REACH < high + REACH


# -- who is there ----------------------------------------------------------------------------------------------------


def test_the_newest_of_a_gateway_is_told_once_and_what_came_meanwhile_is_kept():
    roll = Roll()
    roll.heartbeat("gw", msgspec.json.encode(wire.Heartbeat(at=NOW, outbox=1)), NOW)
    roll.heartbeat("gw", msgspec.json.encode(wire.Heartbeat(at=NOW, outbox=2)), NOW)
    told = roll.told()
    assert [presence.outbox for presence in told.gateways] == [2]
    roll.status("gw", b'{"online":false}', NOW)
    roll.written(told)
    assert [presence.online for presence in roll.told().gateways] == [False]
    assert roll.told().gateways[0].outbox == 2
    roll.written(roll.told())
    assert not any(roll.told())


def test_presence_that_makes_no_sense_is_nobodys_news():
    roll = Roll()
    for junk in (
        b"",
        b"{}",
        b"\xff",
        b'{"at":"yesterday"}',
        b'{"at":"2026-03-02T12:00:00","outbox":-1}',
        b'{"at":"2026-03-02T12:00:00Z","agent":"a\\u0000"}',
    ):
        roll.heartbeat("gw", junk, NOW)
        roll.status("gw", junk, NOW)
    assert not any(roll.told())


def test_news_of_a_device_replaces_older_news():
    roll = Roll()
    for percent in (50.0, 40.0):
        roll.news("gw", News(device_id="cuff", event="battery", battery_percent=percent, at=NOW))
    assert [said.battery_percent for _, said in roll.told().devices] == [40.0]


def test_raw_bytes_survive_the_journey_into_a_reading_and_back():
    raw = msgspec.json.encode(
        fingerstick() | {"raw": base64.b64encode(b"03-02-2026\t07:00\t58\t100").decode()}
    )
    (reading,) = sort([heard(raw)], KNOWN, Recent(), NOW).readings
    assert reading.raw == raw


# What is too large -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["canonical", "withings", "ihealth", None])
@pytest.mark.parametrize("size", [LARGEST + 1, LARGEST + 2, 1_100_000])
def test_a_refusal_fits_into_kafka_and_says_what_was_cut(family, size):
    raw = b"x" * size
    (refused,) = sort([heard(raw, family=family)], KNOWN, Recent(), NOW).refused
    assert refused.reason == ("unknown-family" if family is None else "too-large")
    assert refused.raw == raw[:KEPT]
    assert len(msgspec.json.encode(refused)) < 100_000  # a record of Kafka has at most a million
    assert (f"of its {size:,} bytes the first 65,537 are kept" in refused.detail) == (size > KEPT)


def test_what_was_cut_is_still_too_large_when_it_comes_again_and_two_with_one_beginning_are_two():
    one, other = (b"x" * LARGEST * 2 + end for end in (b"1", b"2"))
    first, second = sort([heard(one), heard(other)], KNOWN, Recent(), NOW).refused
    assert first.event_id != second.event_id
    (again,) = heard(first.raw).said
    assert again.reason == "too-large"


def test_what_kafka_does_not_take_is_neither_answered_nor_remembered_nor_counted():
    kept, large, echo = (
        fingerstick(),
        fingerstick(minutes_ago=9, glucose=250),
        fingerstick() | {"glucose": "?"},
    )
    again = Again(refusal_id=uuid4(), part=0, received_at=NOW, released_at=NOW)
    out = sort([heard(kept), heard(large)._replace(again=again), heard(echo)], KNOWN, Recent(), NOW)
    lost = next(one for one in out.readings if one.glucose == 250)
    out.leave_out({lost.event_id, out.refused[0].event_id})
    assert [one.glucose for one in out.readings] == [100]
    assert [seen.reading_id for _, seen in out.seen] == [one.event_id for one in out.readings]
    assert out.answers == {"gw": wire.Answer(acked=(UUID(kept["id"]),))}
    assert out.again == {again.refusal_id: None}
    assert (out.tally.received, out.tally.accepted, out.tally.unkept, out.tally.refused) == (3, 1, 2, {})
