"""The list: one row per patient in the order to work through, put together from a handful of queries."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from fastapi import Request
from psycopg import AsyncConnection

from alerts import contact_store, desk_store, outage_store, screen_store
from alerts.access import WORKS, seen_by
from alerts.acts import PHYSICIAN, Act
from alerts.concerns import ABOUT, Queue, about
from alerts.contact import contact_text
from alerts.contact_store import CareCalls
from alerts.desk_web import Desk, clock, midnight
from alerts.dispositions import DISPOSITIONS
from alerts.escalation import SPOKEN
from alerts.events import Severity
from alerts.outage import cause_text
from alerts.row import Known, Row, a_row
from alerts.screen_store import Want
from alerts.sketch import UNITS, sketch
from alerts.worklist import WORDS, Place, Section, Tally, Viewer, summary, waiting
from alerts.worklist_store import worklist

PAGE: Final = 60
SHOW: Final = ("all", "free", "mine", "late")


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of the list somebody looks at: kept in the address, so that it survives a reload and a colleague."""

    queue: Queue
    show: str = "all"
    severity: Severity | None = None
    concern: str = ""
    page: int = 1

    def url(self, path: str = "/queue", **changes: Any) -> str:
        view = msgspec.structs.replace(self, **changes)
        said = f"tab={view.queue}"
        said += f"&show={view.show}" if view.show != "all" else ""
        said += f"&severity={view.severity}" if view.severity else ""
        said += f"&concern={view.concern}" if view.concern else ""
        return f"{path}?{said}" + (f"&page={view.page}" if view.page > 1 else "")


def view_of(role: str, said: Mapping[str, str]) -> View:
    """What the address asks for, as far as this role may see it and makes sense; otherwise the first that it works.

    >>> [view_of(role, {}).queue.value for role in ("nurse", "coordinator", "admin", "auditor")]
    ['clinical', 'adherence', 'technical', 'clinical']
    """
    mine = seen_by(role)
    works = [queue for queue in mine if role in WORKS[queue]] or mine or [Queue.CLINICAL]
    queue = next((q for q in mine if q.value == said.get("tab")), works[0])
    show, page = said.get("show", "all"), said.get("page", "1")
    concern = said.get("concern", "")
    return View(
        queue=queue,
        show=show if show in SHOW else "all",
        severity=next((s for s in Severity if s.value == said.get("severity")), None),
        concern=concern if concern in ABOUT else "",
        page=max(1, min(int(page), 1000)) if page.isdecimal() and len(page) <= DIGITS else 1,
    )


DIGITS: Final = 4
OVER: Final = timedelta(days=3)
"""How long an outage that is over is still shown."""


