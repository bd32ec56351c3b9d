"""The work in SQL: tasks, what people did with them, and every move of every episode as it was told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from alerts.events import EpisodeMoved, Severity
from ccm_bridge import tasks
from ccm_bridge.tasks import Item, State, Task

Connection: TypeAlias = psycopg.AsyncConnection[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A task as people see it."""

    task_id: UUID
    patient_id: UUID
    episode_id: UUID | None
    kind: str
    concern: str | None
    severity: str
    title: str
    reason: str
    episode_state: str | None
    checklist: list[dict[str, Any]]
    state: str
    owner_id: UUID | None
    owner_name: str | None
    outcome: str | None
    opened_at: datetime
    due_at: datetime
    closed_at: datetime | None
    closed_by_name: str | None

    @property
    def finished(self) -> bool:
        return State(self.state) in tasks.FINISHED

    @property
    def steps_done(self) -> int:
        return sum(1 for item in self.checklist if item.get("done_at"))


WORK = ", ".join(f"t.{name}" for name in Work.__slots__)


# What the pump writes ----------------------------------------------------------------------------------


async def tell(conn: Connection, events: Sequence[EpisodeMoved]) -> None:
    """Keep every move, so that a task made later still leads back to the first reading. Idempotent."""
    names = ", ".join(Told.__slots__)
    slots = ", ".join(f"%({name})s" for name in Told.__slots__)
    async with conn.cursor() as cur:
        await cur.executemany(
            f"""INSERT INTO ccm.episode_move (practice_id, patient_id, {names})
                VALUES (%(practice_id)s, %(patient_id)s, {slots}) ON CONFLICT DO NOTHING""",  # noqa: S608
            [
                {name: getattr(event, name) for name in event.__struct_fields__}
                | {"by_staff": event.by, "readings": list(event.readings)}
                for event in events
            ],
        )


async def of_episodes(conn: Connection, episodes: Iterable[UUID]) -> dict[UUID, Task]:
    """The tasks of these episodes, locked until the transaction ends: a person's move waits its turn."""
    cur = await conn.execute(
        """SELECT episode_id, task_id, state, severity, reason, due_at, episode_state, last_number
             FROM ccm.task WHERE episode_id = ANY(%s) ORDER BY task_id FOR UPDATE""",
        (list(episodes),),
    )
    return {
        row[0]: Task(
            task_id=row[1],
            state=State(row[2]),
            severity=Severity(row[3]),
            reason=row[4],
            due_at=row[5],
            episode_state=row[6],
            last_number=row[7],
        )
        for row in await cur.fetchall()
    }


async def make(conn: Connection, event: EpisodeMoved, task: Task, items: Sequence[Item], title: str) -> None:
    """One task per episode: the unique key answers a second telling."""
    await conn.execute(
        """INSERT INTO ccm.task (task_id, practice_id, patient_id, episode_id, kind, concern, severity, title,
                                 reason, episode_state, last_number, checklist, state, opened_at, due_at)
           VALUES (%(task_id)s, %(practice_id)s, %(patient_id)s, %(episode_id)s, 'episode', %(concern)s,
                   %(severity)s, %(title)s, %(reason)s, %(episode_state)s, %(last_number)s, %(checklist)s,
                   %(state)s, %(opened_at)s, %(due_at)s)
           ON CONFLICT (episode_id) DO NOTHING""",
        {name: getattr(task, name) for name in Task.__slots__}
        | {
            "practice_id": event.practice_id,
            "patient_id": event.patient_id,
            "episode_id": event.episode_id,
            "concern": event.concern,
            "title": title,
            "checklist": _blank(items),
            "opened_at": event.at,
        },
    )


async def change(conn: Connection, before: Task, after: Task) -> bool:
    """True if the task stood as expected and now stands as `after`. Reopening takes the closing off."""
    done = await conn.execute(
        """UPDATE ccm.task SET state = %(state)s, severity = %(severity)s, reason = %(reason)s, due_at = %(due_at)s,
                  episode_state = %(episode_state)s, last_number = %(last_number)s,
                  closed_at = CASE WHEN %(state)s IN ('done', 'cancelled') THEN closed_at END,
                  closed_by_name = CASE WHEN %(state)s IN ('done', 'cancelled') THEN closed_by_name END
            WHERE task_id = %(task_id)s AND state = %(was)s AND last_number = %(told)s""",
        {name: getattr(after, name) for name in Task.__slots__}
        | {"was": before.state, "told": before.last_number},
    )
    return done.rowcount == 1


