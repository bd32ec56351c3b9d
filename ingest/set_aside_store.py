"""Things set aside, in SQL: kinds, samples, and what people did with them; what they order waits in `replay_store`.

Every write names the state it expects; the row count is the answer.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row

from ingest.events import fact_id
from ingest.set_aside import LANE_REASONS, By, Held, Kind
from ingest.strongbox import Strongbox

OF_KIND: LiteralString = """
    r.gateway_id = %(gateway)s AND r.kind_device = %(device)s AND r.hop = %(hop)s AND r.reason = %(reason)s"""
LOOKED_EVERY = timedelta(hours=1)
"""Looking at the same thing again within an hour is the same look."""

HELD: LiteralString = """
    SELECT event_id, practice_id, gateway_id, device_id, kind_device, hop, reason, detail, received_at, place, part, key_id,
           raw, state, tries, answer, reading_id, settled_at FROM ingest.refusal"""


# Looking ------------------------------------------------------------------------------------------------------------


async def kinds(conn: AsyncConnection, *, only: Kind | None = None, limit: int = 200) -> list[dict[str, Any]]:
    """What was refused, by kind: how often, how much of it is kept and open, first and last, and the newest sample."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """SELECT t.*, o.open, o.coming, coalesce(o.newest, n.newest) AS newest,
                      (t.hop = 'identity' AND t.reason = ANY(%(lane)s)) AS in_lane
                 FROM (SELECT gateway_id, kind_device, hop, reason, sum(times)::int AS times, sum(kept)::int AS kept,
                              min(first_at) AS first_at, max(last_at) AS last_at
                         FROM ingest.refusal_tally
                        WHERE %(all)s OR (gateway_id, kind_device, hop, reason)
                                         = (%(gateway)s, %(device)s, %(hop)s, %(reason)s)
                        GROUP BY gateway_id, kind_device, hop, reason
                        ORDER BY max(last_at) DESC LIMIT %(limit)s) t
                CROSS JOIN LATERAL (SELECT count(*)::int AS open,
                                           count(*) FILTER (WHERE r.state = 'replaying')::int AS coming,
                                           (array_agg(r.event_id ORDER BY r.received_at DESC))[1] AS newest
                                      FROM ingest.refusal r
                                     WHERE (r.gateway_id, r.kind_device, r.hop, r.reason)
                                           = (t.gateway_id, t.kind_device, t.hop, t.reason)
                                       AND r.state IN ('open', 'replaying')) o
                 LEFT JOIN LATERAL (SELECT r.event_id AS newest FROM ingest.refusal r
                                     WHERE (r.gateway_id, r.kind_device, r.hop, r.reason)
                                           = (t.gateway_id, t.kind_device, t.hop, t.reason)
                                     ORDER BY r.received_at DESC LIMIT 1) n ON true
                ORDER BY (o.open > 0) DESC, t.last_at DESC""",
            {
                "lane": LANE_REASONS,
                "all": only is None,
                "limit": limit,
                **(only or Kind("", "", "", ""))._asdict(),
            },
        )
        return await cursor.fetchall()


async def alike(conn: AsyncConnection, kind: Kind, *, limit: int = 50) -> list[Held]:
    """The newest samples of one kind."""
    rows = await conn.execute(
        f"{HELD} r WHERE {OF_KIND} ORDER BY (state = 'open') DESC, received_at DESC LIMIT %(limit)s",
        {**kind._asdict(), "limit": limit},
    )
    return [Held(*row) for row in await rows.fetchall()]


async def held(conn: AsyncConnection, refusal_id: UUID) -> Held | None:
    """One thing set aside; None: this practice has no such thing."""
    row = await (await conn.execute(f"{HELD} WHERE event_id = %s", (refusal_id,))).fetchone()
    return Held(*row) if row is not None else None


async def lane(conn: AsyncConnection, *, limit: int = 50) -> tuple[list[Held], int]:
    """Readings whose owner a person must name, newest first; and how many there are in all."""
    where = "WHERE state IN ('open', 'replaying') AND hop = 'identity' AND reason = ANY(%s)"
    rows = await conn.execute(
        f"{HELD} {where} ORDER BY received_at DESC, event_id LIMIT %s", (LANE_REASONS, limit)
    )
    found = [Held(*row) for row in await rows.fetchall()]
    total = await (
        await conn.execute(f"SELECT count(*) FROM ingest.refusal {where}", (LANE_REASONS,))  # noqa: S608
    ).fetchone()
    return found, total[0] if total is not None else 0


async def candidates(
    conn: AsyncConnection, devices: Sequence[str], gateways: Sequence[str]
) -> list[dict[str, Any]]:
    """Whom a reading of these devices may belong to: who has or had the device, and who else measures in that home."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """SELECT a.device_id, a.patient_id, a.slot, a.period @> now() AS now_has, '' AS gateway_id
                 FROM ingest.device_assignment a WHERE a.device_id = ANY(%(devices)s)
               UNION
               SELECT '', a.patient_id, NULL, false, r.gateway_id
                 FROM ingest.device_assignment a
                CROSS JOIN LATERAL (SELECT gateway_id FROM ingest.reading WHERE patient_id = a.patient_id
                                     ORDER BY effective_at DESC LIMIT 1) r
                WHERE a.period @> now() AND r.gateway_id = ANY(%(gateways)s)""",
            {"devices": list(devices), "gateways": list(gateways)},
        )
        return await cursor.fetchall()


async def patient(conn: AsyncConnection, said: UUID | str, practice_id: int | None) -> UUID | None:
    """The patient of that practice with this id or, if it is text, with this record number."""
    column = sql.Identifier("patient_id" if isinstance(said, UUID) else "mrn")
    query = sql.SQL("SELECT patient_id FROM who.patient WHERE practice_id = %s AND {} = %s").format(column)
    row = await (await conn.execute(query, (practice_id, said))).fetchone()
    return row[0] if row is not None else None


async def record_numbers(conn: AsyncConnection, patients: Sequence[UUID]) -> dict[UUID, str]:
    """By which a command line names patients."""
    rows = await conn.execute(
        "SELECT patient_id, mrn FROM who.patient WHERE patient_id = ANY(%s)", (list(patients),)
    )
    return dict(await rows.fetchall())


async def history(conn: AsyncConnection, about: UUID) -> list[dict[str, Any]]:
    """Who did what with it, oldest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT act, at, by_name, reason, patient_id FROM ingest.handling WHERE about = %s ORDER BY at",
            (about,),
        )
        return await cursor.fetchall()


