"""The models in the database: which is live, which is in the shadow, and what the shadow said."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg

from risk.candidate import Beside, Candidate, CandidateRefused, Kind, model_of, shipped
from risk.drift import threshold
from risk.events import Scored
from risk.scoring import Model

Connection = psycopg.AsyncConnection[Any]
LEAST = 500
"""Readings scored beside the live model before a shadow may be promoted: days of a practice, not an afternoon."""

KEPT = timedelta(days=90)
"""How long the shadow's word stays: longer than anybody compares."""

TELL: LiteralString = """
    INSERT INTO risk.shadow (practice_id, patient_id, reading_id, model_version, kind, effective_at, tier,
                             drift_score, p_low_24h, p_low_7d)
    SELECT * FROM unnest(%b::int[], %b::uuid[], %b::uuid[], %b::text[], %b::text[], %b::timestamptz[], %b::text[],
                         %b::real[], %b::real[], %b::real[])
    ON CONFLICT DO NOTHING
"""
# Twice as many as came, so that it never falls behind; what another process is taking away is left to it.
FORGET: LiteralString = """
    DELETE FROM risk.shadow WHERE (model_version, reading_id) IN (
        SELECT model_version, reading_id FROM risk.shadow WHERE effective_at < %s
         ORDER BY effective_at LIMIT %s FOR UPDATE SKIP LOCKED)
"""
BESIDE: LiteralString = """
    SELECT count(*), count(DISTINCT s.patient_id),
           count(*) FILTER (WHERE s.drift_score >= %(line)s AND l.drift_score >= %(line)s),
           count(*) FILTER (WHERE l.drift_score >= %(line)s AND coalesce(s.drift_score, 0) < %(line)s),
           count(*) FILTER (WHERE s.drift_score >= %(line)s AND coalesce(l.drift_score, 0) < %(line)s),
           avg(abs(s.p_low_24h - l.p_low_24h))
      FROM risk.shadow s
      JOIN risk.score l ON l.patient_id = s.patient_id AND l.effective_at = s.effective_at  -- the index there is
                       AND l.reading_id = s.reading_id
     WHERE %(version)s = ANY(string_to_array(s.model_version, '+'))
"""


async def _in_state(conn: Connection, state: str) -> dict[Kind, Candidate]:
    rows = await conn.execute("SELECT content FROM risk.model WHERE state = %s", (state,))
    found = [Candidate.read(content) for (content,) in await rows.fetchall()]
    return {one.kind: one for one in found}


async def loaded(conn: Connection, packaged: Model) -> tuple[Model, Model | None]:
    """The live model and, if there is one, the shadow; a model that is not what it says stops the start, loudly."""
    live = await _in_state(conn, "live")
    beside = await _in_state(conn, "shadow")
    return model_of(packaged, live), model_of(packaged, live | beside) if beside else None


async def tell_shadow(conn: Connection, scored: Sequence[Scored]) -> None:
    """Write what the shadow said of a batch, and let go what it said long ago."""
    await conn.execute(
        TELL,
        (
            [one.practice_id for one in scored],
            [one.patient_id for one in scored],
            [one.caused_by for one in scored],
            [one.model_version for one in scored],
            [one.kind for one in scored],
            [one.effective_at for one in scored],
            [one.tier.value for one in scored],
            [one.drift_score for one in scored],
            [one.p_low_24h for one in scored],
            [one.p_low_7d for one in scored],
        ),
    )
    await conn.execute(FORGET, (max(one.received_at for one in scored) - KEPT, 2 * len(scored)))


async def listed(conn: Connection) -> Sequence[tuple[Any, ...]]:
    """Every model that was ever placed: version, kind, state, who, why, since."""
    rows = await conn.execute(
        "SELECT version, kind, state, by_name, reason, since FROM risk.model ORDER BY since"
    )
    return await rows.fetchall()


async def into_shadow(conn: Connection, candidate: Candidate, *, by: str, reason: str, now: datetime) -> None:
    """Place a model in the shadow; whoever stood there retires. A version is placed once and means one content."""
    await conn.execute(
        "UPDATE risk.model SET state = 'retired', since = %s WHERE kind = %s AND state = 'shadow'",
        (now, candidate.kind.value),
    )
    placed = await conn.execute(
        """INSERT INTO risk.model (version, kind, content, state, by_name, reason, since)
           VALUES (%s, %s, %s, 'shadow', %s, %s, %s) ON CONFLICT (version) DO NOTHING""",
        (candidate.version, candidate.kind.value, candidate.content, by, reason, now),
    )
    if placed.rowcount == 0 or candidate.version == shipped(candidate.kind).version:
        raise CandidateRefused(
            f"There is a model {candidate.version} already: give this one a name of its own."
        )


async def rivals(conn: Connection, version: str) -> tuple[Candidate, Candidate, Beside]:
    """The live model and the shadow of this name, and how their words compare."""
    row = await (
        await conn.execute(
            "SELECT content FROM risk.model WHERE version = %s AND state = 'shadow'", (version,)
        )
    ).fetchone()
    if row is None:
        raise CandidateRefused(f"No model {version} is in the shadow.")
    candidate = Candidate.read(row[0])
    live = (await _in_state(conn, "live")).get(candidate.kind) or shipped(candidate.kind)
    found = await (await conn.execute(BESIDE, {"version": version, "line": threshold(0.25)})).fetchone()
    assert found is not None  # noqa: S101 - an aggregate has one row
    readings, patients, both, live_alone, shadow_alone, differs = found
    return (
        live,
        candidate,
        Beside(
            readings=readings,
            patients=patients,
            both_loud=both,
            live_alone=live_alone,
            shadow_alone=shadow_alone,
            chance_differs=differs,
        ),
    )


async def promote(conn: Connection, version: str, *, by: str, reason: str, now: datetime) -> None:
    """The shadow becomes live and the live one retires, in this order; refused before it has been watched."""
    _, candidate, beside = await rivals(conn, version)
    if beside.readings < LEAST:
        raise CandidateRefused(
            f"{version} has scored {beside.readings} readings beside the live model; wanted {LEAST} at least."
        )
    await conn.execute(
        "UPDATE risk.model SET state = 'retired', since = %s WHERE kind = %s AND state = 'live'",
        (now, candidate.kind.value),
    )
    await conn.execute(
        """UPDATE risk.model SET state = 'live', by_name = %s, reason = %s, since = %s
            WHERE version = %s AND state = 'shadow'""",
        (by, reason, now, version),
    )


async def retire(conn: Connection, version: str, *, by: str, reason: str, now: datetime) -> None:
    """Take a model out of the shadow, or out of service: then the one that ships is live again."""
    gone = await conn.execute(
        """UPDATE risk.model SET state = 'retired', by_name = %s, reason = %s, since = %s
            WHERE version = %s AND state <> 'retired'""",
        (by, reason, now, version),
    )
    if gone.rowcount == 0:
        raise CandidateRefused(f"No model {version} is live or in the shadow.")
