"""The alerts routes: the list, its live stream, an episode, and what people do. All of it works without JavaScript."""

import csv
import io
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Form, Header, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from alerts import (
    acts,
    benign_web,
    call_web,
    episode_web,
    outage_store,
    page_store,
    policy_web,
    quiet_web,
    rota_web,
    service,
    stream_web,
    today_web,
)
from alerts.access import CHAINS, WORKS
from alerts.acts import Answer
from alerts.burden import PUBLISHED, minutes_text, table
from alerts.call_service import Calls, NoCalls
from alerts.concerns import Queue, about
from alerts.contact_store import CareCalls, NoCareCalls
from alerts.desk_web import Desk, Doorbell, must_see, must_work
from alerts.episode import NotPossible
from alerts.page_store import Rung
from alerts.pages_web import Pages
from alerts.policy import DEFAULT, Policy
from alerts.queue_web import view_of

Text = Annotated[str, Form()]
Number = Annotated[int, Form()]
Ticked = Annotated[bool, Form()]
OfQueue = Annotated[Queue, Form()]


def router(
    desk: Desk,
    bell: Doorbell,
    policy: Policy = DEFAULT,
    *,
    care_calls: CareCalls | None = None,
    calls: Calls | None = None,
) -> APIRouter:
    """The room's screens, behind the frame's guard."""
    routes = APIRouter(prefix="/queue")
    pages = Pages(desk, policy, care_calls or NoCareCalls(), calls or NoCalls())
    _seen(routes, pages, bell)
    _done_to_patients(routes, pages)
    _done_to_episodes(routes, pages)
    _agreed(routes, pages)
    _reported(routes, pages)
    _called(routes, pages)
    policy_web.add(routes, pages)
    rota_web.add(routes, pages)
    benign_web.add(routes, pages)
    call_web.add(routes, pages)
    today_web.add(routes, pages)
    quiet_web.add(routes, pages)
    return routes


def _seen(routes: APIRouter, pages: Pages, bell: Doorbell) -> None:
    """What is looked at."""

    @routes.get("", response_class=HTMLResponse)
    async def the_queue(request: Request) -> HTMLResponse:
        """`tab`, `show`, `severity`, `concern`, `page`: see `queue_web.View`."""
        return await pages.the_list(request, view_of(pages.allowed(request), request.query_params))

    @routes.get("/stream")
    async def live(
        request: Request, since: int = 0, last_event_id: Annotated[str | None, Header()] = None
    ) -> Response:
        """Hints that something moved; `Last-Event-ID` is the number of the last transition the browser heard."""
        pages.allowed(request)
        heard = int(last_event_id) if last_event_id and last_event_id.isdecimal() else since
        return stream_web.stream(pages.desk, bell, request, heard)

    @routes.get("/episode/{episode_id}", response_class=HTMLResponse)
    async def one(request: Request, episode_id: UUID) -> HTMLResponse:
        """Its address carries the part of the list that it was opened from, so that the way back leads there."""
        return await pages.the_episode(request, episode_id, back=f"?{request.url.query}")


def _done_to_patients(routes: APIRouter, pages: Pages) -> None:
    """Acts on everything a patient has in one queue: one telephone call covers it."""

    @routes.post("/patient/{patient_id}/claim")
    async def claim(
        request: Request, patient_id: UUID, queue: OfQueue = Queue.CLINICAL, back: Text = ""
    ) -> Response:
        """Compare and set: of any number of claims at once, one wins."""
        return await pages.on_patient(
            request, lambda conn, act: service.claim(conn, patient_id, act, queue), queue=queue, back=back
        )

    @routes.post("/patient/{patient_id}/take-over")
    async def take_over(
        request: Request, patient_id: UUID, queue: OfQueue = Queue.CLINICAL, back: Text = ""
    ) -> Response:
        return await pages.on_patient(
            request, lambda conn, act: service.take_over(conn, patient_id, act, queue), queue=queue, back=back
        )

    @routes.post("/patient/{patient_id}/hand-back")
    async def hand_back(
        request: Request, patient_id: UUID, queue: OfQueue = Queue.CLINICAL, back: Text = ""
    ) -> Response:
        return await pages.on_patient(
            request, lambda conn, act: service.hand_back(conn, patient_id, act, queue), queue=queue, back=back
        )

    @routes.post("/undo")
    async def undo(request: Request, act_id: Annotated[UUID, Form()], back: Text = "") -> Response:
        """Take back the last thing one did: the same person, the same day."""
        if not any(pages.allowed(request) in roles for roles in WORKS.values()):
            raise HTTPException(403, "You have nothing here to undo.")
        async with pages.desk.transaction(request) as conn:
            answer = await service.undo(conn, act_id, await pages.acting(request, conn))
        return await pages.answered(request, answer, back=back)


