"""The alerts tables: loading episodes under a lock, writing what was decided. Every write names the state it expects.

Rows travel as JSON in one parameter: column names are the field names of the Structs, so that a whole batch is one
statement and a new field is one line in the schema.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from alerts.absence import Arrangement, Expectation
from alerts.acts import Last
from alerts.concerns import Queue
from alerts.episode import Episode, Transition
from alerts.events import ALERTS
from alerts.triage import Outcome
from risk.events import Scored

_COLUMNS: Final = ", ".join(Episode.__struct_fields__)
_PEOPLES: Final = (  # the columns that people's moves set, and lamplight_web may write
    "state", "number", "due_at", "owner", "owner_name", "until", "disposition", "handled_at", "handled_severity",
    "closed_at", "needs_task", "back",
)  # fmt: skip
_one = msgspec.json.Decoder(Episode)
_encode = msgspec.json.Encoder().encode


class Overtaken(Exception):
    """An episode was not as it was when it was loaded: somebody wrote without the lock."""


# Loading ------------------------------------------------------------------------------------------------------------


async def known(
    conn: AsyncConnection, patients: Collection[UUID], *, closed_since: datetime
) -> dict[UUID, dict[str, Episode]]:
    """Per patient and concern: the open episode, else the one closed last since then. Locked until the transaction ends.

    Locks are taken in the order of the ids, so that two transactions cannot wait for each other.
    """
    rows = await conn.execute(
        """SELECT row_to_json(e)::text FROM alerts.episode e
            WHERE patient_id = ANY(%(patients)s) AND state <> 'closed'
               OR patient_id = ANY(%(patients)s) AND state = 'closed' AND closed_at > %(since)s
            ORDER BY episode_id FOR UPDATE""",
        {"patients": list(patients), "since": closed_since},
    )
    found: dict[UUID, dict[str, Episode]] = {}
    for (text,) in await rows.fetchall():
        episode = _one.decode(text)
        concerns = found.setdefault(episode.patient_id, {})
        before = concerns.get(episode.concern)
        if before is None or _comes_after(episode, before):
            concerns[episode.concern] = episode
    return found


def _comes_after(episode: Episode, before: Episode) -> bool:
    """Open beats closed, later beats earlier."""
    if episode.closed_at is None or before.closed_at is None:
        return episode.closed_at is None
    return episode.closed_at > before.closed_at


async def locked(conn: AsyncConnection, episode_id: UUID) -> tuple[Episode, Last] | None:
    """One episode with its last transition, locked; None if it does not exist for this practice."""
    found = await _locked(conn, "episode_id = %s", episode_id)
    return found[0] if found else None


async def locked_ones(conn: AsyncConnection, ids: Collection[UUID]) -> list[tuple[Episode, Last]]:
    """These episodes with their last transitions, locked in the order of their ids."""
    return await _locked(conn, "episode_id = ANY(%s)", list(ids))


async def locked_of_patient(
    conn: AsyncConnection, patient_id: UUID, queue: Queue = Queue.CLINICAL
) -> list[tuple[Episode, Last]]:
    """Every open episode of one patient in one queue with its last transition, locked."""
    found = await _locked(conn, "patient_id = %s AND state <> 'closed'", patient_id)
    return [(episode, last) for episode, last in found if episode.queue is queue]


async def locked_of_act(conn: AsyncConnection, act_id: UUID) -> list[tuple[Episode, Last]]:
    """Every episode whose last transition that act made, locked."""
    where = "episode_id IN (SELECT t.episode_id FROM alerts.transition t WHERE t.caused_by = %s AND t.by IS NOT NULL)"
    return [(e, last) for e, last in await _locked(conn, where, act_id) if last.caused_by == act_id]


async def locked_at_their_end(
    conn: AsyncConnection, *, now: datetime, limit: int
) -> list[tuple[Episode, Last]]:
    """Claims, snoozes and rests that are over; what another process is at already is skipped."""
    where = "until <= %s AND state IN ('claimed', 'handled', 'snoozed')"
    return await _locked(conn, where, now, ending=f"LIMIT {limit:d} FOR UPDATE SKIP LOCKED")


async def _locked(
    conn: AsyncConnection, where: str, what: object, *, ending: str = "FOR UPDATE"
) -> list[tuple[Episode, Last]]:
    """First the locks, then the last transitions.

    In one joined statement, an episode that moved while we waited for its lock would be joined to the transition it
    had before, and vanish from the result.
    """
    query = f"SELECT row_to_json(e)::text FROM alerts.episode e WHERE {where} ORDER BY episode_id {ending}"  # noqa: S608
    episodes = [_one.decode(text) for (text,) in await (await conn.execute(query, (what,))).fetchall()]
    rows = await conn.execute(
        """SELECT episode_id, row_to_json(t)::text
             FROM alerts.transition t JOIN unnest(%s::uuid[], %s::int[]) AS last (episode_id, number)
                  USING (episode_id, number)""",
        ([e.episode_id for e in episodes], [e.number for e in episodes]),
    )
    lasts = {episode_id: msgspec.json.decode(text, type=Last) for episode_id, text in await rows.fetchall()}
    return [(episode, lasts[episode.episode_id]) for episode in episodes]


# Writing ------------------------------------------------------------------------------------------------------------


async def observe(conn: AsyncConnection, scores: Sequence[Scored]) -> set[UUID]:
    """Keep what rows and timelines draw; returns the readings that were not known before."""
    rows = await conn.execute(
        """INSERT INTO alerts.observation
           SELECT * FROM jsonb_populate_recordset(NULL::alerts.observation, %s)
           ON CONFLICT (reading_id) DO NOTHING RETURNING reading_id""",
        (_text([_observation(scored) for scored in scores]),),
    )
    return {reading_id for (reading_id,) in await rows.fetchall()}


def _observation(scored: Scored) -> dict[str, object]:
    return {
        "reading_id": scored.caused_by,
        "practice_id": scored.practice_id,
        "patient_id": scored.patient_id,
        "kind": scored.kind,
        "effective_at": scored.effective_at,
        "received_at": scored.received_at,
        **{q: scored.values[q] for q in ("systolic", "diastolic", "pulse", "glucose") if q in scored.values},
        "beyond": scored.beyond,
        "tier": scored.tier,
        "bands": {band.quantity: band for band in scored.bands},
        "drift": scored.drift_score,
        "context": scored.context,
        "flags": scored.flags,
        "time_confidence": scored.time_confidence,
        "history": scored.history,
    }


async def save(
    conn: AsyncConnection, before: Mapping[UUID, int], outcomes: Iterable[Outcome]
) -> list[Transition]:
    """Write what a batch decided: new episodes, changed ones, their evidence and transitions, in this order.

    `before` has the number each known episode was loaded with. Returns the transitions in the order they happened.
    """
    outcomes = list(outcomes)
    last = {o.episode.episode_id: o.episode for o in outcomes if o.episode is not None}
    transitions = [o.transition for o in outcomes if o.transition is not None]
    await _insert(conn, [e for e in last.values() if e.episode_id not in before])
    await _update(
        conn, [e for e in last.values() if e.episode_id in before], before, Episode.__struct_fields__
    )
    await _insert_transitions(conn, transitions)
    return transitions


async def save_act(
    conn: AsyncConnection, before: Mapping[UUID, int], transitions: Sequence[Transition]
) -> None:
    """Write what people or timers did, and tell the next room, in the caller's transaction."""
    last = {t.episode.episode_id: t.episode for t in transitions}
    await _update(conn, list(last.values()), before, _PEOPLES)
    await _insert_transitions(conn, transitions)
    await _send(conn, transitions)


