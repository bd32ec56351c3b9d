"""The month's letter: what it tells, to whom it may go, and the record that it was given, in its own words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from psycopg.rows import dict_row

from ccm_bridge import careplan, plan_store
from ccm_bridge.careplan import Plan
from ccm_bridge.enrolment import Caregiver
from ccm_bridge.ledger import first_instant, next_month
from ccm_bridge.packet import Evidence
from ccm_bridge.plain import Sheet, Told, letter
from ccm_bridge.service import WORKING, Refused, Who
from ccm_bridge.store import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Who a letter is for: the patient, or one caregiver of theirs."""

    key: str  # "patient", or the caregiver's place in the list
    caregiver: Caregiver | None = None

    @property
    def words(self) -> str:
        if self.caregiver is None:
            return "the patient"
        relation = f" ({self.caregiver.relation})" if self.caregiver.relation else ""
        return f"{self.caregiver.name}{relation}"


def recipients(said: Evidence) -> tuple[Recipient, ...]:
    """The patient, and every caregiver whom the patient allowed to be told."""
    caregivers = said.enrolment.profile.caregivers if said.enrolment else ()
    return (
        Recipient(key="patient"),
        *(
            Recipient(key=str(place), caregiver=one)
            for place, one in enumerate(caregivers)
            if one.may_be_told
        ),
    )


def recipient(said: Evidence, key: str) -> Recipient | Refused:
    found = next((one for one in recipients(said) if one.key == key), None)
    return found or Refused(
        status=403,
        sentence="A caregiver gets the letter only with the patient's permission, recorded under Care.",
    )


async def sheet(conn: Connection, said: Evidence, patient_id: UUID, to: Recipient) -> Sheet:
    """The letter as it would be given now."""
    zone = ZoneInfo(said.zone)
    versions = await plan_store.versions(conn, patient_id)
    return letter(
        told(said, changes=changes(versions, said.month, zone)),
        said.enrolment,
        name=said.patient_name,
        practice=said.practice,
        zone=zone,
        to=to.caregiver,
    )


def changes(versions: Sequence[Plan], month: date, zone: ZoneInfo) -> tuple[str, ...]:
    """What the versions signed in this month changed, in the words of the plan. `versions`: the newest first."""
    start, end = first_instant(month, zone), first_instant(next_month(month), zone)
    signed = [plan for plan in versions if plan.signed_at is not None and plan.signed_at < end]
    newest = signed[0] if signed else None
    before = next((plan for plan in signed if plan.signed_at is not None and plan.signed_at < start), None)
    if newest is None or before is None or newest.version == before.version:
        return ()
    found = careplan.differences(before.content, newest.content)
    return tuple(each.after or f"No longer: {each.before}" for each in found)


def told(said: Evidence, *, changes: Sequence[str]) -> Told:
    """What the month's evidence has to tell: measured days, talks, what came of them."""
    zone = ZoneInfo(said.zone)
    start, end = first_instant(said.month, zone), first_instant(next_month(said.month), zone)
    here = [one for one in said.readings if start <= one.effective_at < end]
    pressures = [(one.systolic, one.diastolic) for one in here if one.systolic and one.diastolic]
    glucose = [one.glucose for one in here if one.glucose is not None]
    voided = {row["entry_id"] for row in said.voids}
    entries = sorted(
        (row for row in said.entries if row["entry_id"] not in voided), key=lambda row: str(row["start"])
    )
    return Told(
        month=said.month,
        measured_days=len({one.effective_at.astimezone(zone).date() for one in here}),
        pressure=(
            round(sum(high for high, _ in pressures) / len(pressures)),
            round(sum(low for _, low in pressures) / len(pressures)),
            len(pressures),
        )
        if pressures
        else None,
        glucose=(round(min(glucose)), round(max(glucose))) if glucose else None,
        talks=[row for row in entries if row["contact"] in ("phone", "video", "in_person")],
        outcomes=list(dict.fromkeys(str(row["outcome"]) for row in entries if row["outcome"])),
        plan=said.plan,
        changed=changes,
    )


async def give(
    conn: Connection,
    who: Who,
    letter_id: UUID,
    patient_id: UUID,
    *,
    month: date,
    to: Recipient,
    how: str,
    words: Sheet,
    now: datetime,
) -> Refused | None:
    """Record that this letter was given. The same id again is the same letter."""
    if who.role not in WORKING:
        return Refused(status=403, sentence=f"Letters are the care team's; you are signed in as {who.role}.")
    if not how.strip():
        return Refused(status=422, sentence="Say how it was given.")
    await conn.execute(
        """INSERT INTO ccm.letter (letter_id, practice_id, patient_id, month, given_to, permission, how, words, grade,
                                   given_at, recorded_by, recorded_by_name)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (letter_id) DO NOTHING""",
        (
            letter_id,
            who.practice_id,
            patient_id,
            month,
            to.words,
            to.caregiver.permission if to.caregiver else "",
            how.strip(),
            "\n".join([words.title, words.under, *(block.text for block in words.blocks)]),
            round(words.grade, 1),
            now,
            who.staff_id,
            who.name,
        ),
    )
    return None


async def given(conn: Connection, patient_id: UUID, month: date) -> list[Mapping[str, Any]]:
    """The letters of a month, in the order in which they were given."""
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(
            """SELECT letter_id, given_to, permission, how, words, grade, given_at, recorded_by_name FROM ccm.letter
                WHERE patient_id = %s AND month = %s ORDER BY given_at""",
            (patient_id, month),
        )
        return list(await cur.fetchall())
