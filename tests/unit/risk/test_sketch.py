"""The axes of a patient's pictures."""

from datetime import UTC, datetime, timedelta

import pytest

from risk.sketch import LEFT, RIGHT, WIDTH, _Axis

FIRST = datetime(2026, 11, 13, 7, tzinfo=UTC)


@pytest.mark.parametrize("span", [timedelta(0), timedelta(hours=5), timedelta(days=3.5), timedelta(days=90)])
def test_a_date_stands_once_below_a_picture_from_left_to_right(span):
    axis = _Axis(FIRST, FIRST + span, UTC)
    places, dates = zip(*axis.days(), strict=True)
    assert len(set(dates)) == len(dates) <= 6
    assert list(places) == sorted(places)
    assert dates[0] == "13 Nov" and places[0] >= LEFT and places[-1] < WIDTH - RIGHT