def _blank(items: Sequence[Item]) -> Jsonb:
    blank = {"done_at": None, "done_by_name": None}
    return Jsonb([{"key": item.key, "text": item.text} | blank for item in items])


# What people ask ----------------------------------------------------------------------------------------


async def worklist(conn: Connection, *, closed: bool = False, limit: int = 500) -> list[Work]:
    """Open work, the most urgent first; or what was closed last."""
    where = "t.state IN ('done', 'cancelled')" if closed else "t.state NOT IN ('done', 'cancelled')"
    order = "t.closed_at DESC" if closed else "t.due_at, t.task_id"
    async with conn.cursor(row_factory=class_row(Work)) as cur:
        await cur.execute(
            f"SELECT {WORK} FROM ccm.task t WHERE {where} ORDER BY {order} LIMIT %s",  # noqa: S608 - our own words
            (limit,),
        )
        return await cur.fetchall()


async def task(conn: Connection, task_id: UUID) -> Work | None:
    async with conn.cursor(row_factory=class_row(Work)) as cur:
        await cur.execute(f"SELECT {WORK} FROM ccm.task t WHERE t.task_id = %s", (task_id,))  # noqa: S608
        return await cur.fetchone()


async def task_of_episode(conn: Connection, episode_id: UUID) -> UUID | None:
    row = await (
        await conn.execute("SELECT task_id FROM ccm.task WHERE episode_id = %s", (episode_id,))
    ).fetchone()
    return row[0] if row else None


async def tasks_of_patient(conn: Connection, patient_id: UUID) -> list[Work]:
    async with conn.cursor(row_factory=class_row(Work)) as cur:
        await cur.execute(
            f"SELECT {WORK} FROM ccm.task t WHERE t.patient_id = %s ORDER BY t.opened_at DESC",  # noqa: S608
            (patient_id,),
        )
        return await cur.fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One move of an episode, as the alerts room told it."""

    event_id: UUID
    episode_id: UUID
    number: int
    concern: str
    move: str
    severity: str
    reason: str
    at: datetime
    caused_by: UUID
    by_staff: UUID | None
    disposition: str | None
    readings: list[UUID]

    @property
    def words(self) -> str:
        return tasks.move_words(self.move)


async def told(conn: Connection, episodes: Iterable[UUID]) -> list[Told]:
    """The moves of these episodes, from the first."""
    async with conn.cursor(row_factory=class_row(Told)) as cur:
        await cur.execute(
            f"""SELECT {", ".join(Told.__slots__)} FROM ccm.episode_move
                 WHERE episode_id = ANY(%s) ORDER BY at, episode_id, number""",  # noqa: S608
            (list(episodes),),
        )
        return await cur.fetchall()


async def told_of_reading(conn: Connection, reading_id: UUID) -> list[Told]:
    """The first move of each episode that had this reading among its evidence."""
    async with conn.cursor(row_factory=class_row(Told)) as cur:
        await cur.execute(
            f"""SELECT DISTINCT ON (episode_id) {", ".join(Told.__slots__)} FROM ccm.episode_move
                 WHERE readings @> ARRAY[%s]::uuid[] ORDER BY episode_id, number""",  # noqa: S608
            (reading_id,),
        )
        return await cur.fetchall()


async def tasks_of_episodes(conn: Connection, episodes: Iterable[UUID]) -> list[Work]:
    async with conn.cursor(row_factory=class_row(Work)) as cur:
        await cur.execute(
            f"SELECT {WORK} FROM ccm.task t WHERE t.episode_id = ANY(%s) ORDER BY t.opened_at",  # noqa: S608
            (list(episodes),),
        )
        return await cur.fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the practitioner was last asked about a task, and whether they have seen it."""

    task_id: UUID
    question: str
    asked_by: str
    asked_at: datetime
    seen_by: str | None
    seen_at: datetime | None