async def save_moved(
    conn: AsyncConnection,
    before: Mapping[UUID, int],
    episodes: Sequence[Episode],
    transitions: Sequence[Transition],
) -> None:
    """Write known episodes that changed, whether or not they moved; the pump tells the next room."""
    await _update(conn, episodes, before, Episode.__struct_fields__)
    await _insert_transitions(conn, transitions)


async def _send(conn: AsyncConnection, transitions: Sequence[Transition]) -> None:
    """Into the outbox, in the caller's transaction."""
    for transition in transitions:
        event = transition.event()
        await conn.execute(
            "SELECT pump.send('alerts', %s, %s, %s, %s)",
            (ALERTS, str(event.patient_id), event.event_id, _encode(event)),
        )


async def _insert(conn: AsyncConnection, episodes: Sequence[Episode]) -> None:
    if episodes:
        query = f"""INSERT INTO alerts.episode ({_COLUMNS})
                    SELECT {_COLUMNS} FROM jsonb_populate_recordset(NULL::alerts.episode, %s)"""  # noqa: S608
        await conn.execute(query, (_text(episodes),))


async def _update(
    conn: AsyncConnection, episodes: Sequence[Episode], before: Mapping[UUID, int], columns: Sequence[str]
) -> None:
    if not episodes:
        return
    sets = ", ".join(f"{column} = v.{column}" for column in columns if column != "episode_id")
    query = f"""UPDATE alerts.episode e SET {sets}
                  FROM jsonb_populate_recordset(NULL::alerts.episode, %s) v
                  JOIN unnest(%s::uuid[], %s::int[]) AS found (episode_id, number) USING (episode_id)
                 WHERE e.episode_id = v.episode_id AND e.number = found.number RETURNING 1"""  # noqa: S608
    ids = [e.episode_id for e in episodes]
    done = await conn.execute(query, (_text(episodes), ids, [before[i] for i in ids]))
    changed = len(await done.fetchall())  # not rowcount: a pipeline knows it only when the answer is read
    if changed != len(episodes):
        raise Overtaken(f"{len(episodes) - changed} of {len(episodes)} episodes moved while locked")


