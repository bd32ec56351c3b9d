"""The order of the list, made where the rows are: ten thousand open episodes cross no wire to show sixty.

This is the one rule of the room that is written in SQL. A plain one in Python, of which it must say the same for any
set of episodes and any viewer, is its test (`tests/component/test_alerts_worklist.py`).
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import msgspec
from psycopg import AsyncConnection

from alerts.concerns import Queue
from alerts.events import Severity
from alerts.worklist import Place, Section, Tally, Viewer

_PLACED: Final = """
WITH asked AS (
    SELECT queue, patient_id, episode_id, concern, severity, due_at, told_effective_at,
           CASE severity WHEN 'critical' THEN 3 WHEN 'high' THEN 2 ELSE 1 END AS rank,
           -- What calls somebody comes before what is held, and that before what rests. An escalation that no
           -- provider answered in time calls everybody again.
           CASE WHEN state = 'waiting' OR state = 'escalated' AND (%(provider)s OR due_at <= %(now)s) THEN 1
                WHEN state IN ('claimed', 'escalated') THEN 2 ELSE 3 END AS turn,
           state = 'claimed' AND owner = %(staff)s AS mine
      FROM alerts.episode WHERE state <> 'closed' AND queue = ANY(%(queues)s)
), worst AS (
    -- Of concerns equally severe the one measured last leads: what is now hides under nothing that is days old.
    SELECT queue, patient_id, bool_or(mine) AS mine, min(turn) AS turn,
           (array_agg(episode_id ORDER BY turn, rank DESC, told_effective_at DESC, due_at, episode_id))[1] AS episode_id,
           (array_agg(severity ORDER BY turn, rank DESC, told_effective_at DESC, due_at, episode_id))[1] AS severity,
           (array_agg(rank ORDER BY turn, rank DESC, told_effective_at DESC, due_at, episode_id))[1] AS rank,
           coalesce(min(due_at) FILTER (WHERE turn = 1),
                    (array_agg(due_at ORDER BY turn, rank DESC, told_effective_at DESC, due_at, episode_id))[1]) AS due_at,
           -- Being late moves it up by one: what is forgotten rises, and a late watch does not drown a critical.
           min(CASE WHEN rank = 3 THEN 2 ELSE 5 - rank - (due_at <= %(now)s)::int END) FILTER (WHERE turn = 1) AS urgency,
           coalesce(bool_or(concern = %(concern)s), false) AS has_concern
      FROM asked GROUP BY queue, patient_id
), placed AS (
    -- A section is told by its place in `Section`.
    SELECT *, CASE WHEN turn = 1 THEN urgency WHEN mine THEN 1 WHEN turn = 2 THEN 5 ELSE 6 END AS section FROM worst
), shown AS MATERIALIZED (
    SELECT *, (%(severity)s::text IS NULL OR severity = %(severity)s) AND (%(concern)s = '' OR has_concern)
              AND CASE %(show)s WHEN 'mine' THEN mine WHEN 'free' THEN turn = 1
                                WHEN 'late' THEN turn = 1 AND due_at <= %(now)s ELSE true END AS chosen
      FROM placed
)
SELECT (SELECT coalesce(json_agg(row), '[]')
          FROM (SELECT json_build_array(queue, (%(sections)s::text[])[section], severity, count(*),
                                        count(*) FILTER (WHERE chosen)) AS row
                  FROM shown GROUP BY queue, section, severity) AS tallies)::text,
       (SELECT coalesce(json_agg(row), '[]')
          FROM (SELECT json_build_array((%(sections)s::text[])[section], patient_id, episode_id, severity, due_at,
                                        mine) AS row
                  FROM shown WHERE queue = %(queue)s AND chosen
                 ORDER BY section, rank DESC, due_at, patient_id LIMIT %(limit)s OFFSET %(offset)s) AS places)::text
"""

_tallies: Final = msgspec.json.Decoder(list[Tally])
_places: Final = msgspec.json.Decoder(list[Place])


async def worklist(
    conn: AsyncConnection,
    queues: Collection[Queue],
    viewer: Viewer,
    *,
    now: datetime,
    queue: Queue = Queue.CLINICAL,
    show: str = "all",
    severity: Severity | None = None,
    concern: str = "",
    limit: int = 0,
    offset: int = 0,
) -> tuple[Sequence[Tally], Sequence[Place]]:
    """The counts of these queues, and one page of one of them in the order to work through."""
    rows = await conn.execute(
        _PLACED,
        {
            "sections": list(Section),
            "queues": list(queues),
            "staff": viewer.staff_id,
            "provider": viewer.provider,
            "now": now,
            "queue": queue,
            "show": show,
            "severity": severity,
            "concern": concern,
            "limit": limit,
            "offset": offset,
        },
    )
    ((tallies, places),) = await rows.fetchall()
    return _tallies.decode(tallies), _places.decode(places)