async def listed(
    desk: Desk, request: Request, conn: AsyncConnection, view: View, act: Act, care_calls: CareCalls
) -> dict[str, Any]:
    """Everything the list shows."""
    who, now = desk.who(request), act.now
    seq = await screen_store.newest_seq(conn)  # first: what moves while we look is heard about
    viewer, queues = Viewer(who.staff_id, who.role == PHYSICIAN), seen_by(who.role)
    tallies, places = await worklist(
        conn,
        queues,
        viewer,
        now=now,
        queue=view.queue,
        show=view.show,
        severity=view.severity,
        concern=view.concern,
        limit=PAGE,
        offset=(view.page - 1) * PAGE,
    )
    here = [tally for tally in tallies if tally.queue is view.queue]
    counts = {s: sum(tally.patients for tally in here if tally.section is s) for s in Section}
    chosen = {s: sum(tally.chosen for tally in here if tally.section is s) for s in Section}
    total = sum(chosen.values())
    rows = await _rows(desk, conn, view.queue, places, act, care_calls)
    by_section: dict[Section, list[Row]] = {}
    for row in rows:
        by_section.setdefault(row.place.section, []).append(row)
    undoable = await screen_store.undoable(conn, who.staff_id, since=midnight(who, now))
    outages = await outage_store.since(conn, now - OVER)
    unowned = sum(one.ended_at is None and one.owner is None for one in outages)
    return {
        "view": view,
        "tabs": [
            (
                queue,
                waiting(t for t in tallies if t.queue is queue)
                + (unowned if queue is Queue.TECHNICAL else 0),
            )
            for queue in queues
        ],
        "sections": [(section, by_section[section], chosen[section]) for section in by_section],
        "counts": counts,
        "summary": summary(here, view.queue, besides=unowned if view.queue is Queue.TECHNICAL else 0),
        "empty": _empty(view, works=who.role in WORKS[view.queue]),
        "more": total > view.page * PAGE,
        "shown": (view.page - 1) * PAGE + len(rows),
        "total": total,
        "works": who.role in WORKS[view.queue],
        "provider": viewer.provider,
        "undoable": undoable,
        "undoable_name": await _name(desk, conn, undoable.patient_id) if undoable else "",
        "seq": seq,
        "saved": await desk_store.saved(conn, who.staff_id),
        "severities": list(reversed(Severity)),
        "concerns": [(name, facts.label) for name, facts in ABOUT.items() if facts.queue is view.queue],
        "benign": _benign(tallies) if who.role in WORKS[Queue.CLINICAL] else 0,
        "outages": outages,
        "cause": cause_text,
        "spoken_channel": SPOKEN,
        "dispositions": DISPOSITIONS,
        "about": about,
        "clock": act.clock,
    }


def _empty(view: View, *, works: bool) -> str:
    """What stands where no row is: of a whole queue in the words of its work, of a part of it nothing about the rest."""
    if view.url() != View(queue=view.queue).url():
        return "Nobody in this part of the list."
    return WORDS[view.queue].empty if works else f"{WORDS[view.queue].none}."


def _benign(tallies: Sequence[Tally]) -> int:
    """How many may need no more than a look."""
    return sum(
        t.patients
        for t in tallies
        if t.queue is Queue.CLINICAL and t.section is Section.LATER and t.severity is Severity.WATCH
    )


async def _name(desk: Desk, conn: AsyncConnection, patient_id: UUID) -> str:
    found = await desk.patients(conn, [patient_id])
    return found[patient_id].name if patient_id in found else ""


async def _rows(
    desk: Desk,
    conn: AsyncConnection,
    queue: Queue,
    found: Sequence[Place],
    act: Act,
    care_calls: CareCalls,
) -> list[Row]:
    """Rows for these places: six queries, however many rows."""
    if not found:
        return []
    ids = [place.patient_id for place in found]
    episodes = await screen_store.open_episodes(conn, ids)
    patients = await desk.patients(conn, ids)
    shown = {
        e.patient_id: e
        for place in found
        for e in episodes[place.patient_id]
        if e.episode_id == place.episode_id
    }
    wants = [
        Want(patient_id, facts.kind, facts.quantity)
        for patient_id, e in shown.items()
        if (facts := about(e.concern)).kind and facts.quantity
    ]
    lines = await screen_store.points(conn, wants)
    latest = await screen_store.latest(conn, wants)
    told = await screen_store.readings(conn, [e.told_reading for e in shown.values()])
    contacts = await contact_store.last(conn, care_calls, ids)
    quantities = {want.patient_id: want.quantity for want in wants}
    rows = []
    for place in found:
        patient, episode = patients[place.patient_id], shown[place.patient_id]
        quantity = quantities.get(place.patient_id, "systolic")
        known = Known(
            episodes=[e for e in episodes[place.patient_id] if e.queue is queue],
            told=told.get(episode.told_reading),
            latest=latest.get(place.patient_id),
            sketch=sketch(lines.get(place.patient_id, []), width=132, height=40, unit=UNITS[quantity]),
            name=patient.name,
            mrn=patient.mrn,
            born=patient.born,
            contact=contact_text(contacts.get(place.patient_id), act),
        )
        until = clock(act, episode.until)
        rows.append(a_row(place, known, role=act.person.role, until=until, now=act.now))
    return rows
