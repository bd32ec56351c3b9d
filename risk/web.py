"""The routes of the risk screens. All of it works without JavaScript."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response

from risk.desk_web import Desk
from risk.labels import Labels
from risk.pages_web import Draft, Pages
from risk.scoring import Model
from risk.store import packaged_model

Text = Annotated[str, Form()]


def router(desk: Desk, labels: Labels, model: Model | None = None) -> APIRouter:
    """The room's screens, behind the frame's guard. Order matters: "practice" is no patient's id."""
    routes = APIRouter(prefix="/patients")
    pages = Pages(desk, labels, packaged_model() if model is None else model)

    @routes.get("", response_class=HTMLResponse)
    async def everybody(
        request: Request, bucket: str = "", find: str = "", start: Annotated[int, Query(ge=0)] = 0
    ) -> HTMLResponse:
        return await pages.everybody(request, bucket=bucket, find=find.strip(), start=start)

    @routes.get("/practice", response_class=HTMLResponse)
    async def practice(request: Request, what: str = "", value: str = "", until: str = "") -> HTMLResponse:
        return await pages.practice(request, Draft(what=what, value=value, until=until))

    @routes.post("/practice/decide")
    async def decide_for_all(
        request: Request,
        decision_id: Annotated[UUID, Form()],
        what: Text = "",
        value: Text = "",
        until: Text = "",
        reason: Text = "",
        seen: Text = "",
    ) -> Response:
        told = Draft(what=what, value=value, until=until, reason=reason, seen=seen, decision_id=decision_id)
        return await pages.decide(request, None, told)

    @routes.get("/{patient_id}", response_class=HTMLResponse)
    async def one(
        request: Request, patient_id: UUID, what: str = "", value: str = "", until: str = ""
    ) -> HTMLResponse:
        return await pages.one(request, patient_id, Draft(what=what, value=value, until=until))

    @routes.post("/{patient_id}/decide")
    async def decide(
        request: Request,
        patient_id: UUID,
        decision_id: Annotated[UUID, Form()],
        what: Text = "",
        value: Text = "",
        until: Text = "",
        reason: Text = "",
        seen: Text = "",
    ) -> Response:
        """A limit, a budget or a new baseline, from now on; always with a reason, and the author is who is signed in."""
        told = Draft(what=what, value=value, until=until, reason=reason, seen=seen, decision_id=decision_id)
        return await pages.decide(request, patient_id, told)

    return routes
