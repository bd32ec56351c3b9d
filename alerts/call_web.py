"""The call on an episode's page: one form begins it, one ends it."""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from alerts import call_service, episode_web
from alerts.desk_web import must_work
from alerts.episode import NotPossible
from alerts.pages_web import Pages, view_said


def add(routes: APIRouter, pages: Pages) -> None:
    """`/queue/episode/{id}/call` begins, `/queue/episode/{id}/call/end` settles and logs."""
    desk = pages.desk

    @routes.post("/episode/{episode_id}/call")
    async def begin(
        request: Request,
        episode_id: UUID,
        timer_id: UUID | None = None,
        program: Annotated[str, Form()] = "",
        back: Annotated[str, Form()] = "",
    ) -> Response:
        async with desk.transaction(request) as conn:
            episode = await episode_web.found(conn, desk, request, episode_id)
            must_work(desk.who(request), episode.queue)
            answer = await call_service.begin(
                pages.calls,
                request,
                conn,
                episode,
                await pages.acting(request, conn),
                timer_id=timer_id or uuid4(),
                program=program,
            )
        return await pages.answered(request, answer, back=back or str(episode_id))

    @routes.post("/episode/{episode_id}/call/end")
    async def end(request: Request, episode_id: UUID, seen: Annotated[int, Form()]) -> Response:
        sent = await request.form()
        said = {name: value.strip() for name, value in sent.items() if isinstance(value, str)}
        async with desk.transaction(request) as conn:
            episode = await episode_web.found(conn, desk, request, episode_id)
            must_work(desk.who(request), episode.queue)
            answer, told = await call_service.end(
                pages.calls, request, conn, episode, await pages.acting(request, conn), said, seen=seen
            )
        back = said.get("back") or f"{episode_id}?tab={episode.queue}"
        view = view_said(back, desk.who(request).role)
        if told:
            return await pages.the_list(request, view, told=told)
        back = back if isinstance(answer, NotPossible) else view.url("")
        return await pages.answered(request, answer, back=back, kept=said.get("note", ""))
