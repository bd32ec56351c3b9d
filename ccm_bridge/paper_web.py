"""What the patient is given: the copy of the plan and the month's letter, on a page and in large print."""

import asyncio
from collections.abc import Iterable
from datetime import date, datetime
from itertools import groupby
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from ccm_bridge import enrolment_store, letter_service, month_service, packet_service, plan_store
from ccm_bridge.desk_web import Desk, attached, form_of, read_month, refusal, uuid_of
from ccm_bridge.letter_service import Recipient
from ccm_bridge.month_service import DeviceDays
from ccm_bridge.origins import Origins
from ccm_bridge.packet import Evidence
from ccm_bridge.plain import Block, Sheet, plan_copy
from ccm_bridge.service import WORKING, Refused
from ccm_bridge.store import Connection


def router(desk: Desk, days: DeviceDays | None, origins: Origins | None) -> APIRouter:  # noqa: C901, PLR0915 - routes
    """`/care/…/plan/…/copy` and `/month/…/letter`."""
    routes = APIRouter()

    def gone(request: Request, back: str = "/care") -> Response:
        sentence = "There is no such patient or version here."
        return refusal(desk, request, Refused(status=404, sentence=sentence), back=back)

    @routes.get("/care/{patient_id}/plan/{version}/{form}")
    async def copy(request: Request, patient_id: UUID, version: int, form: str) -> Response:
        """The patient's copy of one version: `copy`, or `copy.pdf` in large print."""
        who = desk.who(request)
        async with desk.transaction(request) as conn:
            patient = (await desk.patients(conn, [patient_id])).get(patient_id)
            versions = await plan_store.versions(conn, patient_id)
            enrolled = (await enrolment_store.enrolments(conn, [patient_id])).get(patient_id)
        plan = next((one for one in versions if one.version == version), None)
        if patient is None or plan is None or form not in ("copy", "copy.pdf"):
            return gone(request)
        sheet = plan_copy(
            plan, enrolled, name=patient.name, practice=who.practice_name, zone=ZoneInfo(who.zone)
        )
        if form == "copy.pdf":
            made = await asyncio.to_thread(_pdf, sheet, desk.now())
            return attached(made, "application/pdf", f"care-plan-{patient.mrn}-v{version}.pdf")
        return _page(
            desk,
            request,
            sheet,
            back=f"/care/{patient_id}",
            pdf=f"/care/{patient_id}/plan/{version}/copy.pdf",
        )

    async def _evidence(request: Request, conn: Connection, month: date, patient_id: UUID) -> Evidence | None:
        """What the month's letter is told from; None: not a patient here."""
        who = desk.who(request)
        patient = (await desk.patients(conn, [patient_id])).get(patient_id)
        if patient is None:
            return None
        found = await month_service.rows(
            conn, zone=who.zone, month=month, now=desk.now(), days=days, patients=[patient_id]
        )
        return await packet_service.gather(
            conn,
            who,
            found[0],
            practice=who.practice_name,
            patient=patient,
            origins=origins,
            now=desk.now(),
        )

    async def _written(
        request: Request, text: str, patient_id: UUID, to: str
    ) -> tuple[Evidence, Sheet, Recipient, list[Any]] | Response:
        month = read_month(text)
        if month is None:
            return gone(request, "/month")
        back = f"/month/{text}/patient/{patient_id}"
        async with desk.transaction(request) as conn:
            said = await _evidence(request, conn, month, patient_id)
            if said is None:
                return gone(request, "/month")
            whom = letter_service.recipient(said, to)
            if isinstance(whom, Refused):
                return refusal(desk, request, whom, back=back)
            sheet = await letter_service.sheet(conn, said, patient_id, whom)
            return said, sheet, whom, list(await letter_service.given(conn, patient_id, month))

    @routes.get("/month/{text}/patient/{patient_id}/letter")
    async def letter(request: Request, text: str, patient_id: UUID, to: str = "patient") -> Response:
        """The month in plain words, for the patient and for whom the patient allowed to be told."""
        found = await _written(request, text, patient_id, to)
        if isinstance(found, Response):
            return found
        said, sheet, whom, given = found
        here = f"/month/{text}/patient/{patient_id}/letter"
        return _page(
            desk,
            request,
            sheet,
            back=f"/month/{text}/patient/{patient_id}",
            pdf=f"{here}.pdf?to={whom.key}",
            others=[
                {"href": f"{here}?to={one.key}", "label": f"To {one.words}", "here": one.key == whom.key}
                for one in letter_service.recipients(said)
            ],
            giving=here if desk.who(request).role in WORKING else "",
            given=given,
            to=whom.key,
            to_words=whom.words,
        )

    @routes.get("/month/{text}/patient/{patient_id}/letter.pdf")
    async def printed(request: Request, text: str, patient_id: UUID, to: str = "patient") -> Response:
        found = await _written(request, text, patient_id, to)
        if isinstance(found, Response):
            return found
        said, sheet, _, _ = found
        made = await asyncio.to_thread(_pdf, sheet, desk.now())
        return attached(made, "application/pdf", f"letter-{said.mrn}-{text}.pdf")

    @routes.post("/month/{text}/patient/{patient_id}/letter")
    async def give(request: Request, text: str, patient_id: UUID) -> Response:
        """The letter as it stands now is recorded as given."""
        form, month = await form_of(request), read_month(text)
        if month is None:
            return gone(request, "/month")
        back = f"/month/{text}/patient/{patient_id}/letter"
        async with desk.transaction(request) as conn:
            said = await _evidence(request, conn, month, patient_id)
            if said is None:
                return gone(request, "/month")
            whom = letter_service.recipient(said, form.get("to", ""))
            if isinstance(whom, Refused):
                return refusal(desk, request, whom, back=back)
            refused = await letter_service.give(
                conn,
                desk.who(request),
                uuid_of(form.get("letter_id")) or uuid4(),
                patient_id,
                month=month,
                to=whom,
                how=form.get("how", ""),
                words=await letter_service.sheet(conn, said, patient_id, whom),
                now=desk.now(),
            )
        if refused:
            return refusal(desk, request, refused, back=back)
        return RedirectResponse(f"{back}?to={whom.key}", status_code=303)

    return routes


def _page(desk: Desk, request: Request, sheet: Sheet, **context: Any) -> Response:
    empty: dict[str, Any] = {
        "others": [],
        "giving": "",
        "given": [],
        "to": "",
        "to_words": "",
        "refused": None,
    }
    return desk.page(
        request,
        "ccm_bridge/sheet.html",
        sheet=sheet,
        groups=_groups(sheet.blocks),
        new_id=uuid4,
        **empty | context,
    )


def _groups(blocks: Iterable[Block]) -> list[list[Block]]:
    """Lines of a list together, so that they become one list."""
    return [list(group) for _, group in groupby(blocks, key=lambda block: block.kind == "item")]


def _pdf(sheet: Sheet, made_at: datetime) -> bytes:
    """Drawn outside the event loop; the drawing library is loaded when somebody draws."""
    from ccm_bridge import large_print  # noqa: PLC0415

    return large_print.pdf(sheet, made_at=made_at)
