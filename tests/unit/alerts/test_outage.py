"""A channel that fails becomes technical work, and ends when it is known to work: every way there and back."""

from datetime import timedelta

import msgspec
import pytest

from alerts.escalation import Channel
from alerts.outage import Stuck, weigh
from tests.unit.alerts.ward import when

NOW = when("09:00")
LATER = NOW + timedelta(minutes=5)


def stuck(calls=1, failure="TimeoutError", *, sent_at=None, used=True):
    return Stuck(
        practice_id=1,
        channel=Channel.EMAIL,
        calls=calls,
        failure=failure if calls else None,
        sent_at=sent_at,
        used=used,
    )


OPEN = weigh(None, stuck(), now=NOW)
WAYS = [
    ("nothing is stuck and nothing was", None, stuck(0), None),
    ("the same again is no news", OPEN, stuck(), None),
    ("more calls wait", OPEN, stuck(3), {"calls": 3}),
    ("another cause", OPEN, stuck(1, "gaierror"), {"cause": "gaierror"}),
    ("one got out, another still waits", OPEN, stuck(sent_at=LATER), None),
    ("a call got out", OPEN, stuck(0, sent_at=LATER), {"calls": 0, "ended_at": LATER, "ended": "a call got out"}),
    ("what waited was given up: nobody knows yet whether it works", OPEN, stuck(0), {"calls": 0}),
    ("nobody is called that way any more", OPEN, stuck(0, used=False),
     {"calls": 0, "ended_at": LATER, "ended": "nobody is called that way any more"}),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "known", "told", "changes"), WAYS, ids=[way[0] for way in WAYS])
def test_what_becomes_of_an_outage(sentence, known, told, changes):
    became = weigh(known, told, now=LATER)
    assert became == (msgspec.structs.replace(known, **changes) if changes else None)


def test_it_begins_with_what_is_known_and_a_replay_begins_the_same_one():
    assert weigh(None, stuck(), now=NOW) == OPEN
    assert (OPEN.began_at, OPEN.cause, OPEN.calls, OPEN.ended_at) == (NOW, "TimeoutError", 1, None)
