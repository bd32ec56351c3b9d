"""A patient's month for who was not there: its story in the order of time, and the packet as PDF, JSON and FHIR."""

import asyncio
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from ccm_bridge import claim, packet, packet_service, story_service
from ccm_bridge.desk_web import Desk, Tag, attached
from ccm_bridge.month_lookup_web import Months
from ccm_bridge.month_service import DeviceDays, Row
from ccm_bridge.origins import Origins
from ccm_bridge.story_service import Moment


def router(desk: Desk, days: DeviceDays | None, origins: Origins | None) -> APIRouter:  # noqa: C901 - a table of routes
    """`/month/…/patient/…/story` and `/packet.pdf`, `.json`, `.fhir`."""
    routes = APIRouter()
    months = Months(desk, days)

    async def _moments(
        request: Request, text: str, patient_id: UUID
    ) -> tuple[Tag, Row, list[Moment]] | Response:
        async with desk.transaction(request) as conn:
            found = await months.of_patient(request, conn, text, patient_id)
            if isinstance(found, Response):
                return found
            name, row = found
            return (
                name,
                row,
                await story_service.story(conn, row, patient_id=patient_id, origins=origins),
            )

    @routes.get("/month/{text}/patient/{patient_id}/story")
    async def story(request: Request, text: str, patient_id: UUID) -> Response:
        """The month in the order of time, every line with the way to its row."""
        found = await _moments(request, text, patient_id)
        if isinstance(found, Response):
            return found
        name, row, moments = found
        told = story_service.by_day(moments, ZoneInfo(desk.who(request).zone))
        return desk.page(request, "ccm_bridge/story.html", patient=name, month=row.known.month, days=told)

    @routes.get("/month/{text}/patient/{patient_id}/story.txt")
    async def story_as_text(request: Request, text: str, patient_id: UUID) -> Response:
        """The same to copy into another record."""
        found = await _moments(request, text, patient_id)
        if isinstance(found, Response):
            return found
        name, row, moments = found
        zone = desk.who(request).zone
        title = f"{name.name}, MRN {name.mrn}, {row.known.month:%B %Y} ({zone})"
        return Response(
            story_service.as_text(moments, title=title, zone=ZoneInfo(zone)),
            media_type="text/plain; charset=utf-8",
        )

    @routes.get("/month/{text}/patient/{patient_id}/packet.{form}")
    async def export(request: Request, text: str, patient_id: UUID, form: str) -> Response:
        """The audit packet as PDF or JSON, and the month as FHIR R4."""
        who = desk.who(request)
        async with desk.transaction(request) as conn:
            found = await months.of_patient(request, conn, text, patient_id)
            if isinstance(found, Response):
                return found
            said = await packet_service.gather(
                conn,
                who,
                found[1],
                practice=who.practice_name,
                patient=(await desk.patients(conn, [patient_id]))[patient_id],
                origins=origins,
                now=desk.now(),
            )
        name = f"{said.mrn}-{text}"
        match form:
            case "json":
                return attached(
                    packet.as_json(packet.packet(said)), "application/json", f"packet-{name}.json"
                )
            case "pdf":
                made = await asyncio.to_thread(_pdf, packet.packet(said))
                return attached(made, "application/pdf", f"packet-{name}.pdf")
            case "fhir":
                bundle = msgspec.json.encode(packet_service.as_fhir(said, patient_id))
                return attached(bundle, "application/fhir+json", f"month-{name}.fhir.json")
        return months.gone(request, "A packet is given as pdf, json or fhir.")

    return routes


def _pdf(plain: dict[str, Any]) -> bytes:
    """Drawn outside the event loop: fonts and tables take their time."""
    from ccm_bridge import packet_pdf  # noqa: PLC0415 - the drawing library is loaded when somebody draws

    return packet_pdf.pdf(plain, codes=claim.CODE_WORDS)
