"""The chain's screens: from a minute back to the bytes of the cuff, and from a reading forward to the claim line."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from ccm_bridge import month_service, store, time_store
from ccm_bridge.desk_web import Desk, refusal, tags, today
from ccm_bridge.ledger import ACTIVITIES
from ccm_bridge.month_service import DeviceDays
from ccm_bridge.origins import Origins, shown
from ccm_bridge.service import Refused
from ccm_bridge.store import Connection, Told
from ccm_bridge.time_store import Written


def router(desk: Desk, days: DeviceDays | None, origins: Origins | None) -> APIRouter:
    """`/chain/entry/{id}` walks back, `/chain/reading/{id}` walks forward."""
    routes = APIRouter()

    def gone(request: Request, what: str) -> Response:
        return refusal(
            desk, request, Refused(status=404, sentence=f"There is no such {what} here."), back="/month"
        )

    @routes.get("/chain/entry/{entry_id}")
    async def back(request: Request, entry_id: UUID) -> Response:
        who = desk.who(request)
        async with desk.transaction(request) as conn:
            entry = await time_store.entry(conn, entry_id)
            if entry is None:
                return gone(request, "entry")
            names = await tags(desk, conn, [entry.patient_id], today(desk, who))
            task_id = entry.task_id
            if task_id is None and entry.episode_id:  # a call, older than the task that its alert asked for
                task_id = await store.task_of_episode(conn, entry.episode_id)
            work = await store.task(conn, task_id) if task_id else None
            alert = entry.episode_id or (work.episode_id if work else None)
            told = await store.told(conn, [alert]) if alert else []
            row = (
                await month_service.rows(
                    conn,
                    zone=who.zone,
                    month=entry.month,
                    now=desk.now(),
                    days=days,
                    patients=[entry.patient_id],
                )
            )[0]
            context = {
                "entry": entry,
                "patient": names[entry.patient_id],
                "work": work,
                "told": told,
                "codes": _supported(row.decision.codes, entry),
                "month": entry.month,
                "activities": ACTIVITIES,
                **await _beyond(conn, origins, entry, told),
            }
        return desk.page(request, "ccm_bridge/chain.html", shown=shown, **context)

    @routes.get("/chain/reading/{reading_id}")
    async def forward(request: Request, reading_id: UUID) -> Response:
        """What became of a reading: the alerts it is evidence of, the work, the minutes."""
        who = desk.who(request)
        async with desk.transaction(request) as conn:
            told = await store.told_of_reading(conn, reading_id)
            measured = (await origins.readings(conn, [reading_id])).get(reading_id) if origins else None
            if not told and measured is None:
                return gone(request, "reading")
            work = await store.tasks_of_episodes(conn, {one.episode_id for one in told})
            entries = await time_store.of_reading(conn, reading_id)
            people = {one.patient_id for one in work} | {one.patient_id for one in entries}
            people |= {measured.patient_id} if measured else set()
            names = await tags(desk, conn, people, today(desk, who))
        return desk.page(
            request,
            "ccm_bridge/reading.html",
            reading_id=reading_id,
            measured=measured,
            told=told,
            work=work,
            entries=entries,
            names=names,
            activities=ACTIVITIES,
            shown=shown,
        )

    return routes


def _supported(codes: Any, entry: Written) -> list[str]:
    """The month's codes of the entry's programme: what its minutes help to support."""
    families = {
        "CCM": ("99490", "99439", "99487", "99489", "99491", "99437"),
        "PCM": ("99424", "99425", "99426", "99427"),
        "RPM": ("99470", "99457", "99458"),
    }
    return [f"{code} ×{codes[code]}" for code in families.get(entry.program, ()) if code in codes]


async def _beyond(
    conn: Connection, origins: Origins | None, entry: Written, told: list[Told]
) -> dict[str, Any]:
    """Scores and readings from the rooms to the left, through the port."""
    caused = [one.caused_by for one in told if one.by_staff is None]
    wanted = list(dict.fromkeys([*entry.readings, *(r for one in told for r in one.readings)]))
    if origins is None:
        return {"scores": {}, "readings": {}, "wanted": wanted, "reachable": False}
    scores = await origins.scores(conn, entry.patient_id, caused)
    readings = await origins.readings(conn, wanted)
    return {"scores": scores, "readings": readings, "wanted": wanted, "reachable": True}