def _done_to_episodes(routes: APIRouter, pages: Pages) -> None:
    """Acts on one episode. `seen` is the number of the last transition that the person's page showed."""

    @routes.post("/episode/{episode_id}/escalate")
    async def escalate(
        request: Request, episode_id: UUID, seen: Number, note: Text = "", back: Text = ""
    ) -> Response:
        return await pages.on_episode(
            request, episode_id, lambda act, e: acts.escalate(act, e, note), back=back, seen=seen, kept=note
        )

    @routes.post("/episode/{episode_id}/settle")
    async def settle(
        request: Request,
        episode_id: UUID,
        seen: Number,
        code: Text = "",
        note: Text = "",
        task: Ticked = False,  # noqa: FBT002 - a box to tick
        close: Ticked = False,  # noqa: FBT002
        back: Text = "",
    ) -> Response:
        return await pages.on_episode(
            request,
            episode_id,
            lambda act, e: acts.settle(act, e, code=code, note=note, needs_task=task, close=close),
            back=back,
            seen=seen,
            kept=note,
        )

    @routes.post("/episode/{episode_id}/snooze")
    async def snooze(
        request: Request,
        episode_id: UUID,
        seen: Number,
        reason: Text = "",
        minutes: Number = 60,
        back: Text = "",
    ) -> Response:
        return await pages.on_episode(
            request,
            episode_id,
            lambda act, e: acts.snooze(act, e, reason=reason, minutes=minutes),
            back=back,
            seen=seen,
        )

    @routes.post("/episode/{episode_id}/close")
    async def close(request: Request, episode_id: UUID, seen: Number, back: Text = "") -> Response:
        return await pages.on_episode(request, episode_id, acts.close_now, back=back, seen=seen)

    @routes.post("/episode/{episode_id}/task")
    async def task(request: Request, episode_id: UUID, note: Text = "", back: Text = "") -> Response:
        return await pages.on_episode(
            request, episode_id, lambda act, e: acts.ask_task(act, e, note), back=back, kept=note, ends=False
        )

    @routes.post("/episode/{episode_id}/comment")
    async def comment(
        request: Request,
        episode_id: UUID,
        comment_id: Annotated[UUID, Form()],
        said: Text = "",
        back: Text = "",
    ) -> Response:
        """Anybody of the team may say something, also those who may not settle."""
        desk, act = pages.desk, pages.act(request)
        async with desk.transaction(request) as conn:
            episode = await episode_web.found(conn, desk, request, episode_id)
            must_work(
                desk.who(request), Queue.ADHERENCE if episode.queue is Queue.CLINICAL else episode.queue
            )
            refused = await service.comment(conn, episode_id, act, comment_id=comment_id, said=said)
        return await pages.answered(request, refused or [], back=back, kept=said)


def _agreed(routes: APIRouter, pages: Pages) -> None:
    """Who measures how often, and who need not for a while."""

    @routes.get("/measuring", response_class=HTMLResponse)
    async def measuring(request: Request) -> HTMLResponse:
        must_see(pages.desk.who(request), Queue.ADHERENCE)
        return await pages.measuring(request)

    @routes.post("/measuring/{patient_id}/{kind}")
    async def agree(
        request: Request,
        patient_id: UUID,
        kind: str,
        every_hours: Number,
        until: Text = "",
        reason: Text = "",
    ) -> Response:
        must_work(pages.desk.who(request), Queue.ADHERENCE)
        return await pages.agree(
            request, patient_id, kind, every_hours=every_hours, until=until.strip(), reason=reason.strip()
        )


