"""The same facts in any order, told once or a hundred times, late, corrected, replayed: what is known in the end is the same.

No servers: the real rules of the door, the archive's identity and the scorer's memory, with dictionaries for tables.
Printed with `-s`: how many permutations, and how many of them ended elsewhere.
"""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from ingest.corrections import Change, correct, withdraw
from ingest.events import Kind, Withdrawn
from ingest.identity import Assignment, Device, Gateway
from ingest.recent import Recent
from ingest.set_aside import By
from ingest.sorting import Known, read, sort
from ingest.verdict import Again
from risk.measures import NO_PLAN
from risk.scoring import Model, score_all, without
from tests.faults.ordeal import ROUNDS, SEED

pytestmark = pytest.mark.fault

PERMUTATIONS = 3 * ROUNDS
START = datetime(2026, 1, 5, 7, tzinfo=UTC)
DAYS = 59
END = START + timedelta(days=DAYS)
LATEST = timedelta(days=59)
MARIA = UUID(int=0xA11A)
NURSE = By(None, "Ana")
CUFF = Device(1, [Assignment(MARIA, START - timedelta(days=900), None, "UTC")], True)
DRAWER = Device(1, (), False)
BEFORE = Known({"hall": Gateway(1), "spare": Gateway(1)}, {"cuff": CUFF, "new-cuff": DRAWER})
AFTER = Known(BEFORE.gateways, {"cuff": CUFF, "new-cuff": CUFF})
"""First a cuff lies in the drawer; in the end it is Maria's, and what was set aside comes again."""


def said(device, n, at):
    return {
        "device": device, "kind": "bp", "systolic": 110 + n % 37, "diastolic": 70 + n % 11, "pulse": 60 + n % 13,
        "measured_at": at.isoformat(), "seq": n,
    }  # fmt: skip


FACTS = [
    said("new-cuff" if n % 10 == 0 else "cuff", n, START + timedelta(hours=12 * n, seconds=17 * n))
    for n in range(2 * DAYS)
]


def told(dice):
    """Every fact one to a hundred times, by two gateways, each time under the name of another outbox row or the same."""
    for fact in FACTS:
        at = datetime.fromisoformat(fact["measured_at"])
        copies = dice.choice([1, 1, 1, 2, 3, 5, 100 if dice.random() < 0.1 else 7])
        name = str(uuid4())
        for _ in range(copies):
            arrives = at + timedelta(seconds=1) + dice.random() * LATEST
            yield arrives, dice.choice(["hall", "spare"]), fact | {"id": dice.choice([name, str(uuid4())])}


class House:
    """Door, archive and trend of one household."""

    def __init__(self):
        self.recent, self.archive, self.taken_back, self.memories, self.waiting = Recent(), {}, {}, {}, []

    def hear(self, message, now, known):
        found = sort([message], known, self.recent, now)
        for reading in found.readings:
            self.keep(reading)
        for device, seen in found.seen:
            self.recent.accept(device, seen)
        if message.again is None:
            self.waiting += [(message, refused) for refused in found.refused]

    def keep(self, event):
        """As the archive keeps it: an identity once."""
        if isinstance(event, Withdrawn):
            if self.taken_back.setdefault(event.reading.event_id, event) is event:
                key = (MARIA, Kind.BLOOD_PRESSURE)
                self.memories[key], _ = without(self.memories[key], event.reading)
        elif self.archive.setdefault(self.name(event), event) is event:
            score_all(self.memories, [event], [NO_PLAN], Model())

    def name(self, event):
        return event.event_id

    def corrected(self, dice):
        """Four readings get other numbers, two are taken back, each said once or twice; which ones never changes."""
        chosen = sorted(self.archive.values(), key=lambda one: (one.effective_at, one.event_id))
        for place, reading in enumerate(chosen[5:65:10]):
            if place % 3 == 2:
                facts = [withdraw(reading, by=NURSE, reason="the cat", now=END)]
            else:
                change = Change({"systolic": reading.systolic + 3})
                facts = list(correct(reading, change, by=NURSE, reason="misread", now=END))
            for _ in range(dice.choice([1, 2])):
                for fact in facts:
                    self.keep(fact)

    def replay(self, dice):
        """What was set aside comes again, twice, in any order, when its device has an owner."""
        orders = self.waiting * 2
        dice.shuffle(orders)
        for message, refused in orders:
            again = Again(
                refusal_id=refused.event_id, part=refused.part, received_at=refused.received_at,
                released_at=END, clock_error=None, decided=None, caused_by=None,
            )  # fmt: skip
            self.hear(message._replace(again=again), END, AFTER)

    def chart(self):
        """What anybody sees in the end: the facts without how they came, and what the scorer remembers."""
        gone = {self.name(event.reading) for event in self.taken_back.values()}
        return {
            (
                str(name),
                one.patient_id,
                one.effective_at,
                one.time_confidence,
                one.systolic,
                one.diastolic,
                one.pulse,
                one.flags,
            )
            for name, one in self.archive.items()
            if name not in gone
        }


class Naive(House):
    """Broken on purpose: a reading is known by the message that brought it."""

    def name(self, event):
        return event.caused_by


def lived(dice, kind):
    """One permutation: everything in its own order of arrival, then replays and corrections."""
    house = kind()
    for arrives, gateway, message in sorted(told(dice), key=lambda one: one[0]):
        decoded, _ = read(gateway, "canonical", msgspec.json.encode(message))
        house.hear(decoded, arrives, BEFORE)
    house.replay(dice)
    house.corrected(dice)
    return house


def judged(kind, permutations):
    dice = random.Random(SEED)
    houses = [lived(dice, kind) for _ in range(permutations)]
    first = houses[0]
    return (
        first,
        sum(house.chart() != first.chart() for house in houses),
        sum(house.memories != first.memories for house in houses),
    )


def test_the_order_and_the_number_of_tellings_change_nothing_that_is_known_in_the_end(capsys):
    first, charts, memories = judged(House, PERMUTATIONS)
    with capsys.disabled():
        print(
            f"\n  {PERMUTATIONS} permutations of {len(FACTS)} facts told 1 to 100 times, up to {LATEST.days} days late, "
            f"one in ten set aside and replayed twice, 4 corrected, 2 taken back (seed {SEED}): "
            f"charts differing {charts}, scorer's memories differing {memories}"
        )
    assert len(first.chart()) == len(FACTS) - 2
    assert (charts, memories) == (0, 0)


def test_a_house_that_knows_readings_by_their_messages_ends_elsewhere_each_time(capsys):
    """The negative control."""
    first, charts, _ = judged(Naive, 4)
    with capsys.disabled():
        print(
            f"\n  known by message: charts differing {charts} of 3, rows {len(first.chart())} for {len(FACTS)} facts"
        )
    assert charts == 3