async def asked(conn: Connection, wanted: Iterable[UUID]) -> dict[UUID, Asked]:
    """The last escalation of each of these tasks, with its first acknowledgement."""
    async with conn.cursor(row_factory=class_row(Asked)) as cur:
        await cur.execute(
            """SELECT DISTINCT ON (e.task_id) e.task_id, e.note AS question, e.by_name AS asked_by, e.at AS asked_at,
                      s.by_name AS seen_by, s.at AS seen_at
                 FROM ccm.task_move e
                 LEFT JOIN LATERAL (SELECT by_name, at FROM ccm.task_move
                                     WHERE task_id = e.task_id AND move = 'acknowledge' AND n > e.n
                                     ORDER BY n LIMIT 1) s ON true
                WHERE e.move = 'escalate' AND e.task_id = ANY(%s) ORDER BY e.task_id, e.n DESC""",
            (list(wanted),),
        )
        return {one.task_id: one for one in await cur.fetchall()}


async def moves(conn: Connection, task_id: UUID) -> list[dict[str, Any]]:
    """What people did with a task, from the first."""
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            "SELECT move, note, by_name, at FROM ccm.task_move WHERE task_id = %s ORDER BY n",
            (task_id,),
        )
        return await cur.fetchall()


async def readings_of_task(conn: Connection, task_id: UUID) -> tuple[UUID, ...]:
    """The readings behind a task's episode: what an entry logged on it acted upon."""
    row = await (
        await conn.execute(
            """SELECT m.readings FROM ccm.task t JOIN ccm.episode_move m USING (episode_id)
                WHERE t.task_id = %s ORDER BY m.number DESC LIMIT 1""",
            (task_id,),
        )
    ).fetchone()
    return tuple(row[0]) if row else ()


# What people do -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who does something, and when."""

    practice_id: int
    staff_id: UUID
    name: str
    at: datetime


async def note_move(conn: Connection, move_id: UUID, task_id: UUID, *, move: str, note: str, by: By) -> bool:
    """False if this very move was written before: a retried request changes nothing."""
    done = await conn.execute(
        """INSERT INTO ccm.task_move (move_id, practice_id, task_id, move, note, by_staff, by_name, at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (move_id) DO NOTHING""",
        (move_id, by.practice_id, task_id, move, note, by.staff_id, by.name, by.at),
    )
    return done.rowcount == 1


async def set_state(
    conn: Connection,
    task_id: UUID,
    *,
    expected: Iterable[State],
    to: State,
    owner: tuple[UUID, str] | None,
    by: By,
    outcome: str | None = None,
) -> bool:
    """True if the task was in one of the expected states and is now in `to`."""
    closed = to in tasks.FINISHED
    done = await conn.execute(
        """UPDATE ccm.task SET state = %(to)s, owner_id = %(owner_id)s, owner_name = %(owner_name)s,
                  outcome = coalesce(%(outcome)s, outcome), closed_at = %(closed_at)s, closed_by_name = %(closed_by)s
            WHERE task_id = %(task_id)s AND state = ANY(%(expected)s)""",
        {
            "to": to,
            "owner_id": owner and owner[0],
            "owner_name": owner and owner[1],
            "outcome": outcome,
            "closed_at": by.at if closed else None,
            "closed_by": by.name if closed else None,
            "task_id": task_id,
            "expected": [str(state) for state in expected],
        },
    )
    return done.rowcount == 1


async def set_checklist(
    conn: Connection, task_id: UUID, *, before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> bool:
    """True if the checklist still stood as it was read: two people ticking at once both find their ticks."""
    done = await conn.execute(
        """UPDATE ccm.task SET checklist = %s
            WHERE task_id = %s AND checklist = %s AND state NOT IN ('done', 'cancelled')""",
        (Jsonb(after), task_id, Jsonb(before)),
    )
    return done.rowcount == 1


async def add_task(
    conn: Connection,
    task_id: UUID,
    *,
    patient_id: UUID,
    kind: str,
    title: str,
    reason: str,
    severity: str,
    items: Sequence[Item],
    due_at: datetime,
    by: By,
) -> bool:
    """A task made by a person or by the plan; False if it was made before."""
    done = await conn.execute(
        """INSERT INTO ccm.task (task_id, practice_id, patient_id, kind, severity, title, reason, checklist, state,
                                 opened_at, due_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'open', %s, %s) ON CONFLICT (task_id) DO NOTHING""",
        (task_id, by.practice_id, patient_id, kind, severity, title, reason, _blank(items), by.at, due_at),
    )
    return done.rowcount == 1
