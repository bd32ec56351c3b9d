"""Everything that is quiet at the moment, and when each quiet ends: nothing stays silenced by accident."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from alerts import policy_store, screen_store
from alerts.access import seen_by
from alerts.concerns import Queue, about
from alerts.dispositions import DISPOSITIONS
from alerts.episode import State
from alerts.pages_web import Pages
from alerts.triage import rests_until


def add(routes: APIRouter, pages: Pages) -> None:
    """`/queue/quiet`."""

    @routes.get("/quiet", response_class=HTMLResponse)
    async def quiet(request: Request) -> HTMLResponse:
        pages.allowed(request)
        desk, act = pages.desk, pages.act(request)
        who = desk.who(request)
        queues = seen_by(who.role)
        async with desk.transaction(request) as conn:
            found = await screen_store.quiet(conn, queues)
            paused = (
                [
                    row
                    for row in await screen_store.measuring(conn)
                    if row.paused_until and row.paused_until > act.now
                ]
                if Queue.ADHERENCE in queues
                else []
            )
            held = (await policy_store.in_force(conn, [who.practice_id], otherwise=pages.policy)).of(
                who.practice_id
            )
            ids = {one.episode.patient_id for one in found} | {row.patient_id for row in paused}
            patients = await desk.patients(conn, ids)
        return desk.page(
            request,
            "alerts/quiet.html",
            snoozed=[one for one in found if one.episode.state is State.SNOOZED],
            handled=[one for one in found if one.episode.state is State.HANDLED],
            paused=paused,
            rests_until=lambda episode: rests_until(episode, held),
            patients=patients,
            about=about,
            dispositions=DISPOSITIONS,
            clock=act.clock,
        )
