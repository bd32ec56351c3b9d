"""A batch of messages becomes readings, refusals and answers: everything between hearing and telling, and all of it pure."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from ingest import devices, wire
from ingest.devices.measurement import Measurement, Reason, Refusal, Said, refuse
from ingest.events import Kind, Reading, Refused, TimeConfidence
from ingest.identity import Device, Gateway, claimed_numbers
from ingest.quality import Seen
from ingest.recent import REACH, Recent
from ingest.verdict import ECHO, LARGEST, NOBODY, Again, Carrier, News, People, printable, verdict

LATE = timedelta(hours=1)
EARLIEST, LATEST = datetime(1971, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC)
"""Between them every instant can be moved by a day and stored; a message may name the year 9999."""


class Message(NamedTuple):
    """What one gateway sent, decoded."""

    gateway_id: str
    raw: bytes
    said: tuple[Said, ...]
    place: str = wire.CANONICAL
    again: Again | None = None  # it was set aside once, and is looked at anew

    def heard_at(self, now: datetime) -> datetime:
        """When it came: now, unless it comes again."""
        return now if self.again is None else self.again.received_at


class Ask(NamedTuple):
    """A device heard through a gateway (or none: ""), and the span its readings may fall into."""

    gateway_id: str
    device_id: str
    since: datetime
    until: datetime


class Past(NamedTuple):
    """Which readings of a device the archive is asked for."""

    patient_id: UUID
    device_id: str
    since: datetime
    until: datetime


class Known(NamedTuple):
    """What the registry knows of a batch."""

    gateways: Mapping[str, Gateway]
    devices: Mapping[str, Device]
    people: People = NOBODY


@dataclass(slots=True, kw_only=True)
class Tally:
    """One batch in numbers; the keys of `refused` are a closed set of reasons."""

    received: int = 0
    accepted: int = 0
    duplicates: int = 0
    echoes: int = 0
    late: int = 0
    suspect_clock: int = 0
    unkept: int = 0  # larger than Kafka takes
    refused: Counter[str] = field(default_factory=Counter)
    ack_seconds: float = 0.0  # from taking the batch to its acknowledgement


@dataclass(slots=True, kw_only=True)
class Sorted:
    """A batch, sorted. `answers` may be told only when Kafka has `readings` and `refused`."""

    readings: list[Reading] = field(default_factory=list)
    seen: list[tuple[str, Seen]] = field(
        default_factory=list
    )  # the readings, by device, as `Recent` remembers them
    refused: list[Refused] = field(default_factory=list)
    news: list[tuple[str, News]] = field(default_factory=list)
    answers: dict[str, wire.Answer] = field(default_factory=dict)
    again: dict[UUID, Reading | Refused | News | None] = field(
        default_factory=dict
    )  # what became of each refusal that came again; None: it was left out
    tally: Tally = field(default_factory=Tally)

    @property
    def facts(self) -> list[Reading | Refused]:
        """What goes to Kafka, in this order."""
        return [*self.readings, *self.refused]

    def leave_out(self, unkept: Collection[UUID]) -> None:
        """Kafka will not have these: nobody is told that they are safe, nothing remembers them, so they may come again."""
        lost = [one for one in self.facts if one.event_id in unkept]
        names = {one.caused_by for one in lost}
        self.readings = [one for one in self.readings if one.event_id not in unkept]
        self.refused = [one for one in self.refused if one.event_id not in unkept]
        self.seen = [(device, seen) for device, seen in self.seen if seen.reading_id not in unkept]
        self.again = {name: None if became in lost else became for name, became in self.again.items()}
        self.answers = {
            gateway: wire.Answer(
                acked=tuple(name for name in said.acked if name not in names),
                refused=tuple(no for no in said.refused if no.id not in names),
            )
            for gateway, said in self.answers.items()
        }
        self.tally.unkept = len(lost)
        _count(self)


def read(
    gateway_id: str,
    family: str | None,
    payload: bytes,
    decode: Callable[[str, bytes], tuple[Said, ...]] = devices.decode,
    *,
    place: str | None = None,
) -> tuple[Message, Exception | None]:
    """The message decoded, whatever it is; an exception is a fault of ours that must not stop those behind it.

    `place` is where it was said; unless told, where a payload of this family is said.
    """
    if place is None:
        place = wire.CANONICAL if family == "canonical" else f"{wire.CANONICAL}/{family}"
    failed = None
    if family is None:
        said: tuple[Said, ...] = refuse(Reason.UNKNOWN_FAMILY, "nothing is expected on this topic")
    elif len(payload) > LARGEST:
        said = refuse(Reason.TOO_LARGE, "larger than any device's message")
    else:
        try:
            said = decode(family, payload)
        except Exception as error:  # noqa: BLE001 - decoders never raise, and if one does, it is reported, not obeyed
            said, failed = refuse(Reason.CONTRADICTION, "the decoder failed on this message"), error
    return Message(gateway_id, payload, said, place), failed


def asks(messages: Iterable[Message], now: datetime) -> list[Ask]:
    """One question per pair of gateway and device, spanning everything heard of that device."""
    spans: dict[tuple[str, str], tuple[datetime, datetime]] = {}
    for message in messages:
        for said in message.said:
            pair = message.gateway_id, printable(said.device) or ""
            low, high = claims(said, message.heard_at(now))
            old = spans.get(pair)
            spans[pair] = (low, high) if old is None else (min(old[0], low), max(old[1], high))
    return [Ask(*pair, low - REACH, high + REACH) for pair, (low, high) in spans.items()]


def pasts(messages: Iterable[Message], known: Known, recent: Recent, now: datetime) -> list[Past]:
    """What to ask the archive about devices whose past is not in memory."""
    spans: dict[tuple[str, UUID], tuple[datetime, datetime]] = {}
    for message in messages:
        for said in message.said:
            device = known.devices.get(said.device) if said.device is not None else None
            if device is None or not isinstance(said, Measurement):
                continue
            low, high = claims(said, message.heard_at(now))
            if recent.missing(said.device or "", low):
                patients = [assigned.patient_id for assigned in device.assignments]
                if message.again is not None and message.again.decided is not None:
                    patients.append(message.again.decided.patient_id)
                for patient in patients:
                    who = said.device or "", patient
                    old = spans.get(who, (low, high))
                    spans[who] = min(old[0], low), max(old[1], high)
    return [
        Past(patient, device, low - REACH, high + REACH) for (device, patient), (low, high) in spans.items()
    ]


def numbers(messages: Iterable[Message]) -> list[str]:
    """Every record number that a message claims to be about."""
    said = (said.claimed for message in messages for said in message.said if isinstance(said, Measurement))
    return list(dict.fromkeys(number for claimed in said if claimed for number in claimed_numbers(claimed)))


def claims(said: Said, now: datetime) -> tuple[datetime, datetime]:
    """The first and the last instant the clock doctor might choose; a wall clock is within REACH of UTC.

    >>> from ingest.events import Kind
    >>> cuff = Measurement(kind=Kind.BLOOD_PRESSURE, device_time=datetime(9999, 12, 31))
    >>> [at.year for at in claims(cuff, datetime(2026, 3, 2, tzinfo=UTC))]
    [2026, 2199]
    """
    moments = [now]
    if isinstance(said, Measurement):
        for moment in (said.gateway_time, said.device_time):
            if moment is not None:
                aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
                moments.append(min(max(aware, EARLIEST), LATEST))
    return min(moments), max(moments)


def sort(
    messages: Sequence[Message],
    known: Known,
    recent: Recent,
    now: datetime,
    failed: Callable[[Exception], None] = lambda _: None,
) -> Sorted:
    """Every message gets exactly one answer, and every fact goes out once; `recent` is asked, not told."""
    out = Sorted(tally=Tally(received=len(messages)))
    fresh: set[UUID] = set()
    alike: defaultdict[tuple[str, tuple[float | str | None, ...]], list[Seen]] = defaultdict(list)
    acked: defaultdict[str, list[UUID]] = defaultdict(list)
    noes: defaultdict[str, list[wire.No]] = defaultdict(list)
    for message in messages:
        no: Refused | None = None
        for said, outcome in _outcomes(message, known, now, failed):
            if message.again is not None:
                out.again[message.again.refusal_id] = outcome
            if isinstance(outcome, News):
                out.news.append((message.gateway_id, outcome))
            elif isinstance(outcome, Refused):
                no = outcome
                out.refused.append(outcome)
            elif outcome.event_id in fresh or recent.has(outcome.device_id, outcome.event_id):
                out.tally.duplicates += 1
            else:
                seen = summary(outcome, said)
                beside = alike[outcome.device_id, seen.values]
                if recent.echo(outcome.device_id, seen, beside):
                    outcome = msgspec.structs.replace(outcome, flags=(*outcome.flags, ECHO))  # noqa: PLW2901
                    out.tally.echoes += 1
                beside.append(seen)
                fresh.add(outcome.event_id)
                out.readings.append(outcome)
                out.seen.append((outcome.device_id, seen))
        name = next((said.message_id for said in message.said if said.message_id is not None), None)
        name = name or wire.nameless(message.gateway_id, message.raw, message.place)
        if no is None:
            acked[message.gateway_id].append(name)
        else:
            noes[message.gateway_id].append(wire.No(id=name, reason=no.reason, detail=no.detail))
    out.answers = {
        gateway: wire.Answer(acked=tuple(acked[gateway]), refused=tuple(noes[gateway]))
        for gateway in dict.fromkeys((*acked, *noes))
    }
    _count(out)
    return out


def summary(reading: Reading, said: Said) -> Seen:
    """As much of a reading as it takes to recognise it; the values are those of `quality.values`."""
    if reading.kind is Kind.GLUCOSE:
        values: tuple[float | str | None, ...] = (
            reading.beyond.value if reading.beyond else reading.glucose,
        )
    else:
        values = (reading.systolic, reading.diastolic, reading.pulse)
    return Seen(
        reading.event_id, reading.effective_at, values, said.seq if isinstance(said, Measurement) else None
    )


def _outcomes(
    message: Message, known: Known, now: datetime, failed: Callable[[Exception], None]
) -> Iterator[tuple[Said, Reading | Refused | News]]:
    gateway = known.gateways.get(message.gateway_id)
    if gateway is not None and message.again is not None:
        gateway = gateway._replace(clock_error=message.again.clock_error)
    carrier = Carrier(
        gateway_id=message.gateway_id,
        gateway=gateway,
        raw=message.raw,
        received_at=message.heard_at(now),
        place=message.place,
        again=message.again,
    )
    for part, said in enumerate(message.said):
        if message.again is not None and part != message.again.part:
            continue
        device = known.devices.get(said.device) if said.device is not None else None
        try:
            yield said, verdict(said, carrier, device, part=part, people=known.people)
        except Exception as error:  # noqa: BLE001 - rules never raise, and if one does, those behind do not wait
            failed(error)
            detail = "a rule failed on this message"
            no = Refusal(
                reason=Reason.CONTRADICTION, detail=detail, device=said.device, message_id=said.message_id
            )
            yield no, verdict(no, carrier, device, part=part)


def _count(out: Sorted) -> None:
    out.tally.accepted = len(out.readings)
    out.tally.refused = Counter(refused.reason for refused in out.refused)
    out.tally.suspect_clock = sum(one.time_confidence is TimeConfidence.SUSPECT for one in out.readings)
    out.tally.late = sum(
        not one.history and one.received_at - one.effective_at > LATE for one in out.readings
    )
