"""Where everybody of a practice stands: kept, and told anew only for whom something was said since."""

from collections.abc import Mapping
from datetime import datetime
from itertools import groupby
from typing import Any, LiteralString
from uuid import UUID

import msgspec
import psycopg

from risk.events import Scored
from risk.population import FORGOTTEN, LOOKED_AT, Told, told

Connection = psycopg.AsyncConnection[Any]
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Told).decode
_decode_score = msgspec.json.Decoder(Scored).decode

KEPT: LiteralString = """
    SELECT spoken.patient_id, spoken.said::int, kept.said = spoken.said, kept.told
      FROM (SELECT patient_id, sum(said) AS said FROM risk.memory GROUP BY patient_id) AS spoken
      LEFT JOIN risk.standing AS kept USING (patient_id)
     ORDER BY spoken.patient_id
"""
# The week before each one's newest score: what stands earlier is history.
WEEK: LiteralString = """
    SELECT week.patient_id, week.scored FROM unnest(%(patients)s::uuid[]) AS person (patient_id),
           LATERAL (SELECT effective_at FROM risk.score r
                     WHERE r.patient_id = person.patient_id AND r.effective_at >= %(since)s
                       AND NOT EXISTS (SELECT FROM risk.retraction t WHERE t.reading_id = r.reading_id)
                     ORDER BY effective_at DESC LIMIT 1) AS newest,
           LATERAL (SELECT patient_id, effective_at, scored FROM risk.score r
                     WHERE r.patient_id = person.patient_id AND r.effective_at <= newest.effective_at
                       AND r.effective_at > newest.effective_at - %(week)s
                       AND NOT EXISTS (SELECT FROM risk.retraction t WHERE t.reading_id = r.reading_id)) AS week
     ORDER BY week.patient_id, week.effective_at
"""
KEEP: LiteralString = """
    INSERT INTO risk.standing (practice_id, patient_id, said, told)
    SELECT * FROM unnest(%b::int[], %b::uuid[], %b::int[], %b::bytea[])
    ON CONFLICT (patient_id) DO UPDATE SET said = excluded.said, told = excluded.told
     WHERE risk.standing.said <= excluded.said
"""


async def kept(conn: Connection) -> tuple[dict[UUID, Told], dict[UUID, int]]:
    """What was told of everybody whom this transaction may see, and for whom it must be told anew, as of how many words.

    What an earlier version kept in another shape is told anew.
    """
    found: dict[UUID, Told] = {}
    stale: dict[UUID, int] = {}
    for patient, said, fresh, words in await (await conn.execute(KEPT, binary=True)).fetchall():
        if (told := _read(words)) is not None:
            found[patient] = told
        if not fresh or told is None:
            stale[patient] = said
    return found, stale


def _read(words: bytes | None) -> Told | None:
    try:
        return _decode(words) if words is not None else None
    except msgspec.DecodeError:  # ValidationError is one
        return None


async def tell_anew(
    conn: Connection, practice: int, stale: Mapping[UUID, int], *, now: datetime
) -> dict[UUID, Told]:
    """Read the last week of these patients, tell where they stand, and keep it unless somebody has kept a later word.

    The scores are read after the words were counted: they may say one more, never one less.
    """
    if not stale:
        return {}
    people = sorted(stale)
    asked = {"patients": people, "since": now - FORGOTTEN, "week": LOOKED_AT}
    rows = await (await conn.execute(WEEK, asked, binary=True)).fetchall()
    found = dict.fromkeys(people, Told()) | {
        patient: told([_decode_score(scored) for _, scored in some])
        for patient, some in groupby(rows, key=lambda row: row[0])
    }
    await conn.execute(
        KEEP,
        (
            [practice] * len(people),
            people,
            [stale[one] for one in people],
            [_encode(found[one]) for one in people],
        ),
    )
    return found