# Doing --------------------------------------------------------------------------------------------------------------


async def note(
    conn: AsyncConnection,
    about: UUID,
    act: str,
    *,
    practice_id: int | None,
    by: By,
    now: datetime,
    reason: str = "",
    patient_id: UUID | None = None,
    device_id: str | None = None,
) -> None:
    """Write down who did what: in the transaction of the doing."""
    await conn.execute(
        """INSERT INTO ingest.handling (act_id, practice_id, about, act, at, by, by_name, reason, patient_id, device_id)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (act_id) DO NOTHING""",
        (
            _act_id(about, act, by, now),
            practice_id,
            about,
            act,
            now,
            by.staff_id,
            by.name,
            reason,
            patient_id,
            device_id,
        ),
    )


def _act_id(about: UUID, act: str, by: By, now: datetime) -> UUID:
    when = int(now.timestamp() // LOOKED_EVERY.total_seconds()) if act == "looked" else now.isoformat()
    return fact_id("handling", about, act, by.staff_id or by.name, when)


async def _note_all(
    conn: AsyncConnection,
    moved: Sequence[tuple[UUID, int | None]],
    act: str,
    *,
    by: By,
    now: datetime,
    reason: str,
) -> None:
    async with conn.cursor() as cursor:
        await cursor.executemany(
            """INSERT INTO ingest.handling (act_id, practice_id, about, act, at, by, by_name, reason)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (act_id) DO NOTHING""",
            [
                (_act_id(one, act, by, now), practice_id, one, act, now, by.staff_id, by.name, reason)
                for one, practice_id in moved
            ],
        )


async def ask_again(
    conn: AsyncConnection,
    refusal_id: UUID,
    *,
    by: By,
    now: datetime,
    reason: str = "",
    patient_id: UUID | None = None,
) -> UUID | None:
    """Order that it comes to the door again; the order's id, or None: there is no such thing, or it is on its way already.

    With a patient it is a person's word on whose reading it is, and only what is open and never became a reading can be
    given one: decided twice, the same event would go out for two people.
    """
    moved = await (
        await conn.execute(
            """UPDATE ingest.refusal SET state = 'replaying', settled_at = NULL
                WHERE event_id = %s AND state <> 'replaying'
                  AND (%s OR (state = 'open' AND reading_id IS NULL)) RETURNING practice_id""",
            (refusal_id, patient_id is None),
        )
    ).fetchone()
    if moved is None:
        return None
    replay_id = fact_id("replay", refusal_id, now.isoformat())
    await conn.execute(
        "INSERT INTO ingest.replay (replay_id, refusal_id, practice_id, patient_id, asked_at) VALUES (%s, %s, %s, %s, %s)",
        (replay_id, refusal_id, moved[0], patient_id, now),
    )
    act = "replayed" if patient_id is None else "decided"
    await note(
        conn, refusal_id, act, practice_id=moved[0], by=by, now=now, reason=reason, patient_id=patient_id
    )
    return replay_id


async def ask_all_again(
    conn: AsyncConnection,
    these: LiteralString,
    about: Mapping[str, Any],
    *,
    by: By,
    now: datetime,
    reason: str = "",
) -> dict[UUID, UUID]:
    """Order that everything open of `these` (a condition on refusals `r`) comes to the door again: refusals by order."""
    query = sql.SQL(
        """UPDATE ingest.refusal r SET state = 'replaying', settled_at = NULL
            WHERE r.state = 'open' AND {} RETURNING event_id, practice_id"""
    ).format(sql.SQL(these))
    moved = await (await conn.execute(query, about)).fetchall()
    orders = {fact_id("replay", refusal_id, now.isoformat()): refusal_id for refusal_id, _ in moved}
    async with conn.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO ingest.replay (replay_id, refusal_id, practice_id, asked_at) VALUES (%s, %s, %s, %s)",
            [(order, *row, now) for order, row in zip(orders, moved, strict=True)],
        )
    await _note_all(conn, moved, "replayed", by=by, now=now, reason=reason)
    return orders