async def _insert_transitions(conn: AsyncConnection, transitions: Sequence[Transition]) -> None:
    if not transitions:
        return
    await conn.execute(
        """INSERT INTO alerts.transition (episode_id, number, practice_id, patient_id, concern, move, before, after,
                   severity, why, reason, at, by, by_name, caused_by, disposition, note, needs_task, since, due_at)
           SELECT episode_id, number, practice_id, patient_id, concern, move, before, after,
                  severity, why, reason, at, by, by_name, caused_by, disposition, note, needs_task, since, due_at
             FROM jsonb_populate_recordset(NULL::alerts.transition, %s)""",
        (_text([_row(t) for t in transitions]),),
    )


def _row(t: Transition) -> dict[str, object]:
    episode, cause = t.episode, t.cause
    return {
        "episode_id": episode.episode_id,
        "number": t.number,
        "practice_id": episode.practice_id,
        "patient_id": episode.patient_id,
        "concern": episode.concern,
        "move": t.move,
        "before": t.before,
        "after": episode.state,
        "severity": episode.severity,
        "why": cause.why,
        "reason": cause.reason,
        "at": cause.at,
        "by": cause.by,
        "by_name": cause.by_name,
        "caused_by": cause.event,
        "disposition": cause.disposition,
        "note": cause.note,
        "needs_task": cause.needs_task,
        "since": episode.since,
        "due_at": episode.due_at,
    }


async def save_evidence(conn: AsyncConnection, found: Iterable[tuple[Scored, Outcome]]) -> None:
    """Chain reading, score and episode, with why it moved or did not."""
    rows = [
        {
            "episode_id": outcome.episode.episode_id,
            "reading_id": scored.caused_by,
            "score_id": scored.event_id,
            "practice_id": scored.practice_id,
            "effective_at": scored.effective_at,
            "received_at": scored.received_at,
            "tier": outcome.finding.tier,
            "why": outcome.decision.why.name.lower(),
            "reason": outcome.finding.reason,
            "rule": outcome.finding.rule,
            "evidence": outcome.finding.evidence,
            "model_version": scored.model_version,
            "rules_version": scored.rules_version,
        }
        for scored, outcome in found
        if outcome.episode is not None and outcome.finding is not None
    ]
    if rows:
        await conn.execute(
            """INSERT INTO alerts.evidence SELECT * FROM jsonb_populate_recordset(NULL::alerts.evidence, %s)
               ON CONFLICT (episode_id, reading_id) DO NOTHING""",
            (_text(rows),),
        )


async def add_comment(
    conn: AsyncConnection, *, comment_id: UUID, episode: Episode, by: UUID, name: str, at: datetime, said: str
) -> None:
    """A repeated POST of the same comment is one comment."""
    await conn.execute(
        """INSERT INTO alerts.comment (comment_id, practice_id, episode_id, staff_id, staff_name, at, said)
           VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (comment_id) DO NOTHING""",
        (comment_id, episode.practice_id, episode.episode_id, by, name, at, said),
    )


# Silence ------------------------------------------------------------------------------------------------------------


