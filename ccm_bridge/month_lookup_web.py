"""How screens come to a patient's month: by its text and the patient's id, or to a sentence that says why not."""

from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import Request
from fastapi.responses import Response

from ccm_bridge import month_service
from ccm_bridge.desk_web import Desk, Tag, read_month, refusal, tags, today
from ccm_bridge.ledger import first_instant, next_month
from ccm_bridge.month import STANDING_WORDS, Standing
from ccm_bridge.month_service import DeviceDays, Row
from ccm_bridge.service import Refused
from ccm_bridge.store import Connection

CCM_TICKS, RPM_TICKS = (20, 40, 60), (10, 20, 40, 60)
"""Minutes at which a code begins, for the bars."""


class Months:
    """A desk, and where device days are asked for."""

    def __init__(self, desk: Desk, days: DeviceDays | None) -> None:
        self.desk, self.days = desk, days

    def gone(self, request: Request, sentence: str) -> Response:
        return refusal(self.desk, request, Refused(status=404, sentence=sentence), back="/month")

    def read(self, request: Request, text: str) -> date | Response:
        """The month of an address."""
        month = read_month(text)
        return self.gone(request, "A month is written like 2026-11.") if month is None else month

    async def row(self, request: Request, conn: Connection, month: date, patient_id: UUID) -> Row:
        found = await month_service.rows(
            conn,
            zone=self.desk.who(request).zone,
            month=month,
            now=self.desk.now(),
            days=self.days,
            patients=[patient_id],
        )
        return found[0]

    async def of_patient(
        self, request: Request, conn: Connection, text: str, patient_id: UUID
    ) -> tuple[Tag, Row] | Response:
        """Whose month, and the month decided now."""
        month = self.read(request, text)
        if isinstance(month, Response):
            return month
        if not await self.desk.patients(conn, [patient_id]):
            return self.gone(request, "There is no such patient here.")
        row = await self.row(request, conn, month, patient_id)
        names = await tags(self.desk, conn, [patient_id], today(self.desk, self.desk.who(request)))
        return names[patient_id], row


def over(month: date, zone: str, now: datetime) -> bool:
    return now >= first_instant(next_month(month), ZoneInfo(zone))


def standing_words(month: date, zone: str, now: datetime) -> dict[Standing, str]:
    """While the month runs, nothing is ready: it is supported so far."""
    return STANDING_WORDS if over(month, zone, now) else STANDING_WORDS | {Standing.READY: "Supported so far"}
