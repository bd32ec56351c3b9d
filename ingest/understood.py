"""What a decoder understood, as plain JSON for a person: the answer of `lamplight ingest decode`."""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from ingest import clock, quality
from ingest.devices.measurement import Answer, DeviceEvent, Measurement, Refusal, Said

UNITS = {"systolic": "mm[Hg]", "diastolic": "mm[Hg]", "map": "mm[Hg]", "pulse": "/min", "glucose": "mg/dL"}
READING, EVENT, REFUSAL = "reading", "event", "refusal"


def report(answer: Answer, *, family: str, received_at: datetime, zone: tzinfo) -> dict[str, Any]:
    """Everything at once: what was said, one entry each, and the first reading's fields on top.

    A payload with a blood pressure and a glucose shows both on top; several readings of one kind are only all
    there under `readings`.
    """
    told = [_told(said, received_at=received_at, zone=zone) for said in answer]
    by_type = {kind: [one for one in told if one["type"] == kind] for kind in (READING, EVENT, REFUSAL)}
    found = by_type[READING] or by_type[EVENT] or by_type[REFUSAL]
    top = dict(found[0])
    for other in by_type[READING][1:]:
        if other["kind"] != top["kind"]:
            top.update({name: other[name] for name in (*UNITS, "beyond") if top[name] is None})
    return {
        "family": family,
        **top,
        "units": UNITS,
        "readings": by_type[READING],
        "events": by_type[EVENT],
        "refusals": by_type[REFUSAL],
    }


def _told(said: Said, *, received_at: datetime, zone: tzinfo) -> dict[str, Any]:
    if isinstance(said, Refusal):
        return {
            **_shape(),
            "type": REFUSAL,
            "reason": said.reason,
            "detail": said.detail,
            "device": said.device,
        }
    common = {
        **_shape(),
        "kind": said.kind.value if said.kind is not None else None,
        "sent": {name: {"value": _plain(one.value), "unit": one.unit} for name, one in said.sent.items()},
        "absent": dict(said.absent),
        "device": said.device,
        "gateway": said.gateway,
        "message_id": str(said.message_id) if said.message_id is not None else None,
        "seq": said.seq,
        "user": _user(said.claimed),
        "claimed": sorted(said.claimed),
        "device_time": _iso(said.device_time),
        "device_time_sent": said.device_time_sent,
        "gateway_time": _iso(said.gateway_time),
        "utc_offset_minutes": said.utc_offset_minutes,
        "flags": list(said.flags),
    }
    if isinstance(said, DeviceEvent):
        return {
            **common,
            "type": EVENT,
            "event": said.event.value,
            "battery_percent": _plain(said.battery_percent),
        }
    return {**common, **_reading(said, received_at=received_at, zone=zone)}


def _shape() -> dict[str, Any]:
    """Every field there is, so that absent is always null and never missing."""
    return {
        "type": None,
        "kind": None,
        **dict.fromkeys(UNITS),
        "beyond": None,
        "event": None,
        "reason": None,
        "detail": None,
        "sent": {},
        "absent": {},
        "context": None,
        "flags": [],
        "doubts": [],
        "history": False,
        "device": None,
        "gateway": None,
        "message_id": None,
        "seq": None,
        "user": None,
        "claimed": [],
        "device_time": None,
        "device_time_sent": None,
        "gateway_time": None,
        "utc_offset_minutes": None,
        "battery_percent": None,
        "time": None,
    }


def _reading(said: Measurement, *, received_at: datetime, zone: tzinfo) -> dict[str, Any]:
    judged, doubts = quality.judge(said)
    at = clock.effective(judged, gateway_time=None, received_at=received_at, zone=zone)
    return {
        "type": READING,
        **{name: _plain(getattr(judged, name)) for name in UNITS},
        "beyond": judged.beyond.value if judged.beyond is not None else None,
        "context": judged.context.value if judged.context is not None else None,
        "flags": list(judged.flags),
        "doubts": list(doubts),
        "history": judged.history,
        "time": {
            "effective_at": at.at.isoformat(),
            "rule": at.rule.value,
            "confidence": at.confidence.value,
            "utc_offset_minutes": at.utc_offset_minutes,
            "received_at": received_at.isoformat(),
        },
    }


def _user(claimed: Mapping[str, str]) -> int | str | None:
    """The button a person pressed on a shared cuff: a number, nobody's identity."""
    user = claimed.get("user")
    return int(user) if user is not None and user.isdecimal() else user


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def _plain(value: Any) -> Any:
    """Whole numbers without a decimal point."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value  # noqa: PLR2004
