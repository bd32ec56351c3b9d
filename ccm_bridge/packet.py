"""The audit packet of one patient's month: everything a claim rests on, as one JSON document. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec

from ccm_bridge import chain
from ccm_bridge.careplan import Plan
from ccm_bridge.enrolment import Consent, Enrolment
from ccm_bridge.month import Circumstance, Window
from ccm_bridge.origins import Measured

VERSION = 1
"""Of the document's form: fields are added within a version, never changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the verifier said of the practice's whole chains when the packet was made, and the newest anchor."""

    rows: Mapping[str, int]
    findings: Sequence[str]
    anchor: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that goes into a packet, gathered."""

    practice: str
    zone: str
    patient_name: str
    mrn: str
    born: date
    month: date
    made_at: datetime
    made_by: str
    facts: Mapping[str, Any]
    decision: Mapping[str, Any]
    frozen: Mapping[str, Any] | None  # facts and decision as they were locked, if they were
    enrolment: Enrolment | None
    consents: Sequence[Consent]
    plan: Plan | None
    copies: Sequence[Mapping[str, Any]]
    circumstances: Sequence[Circumstance]
    entries: Sequence[chain.Row]  # ledger rows, every column
    voids: Sequence[chain.Row]
    verdicts: Mapping[UUID, Sequence[Mapping[str, Any]]]  # what the rules took from an entry, and why
    windows: Sequence[Window]
    readings: Sequence[Measured]
    tasks: Sequence[Mapping[str, Any]]
    moves: Sequence[Mapping[str, Any]]
    letters: Sequence[Mapping[str, Any]]  # of the month, as they were given
    reviews: Sequence[Mapping[str, Any]]
    proof: Proof


def packet(said: Evidence) -> dict[str, Any]:
    """The packet as plain data, with its own SHA-256 over everything else.

    Each ledger row carries the exact text that was hashed, so that anybody can compute the hash again with any tool.
    """
    voided = {row["entry_id"]: row for row in said.voids}
    whole: dict[str, Any] = {
        "packet": {
            "version": VERSION,
            "practice": said.practice,
            "zone": said.zone,
            "month": f"{said.month:%Y-%m}",
            "made_at": said.made_at.isoformat(),
            "made_by": said.made_by,
            "status": "locked" if said.frozen else "not locked",
        },
        "patient": {"name": said.patient_name, "mrn": said.mrn, "born": said.born.isoformat()},
        "facts": dict(said.facts),
        "decision": dict(said.decision),
        "locked": dict(said.frozen) if said.frozen else None,
        "enrolment": said.enrolment,
        "consents": list(said.consents),
        "care_plan": said.plan,
        "care_plan_copies": list(said.copies),
        "circumstances": list(said.circumstances),
        "entries": [_entry(row, voided, said.verdicts) for row in said.entries],
        "device_windows": list(said.windows),
        "readings": [_reading(one) for one in said.readings],
        "tasks": list(said.tasks),
        "episode_moves": list(said.moves),
        "letters": list(said.letters),
        "reviews": list(said.reviews),
        "chain": {
            "rows_verified": dict(said.proof.rows),
            "findings": list(said.proof.findings),
            "newest_anchor": said.proof.anchor,
        },
    }
    plain: dict[str, Any] = msgspec.to_builtins(whole, enc_hook=_plain, order="sorted")
    plain["sha256"] = sha256(as_json(plain)).hexdigest()
    return plain


def as_json(plain: Mapping[str, Any]) -> bytes:
    """A packet's bytes, keys sorted: what the SHA-256 is over when `sha256` itself is left out."""
    return msgspec.json.encode(plain, order="sorted")


def whole(plain: Mapping[str, Any]) -> bool:
    """Whether a packet is as it was made."""
    rest = {name: value for name, value in plain.items() if name != "sha256"}
    return sha256(as_json(rest)).hexdigest() == plain.get("sha256")


def _entry(
    row: chain.Row,
    voided: Mapping[Any, chain.Row],
    verdicts: Mapping[UUID, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    gone = voided.get(row["entry_id"])
    entry_id = row["entry_id"]
    took = verdicts.get(entry_id, ()) if isinstance(entry_id, UUID) else ()
    return {
        **{name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()},
        "canonical": chain.sealed(row).decode(),
        "void": {name: value.hex() if isinstance(value, bytes) else value for name, value in gone.items()}
        if gone
        else None,
        "excluded": [one for one in took if one["outcome"] != "WARN"],
        "remarks": [one for one in took if one["outcome"] == "WARN"],
        "counts": gone is None and not any(one["outcome"] in ("EXCLUDE", "BLOCK", "HOLD") for one in took),
    }


def _reading(one: Measured) -> dict[str, Any]:
    return {
        "reading_id": one.reading_id,
        "message_id": one.caused_by,
        "value": one.value,
        "device_id": one.device_id,
        "gateway_id": one.gateway_id,
        "device_time": one.device_time,
        "effective_at": one.effective_at,
        "received_at": one.received_at,
        "time_rule": one.time_rule,
        "flags": list(one.flags),
        "raw_hex": one.raw.hex(),
        "raw_sha256": sha256(one.raw).hexdigest(),
    }


def _plain(value: Any) -> Any:
    """Sets as sorted lists; nothing else in a packet needs help."""
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    raise NotImplementedError(f"a packet cannot hold {type(value).__name__}")