def _reported(routes: APIRouter, pages: Pages) -> None:
    """What the queue costs, and what a shift leaves behind."""

    @routes.get("/burden", response_class=HTMLResponse)
    async def burden(request: Request, days: Annotated[int, Query(ge=1, le=366)] = 30) -> HTMLResponse:
        pages.allowed(request)
        weighed = await pages.burden(request, days)
        return pages.desk.page(
            request,
            "alerts/burden.html",
            burden=weighed,
            days=days,
            published=PUBLISHED,
            minutes=minutes_text,
            about=about,
        )

    @routes.get("/burden.csv")
    async def spreadsheet(
        request: Request, days: Annotated[int, Query(ge=1, le=366)] = 30
    ) -> PlainTextResponse:
        pages.allowed(request)
        lines = io.StringIO()
        csv.writer(lines).writerows(table(await pages.burden(request, days)))
        said = {"content-disposition": f'attachment; filename="burden-{days}-days.csv"'}
        return PlainTextResponse(lines.getvalue(), media_type="text/csv", headers=said)

    @routes.get("/handover", response_class=HTMLResponse)
    async def handover(request: Request, hours: Annotated[int, Query(ge=1, le=72)] = 12) -> HTMLResponse:
        must_see(pages.desk.who(request), Queue.CLINICAL)
        return await pages.handover(request, hours)


def _called(routes: APIRouter, pages: Pages) -> None:
    """Whom to call when nobody comes."""

    @routes.get("/chain", response_class=HTMLResponse)
    async def chain(request: Request) -> HTMLResponse:
        pages.allowed(request)
        return await pages.chain(request)

    @routes.post("/chain")
    async def lengthen(
        request: Request,
        severity: Text = "",
        wait_minutes: Number = 0,
        repeat_minutes: Text = "",
        channel: Text = "",
        whom: Text = "",
        target: Text = "",
    ) -> Response:
        """`whom` is one of `escalation.TARGETS`, or empty for the address in `target`."""
        pages.desk.require(request, *CHAINS)
        rung = Rung(
            rung_id=uuid4(),
            severity=severity,
            wait_minutes=wait_minutes,
            repeat_minutes=int(repeat_minutes) if repeat_minutes.isdecimal() else None,
            channel=channel,
            target=whom or target.strip(),
        )
        return await pages.lengthen(request, rung)

    @routes.post("/outage/{outage_id}/take")
    async def mend(
        request: Request, outage_id: UUID, owner: Annotated[UUID | None, Form()] = None
    ) -> Response:
        """Somebody says that they see to a channel that does not work. `owner`: who had it on their page."""
        who = pages.desk.who(request)
        must_work(who, Queue.TECHNICAL)
        async with pages.desk.transaction(request) as conn:
            taken = await outage_store.take(
                conn, outage_id, by=who.staff_id, by_name=who.name, expected=owner
            )
            has = await outage_store.owner_name(conn, outage_id)
        if has is None:
            raise HTTPException(404, "That is over already. Look again.")
        answer: Answer = (
            [] if taken else NotPossible(f"{has or 'Nobody'} is on this by now. Nothing was changed.")
        )
        return await pages.answered(request, answer, back="?tab=technical")

    @routes.post("/chain/{rung_id}/end")
    async def shorten(request: Request, rung_id: UUID) -> Response:
        pages.desk.require(request, *CHAINS)
        async with pages.desk.transaction(request) as conn:
            if not await page_store.end(conn, rung_id, at=pages.desk.now()):
                raise HTTPException(404, "There is no such rung in your chain.")
        return RedirectResponse("/queue/chain", status_code=303)
