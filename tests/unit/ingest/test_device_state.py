"""Why a device is silent, in a table: the first cause that holds is told."""

from datetime import UTC, datetime, timedelta

import pytest

from ingest.web import device_state

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ASSIGNED = {
    "shared": False, "patient_id": 1, "battery_percent": 80, "gateway_id": "gw", "time_confidence": "high",
    "last_event": None, "last_event_at": None, "effective_at": NOW - timedelta(days=4),
}  # fmt: skip
ONLINE, OFFLINE = {"gw": ("ok", "online")}, {"gw": ("bad", "offline")}
CLEARED = {"last_event": "reminder_cleared", "last_event_at": NOW - timedelta(days=1)}

CASES = {
    "measured yesterday": (ONLINE, {"effective_at": NOW - timedelta(days=1)}, "measuring"),
    "nobody has it": (ONLINE, {"patient_id": None}, "assigned to nobody"),
    "a household's": (ONLINE, {"shared": True, "patient_id": None}, "shared: ask whose"),
    "flat": (OFFLINE, {"battery_percent": 3}, "battery 3 %"),
    "new": (ONLINE, {"effective_at": None, "time_confidence": None}, "no reading yet"),
    "a clock nobody trusts": (ONLINE, {"time_confidence": "suspect"}, "its clock is wrong"),
    "the gateway is away": (OFFLINE, CLEARED, "gateway offline"),
    "the patient pressed the reminder away": (ONLINE, CLEARED, "reminder cleared without measuring"),
    "and measured after that": (
        ONLINE,
        CLEARED | {"effective_at": NOW - timedelta(days=3), "last_event_at": NOW - timedelta(days=5)},
        "not measured for days",
    ),
    "the patient skips": (ONLINE, {}, "not measured for days"),
}


@pytest.mark.parametrize(("gateways", "more", "cause"), CASES.values(), ids=CASES)
def test_a_device_is_shown_with_the_cause_of_its_silence(gateways, more, cause):
    assert device_state(ASSIGNED | more, gateways, now=NOW)[1] == cause