async def expect(conn: AsyncConnection, scores: Sequence[Scored], *, every: timedelta) -> None:
    """Something came: the next is due a while after. The first live reading of a kind makes the expectation."""
    newest: dict[tuple[UUID, str], Scored] = {}
    for scored in scores:
        key = scored.patient_id, scored.kind
        if key not in newest or scored.received_at > newest[key].received_at:
            newest[key] = scored
    rows = [newest[key] for key in sorted(newest)]
    if rows:
        await conn.execute(
            """INSERT INTO alerts.expectation AS e (patient_id, kind, practice_id, every_hours, last_at, due_at)
               SELECT patient_id, kind, practice_id, %(hours)s, last_at, last_at + %(hours)s * interval '1 hour'
                 FROM unnest(%(patients)b::uuid[], %(kinds)b::text[], %(practices)b::int[], %(last)b::timestamptz[])
                      AS t (patient_id, kind, practice_id, last_at)
               ON CONFLICT (patient_id, kind) DO UPDATE
                  SET last_at = excluded.last_at,
                      due_at = greatest(excluded.last_at + e.every_hours * interval '1 hour', e.paused_until)
                WHERE e.last_at < excluded.last_at""",
            {
                "hours": every // timedelta(hours=1),
                "patients": [s.patient_id for s in rows],
                "kinds": [s.kind for s in rows],
                "practices": [s.practice_id for s in rows],
                "last": [s.received_at for s in rows],
            },
        )


async def overdue(conn: AsyncConnection, *, now: datetime, limit: int) -> list[Expectation]:
    """Expectations that came due, locked; what another process is at already is skipped."""
    rows = await conn.execute(
        """SELECT row_to_json(e)::text FROM alerts.expectation e WHERE due_at <= %s
            ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED""",
        (now, limit),
    )
    return [msgspec.json.decode(text, type=Expectation) for (text,) in await rows.fetchall()]


async def look_again(conn: AsyncConnection, asked: Sequence[tuple[Expectation, datetime]]) -> None:
    await conn.execute(
        """UPDATE alerts.expectation e SET due_at = t.due_at
             FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::timestamptz[])
                  AS t (patient_id, kind, was_due, due_at)
            WHERE e.patient_id = t.patient_id AND e.kind = t.kind AND e.due_at = t.was_due""",
        (
            [expected.patient_id for expected, _ in asked],
            [expected.kind for expected, _ in asked],
            [expected.due_at for expected, _ in asked],
            [due_at for _, due_at in asked],
        ),
    )


async def save_silences(
    conn: AsyncConnection, before: Mapping[UUID, int], transitions: Sequence[Transition]
) -> None:
    """Episodes that nobody's reading and nobody's hand moved; tells the next room."""
    last = {t.episode.episode_id: t.episode for t in transitions}
    await _insert(conn, [e for e in last.values() if e.episode_id not in before])
    await _update(
        conn, [e for e in last.values() if e.episode_id in before], before, Episode.__struct_fields__
    )
    await _insert_transitions(conn, transitions)
    await _send(conn, transitions)


async def arrange(conn: AsyncConnection, agreed: Arrangement) -> bool:
    """What was agreed about measuring, kept for ever, and what follows for the next due time; False: no such patient."""
    done = await conn.execute(
        """UPDATE alerts.expectation
              SET every_hours = %(every)s, paused_until = %(until)s,
                  due_at = greatest(last_at + %(every)s * interval '1 hour', %(until)s::timestamptz, %(at)s)
            WHERE patient_id = %(patient)s AND kind = %(kind)s""",
        {"every": agreed.every_hours, "until": agreed.paused_until, "at": agreed.at,
         "patient": agreed.patient_id, "kind": agreed.kind},
    )  # fmt: skip
    if done.rowcount == 1:
        await conn.execute(
            """INSERT INTO alerts.arrangement (arrangement_id, practice_id, patient_id, kind, every_hours, paused_until,
                                               reason, at, by, by_name)
               SELECT * FROM jsonb_to_record(%s) AS t (arrangement_id uuid, practice_id int, patient_id uuid, kind text,
                      every_hours int, paused_until timestamptz, reason text, at timestamptz, by uuid, by_name text)""",
            (_text(agreed),),
        )
    return done.rowcount == 1


def _text(rows: Any) -> str:
    return msgspec.json.encode(rows).decode()
