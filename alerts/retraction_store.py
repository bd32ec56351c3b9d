"""Readings taken back, in SQL: what still counts in an episode, and writing down what became of it."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg import AsyncConnection

from alerts import store
from alerts.episode import Episode, Transition
from alerts.retraction import Counted, withdraw
from risk.events import Retracted


async def take_back(conn: AsyncConnection, event: Retracted, *, now: datetime) -> Sequence[Transition]:
    """One reading leaves the timeline and whatever rests on it; the transitions that follow. A repetition does nothing.

    The evidence stays where it was written, with the word beside it that it was taken back.
    """
    noted = await conn.execute(
        """INSERT INTO alerts.retraction (reading_id, practice_id, patient_id, reason, by_name, at)
           VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (reading_id) DO NOTHING""",
        (event.reading_id, event.practice_id, event.patient_id, event.reason, event.by_name, event.at),
    )
    if noted.rowcount == 0:
        return []
    await conn.execute("DELETE FROM alerts.observation WHERE reading_id = %s", (event.reading_id,))
    concerns = (await store.known(conn, [event.patient_id], closed_since=now)).get(event.patient_id, {})
    before = {episode.episode_id: episode.number for episode in concerns.values()}
    left_of: list[Episode] = []
    moves: list[Transition] = []
    for episode in concerns.values():
        became = withdraw(episode, event, await _left(conn, episode), now=now)
        if isinstance(became, Transition):
            moves.append(became)
            left_of.append(became.episode)
        elif became is not None:
            left_of.append(became)
    await store.save_moved(conn, before, left_of, moves)
    return moves


async def _left(conn: AsyncConnection, episode: Episode) -> list[Counted]:
    """The readings that still count since it last began: of an earlier time, what counted was settled then."""
    rows = await conn.execute(
        """SELECT row_to_json(v)::text FROM alerts.evidence v
            WHERE episode_id = %s AND reading_id = ANY(%s)
              AND NOT EXISTS (SELECT FROM alerts.retraction r WHERE r.reading_id = v.reading_id)""",
        (episode.episode_id, list(episode.readings)),
    )
    return [msgspec.json.decode(text, type=Counted) for (text,) in await rows.fetchall()]
