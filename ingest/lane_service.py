"""The lane "whose reading is this?": whose it may be, and a person's decision, for the page and the command line."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from ingest import set_aside_store as store
from ingest.set_aside import By

MOST_NEAR = 8


class Trouble(StrEnum):
    """Why a decision is not taken; in words."""

    NOT_HERE = "There is no such thing here."
    NO_QUESTION = "Of one of these nobody asks whose it is: it was refused for another reason."
    NO_PATIENT = "No patient of this practice has that record number. Nothing was changed."
    NO_REASON = "Say why, in a few words: it stays with the record."
    DECIDED = "Somebody has decided one of these meanwhile. Nothing was changed; look again."


class Near(NamedTuple):
    """A patient whose reading it may be, and what speaks for that."""

    patient_id: UUID
    why: str


async def decide(
    conn: AsyncConnection,
    refusal_ids: Sequence[UUID],
    patient: UUID | str | None,
    *,
    reason: str,
    by: By,
    now: datetime,
) -> Trouble | None:
    """These are this patient's (an id, or the record number of one), or nobody's (None: then a reason is needed).

    All of them or none: on trouble the caller rolls its transaction back.
    """
    if patient is None and not reason:
        return Trouble.NO_REASON
    for refusal_id in refusal_ids:
        held = await store.held(conn, refusal_id)
        if held is None:
            return Trouble.NOT_HERE
        if not held.in_lane:
            return Trouble.NO_QUESTION
        if patient is None:
            done = await store.resolve(conn, refusal_id, by=by, now=now, reason=reason, act="nobody")
        else:
            whose = await store.patient(conn, patient, held.practice_id)
            if whose is None:
                return Trouble.NO_PATIENT
            ordered = await store.ask_again(conn, refusal_id, by=by, now=now, reason=reason, patient_id=whose)
            done = ordered is not None
        if not done:
            return Trouble.DECIDED
    return None


def near(rows: Iterable[Mapping[str, Any]], device: str, gateway: str) -> list[Near]:
    """Out of `store.candidates`, those for one device heard through one gateway: the likeliest first, each once.

    >>> row = {"patient_id": UUID(int=1), "device_id": "cuff-7", "gateway_id": "", "now_has": True, "slot": 2}
    >>> near([row], "cuff-7", "gw")[0].why
    'has this device as user 2'
    """
    found: dict[UUID, tuple[int, str]] = {}
    for row in rows:
        if row["device_id"] == device and device:
            slot = "" if row["slot"] is None else f" as user {row['slot']}"
            said = (0, f"has this device{slot}") if row["now_has"] else (1, f"had this device{slot}")
        elif row["gateway_id"] == gateway:
            said = 2, "measures through the same gateway"
        else:
            continue
        found[row["patient_id"]] = min(said, found.get(row["patient_id"], said))
    ranked = sorted(found.items(), key=lambda one: (one[1], str(one[0])))
    return [Near(one, why) for one, (_, why) in ranked[:MOST_NEAR]]