async def ask_kind_again(conn: AsyncConnection, kind: Kind, *, by: By, now: datetime) -> dict[UUID, UUID]:
    """Everything open of one kind comes to the door again: refusals by order."""
    return await ask_all_again(conn, OF_KIND, kind._asdict(), by=by, now=now)


async def resolve(
    conn: AsyncConnection, refusal_id: UUID, *, by: By, now: datetime, reason: str, act: str = "resolved"
) -> bool:
    """Close it with a reason (`act` "nobody": it is nobody's reading); False: it is not open."""
    moved = await (
        await conn.execute(
            """UPDATE ingest.refusal SET state = 'resolved', settled_at = %s
                WHERE event_id = %s AND state = 'open' RETURNING practice_id""",
            (now, refusal_id),
        )
    ).fetchone()
    if moved is not None:
        await note(conn, refusal_id, act, practice_id=moved[0], by=by, now=now, reason=reason)
    return moved is not None


async def resolve_kind(
    conn: AsyncConnection, kind: Kind, *, by: By, now: datetime, reason: str
) -> list[UUID]:
    """Close everything open of one kind with a reason; which they were."""
    query = sql.SQL(
        "UPDATE ingest.refusal r SET state = 'resolved', settled_at = %(now)s WHERE r.state = 'open' AND {} "
        "RETURNING event_id, practice_id"
    ).format(sql.SQL(OF_KIND))
    moved = await (await conn.execute(query, {"now": now, **kind._asdict()})).fetchall()
    await _note_all(conn, moved, "resolved", by=by, now=now, reason=reason)
    return [refusal_id for refusal_id, _ in moved]


async def share(conn: AsyncConnection, device_id: str, *, shared: bool, by: By, now: datetime) -> bool:
    """Several people measure with it, or one again; False: it is so already, or not a device of ours."""
    moved = await (
        await conn.execute(
            "UPDATE ingest.device SET shared = %s WHERE device_id = %s AND shared <> %s RETURNING practice_id",
            (shared, device_id, shared),
        )
    ).fetchone()
    if moved is not None:
        act = "shared" if shared else "unshared"
        about = fact_id("device", device_id)
        await note(conn, about, act, practice_id=moved[0], by=by, now=now, device_id=device_id)
    return moved is not None


async def answers(conn: AsyncConnection, orders: Sequence[UUID]) -> dict[UUID, str]:
    """What the door said to these orders, as far as it has said it."""
    rows = await conn.execute(
        "SELECT replay_id, answer FROM ingest.replay WHERE replay_id = ANY(%s) AND answer IS NOT NULL",
        (list(orders),),
    )
    return dict(await rows.fetchall())


async def seal_open_ones(conn: AsyncConnection, strongbox: Strongbox, *, limit: int = 1_000) -> int:
    """Seal bytes that were kept before there was a key; how many. Call it until it says 0."""
    rows = await (
        await conn.execute(
            "SELECT event_id, raw FROM ingest.refusal WHERE key_id IS NULL ORDER BY event_id LIMIT %s FOR UPDATE",
            (limit,),
        )
    ).fetchall()
    for event_id, raw in rows:
        key_id, sealed = strongbox.close(raw, event_id)
        await conn.execute(
            "UPDATE ingest.refusal SET raw = %s, key_id = %s WHERE event_id = %s AND key_id IS NULL",
            (sealed, key_id, event_id),
        )
    return len(rows)


def opened(one: Held, strongbox: Strongbox | None) -> bytes | None:
    """The bytes as they came; None: sealed with a key that is not here."""
    if one.key_id is None:
        return one.raw
    return strongbox.open(one.key_id, one.raw, one.refusal_id) if strongbox is not None else None


async def connect(dsn: str) -> AsyncConnection:
    """A connection of the command line's own."""
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True, options="-c timezone=UTC")
