"""Times in the spellings devices and clouds use."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.devices import field, timestamp

WALL = "2026-03-02T07:41:09"
SPELLINGS = [
    ("2026-03-02T07:41:09", WALL),
    ("2026-03-02 07:41:09", WALL),
    ("2026-03-02T07:41", "2026-03-02T07:41:00"),
    ("2026-03-02T07:41:09.5", "2026-03-02T07:41:09.500000"),
    ("2026-03-02T07:41:09,123456789", "2026-03-02T07:41:09.123456"),
    ("2026-03-02T07:41:09Z", WALL + "+00:00"),
    ("2026-03-02T07:41:09.000z", WALL + "+00:00"),
    ("2026-03-02T07:41:09-05:00", "2026-03-02T12:41:09+00:00"),
    ("2026-03-02T07:41:09+0545", "2026-03-02T01:56:09+00:00"),
    ("2026-03-02T07:41:09+14", "2026-03-01T17:41:09+00:00"),
    (" 2026-03-02 07:41:09 -05:00 ", "2026-03-02T12:41:09+00:00"),
    ("2026-03-02T07:41:09-20:00", None),
    ("2026-03-02T07:41:09+05:07", None),
    ("2026-02-30T07:41:09", None),
    ("2026-03-02T56:35:00", None),
    ("2026-W10-1T07:41:09", None),
    ("20260302T074109", None),
    ("2026-03-02", None),
    ("+026-03-02T07:41:09", None),
    ("0001-01-01T00:00:00+14:00", None),
    ("yesterday", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "moment"), SPELLINGS, ids=[repr(text) for text, _ in SPELLINGS])
def test_spelling(text, moment):
    found = timestamp.parse(text)
    assert (found.isoformat() if found else None) == moment


@given(text=st.text(max_size=45))
def test_any_text_is_a_time_or_none(text):
    timestamp.parse(text)


@given(moment=st.datetimes(datetime.fromisoformat("1971-01-01"), datetime.fromisoformat("2099-12-31")))
def test_what_is_written_is_read_back(moment):
    assert timestamp.parse(moment.isoformat()) == moment
    aware = moment.replace(tzinfo=UTC)
    assert timestamp.parse(aware.isoformat()) == aware


@given(count=st.floats() | st.integers() | st.text(max_size=30))
def test_any_epoch_is_an_instant_or_none(count):
    found = field.epoch(count)
    assert found is None or found.tzinfo is UTC
