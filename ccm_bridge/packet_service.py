"""Gathers a patient's month for the auditor and for the record system: everything, under the asker's row-level security."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from psycopg.rows import dict_row

from ccm_bridge import chain, fhir, letter_service, packet, plan_store, store, time_store
from ccm_bridge.ledger import first_instant, next_month
from ccm_bridge.month import windows_of
from ccm_bridge.month_service import Row, frozen_decision
from ccm_bridge.origins import Measured, Origins
from ccm_bridge.service import Who
from ccm_bridge.store import Connection, Work


async def gather(
    conn: Connection,
    who: Who,
    row: Row,
    *,
    practice: str,
    patient: Any,
    origins: Origins | None,
    now: datetime,
) -> packet.Evidence:
    """Everything a claim of this month rests on, read in one transaction."""
    known = row.known
    work = await store.tasks_of_patient(conn, known.patient_id)
    start, end = await _span(row)
    mine = [one for one in work if one.opened_at < end and (one.closed_at is None or one.closed_at >= start)]
    readings = (
        await origins.of_patient(conn, known.patient_id, start=start, end=end) if origins is not None else ()
    )
    ledger = await _rows(conn, "time_entry", "WHERE month = %s AND patient_id = %s ORDER BY seq", row)
    voids = await _rows(
        conn,
        "time_void",
        """WHERE entry_id IN (SELECT entry_id FROM ccm.time_entry WHERE month = %s AND patient_id = %s) ORDER BY seq""",
        row,
    )
    frozen = row.frozen
    return packet.Evidence(
        practice=practice,
        zone=known.zone,
        patient_name=patient.name,
        mrn=patient.mrn,
        born=patient.born,
        month=known.month,
        made_at=now,
        made_by=f"{who.name} ({who.role})",
        facts=msgspec.json.decode(msgspec.json.encode(row.facts)),
        decision=msgspec.json.decode(msgspec.json.encode(row.decision)),
        frozen={"facts": msgspec.json.decode(frozen.facts), "decision": frozen_decision(frozen)}
        if frozen
        else None,
        enrolment=known.enrolment,
        consents=known.consents,
        plan=known.plan,
        copies=await plan_store.copies(conn, known.patient_id),
        circumstances=known.circumstances,
        entries=ledger,
        voids=voids,
        verdicts=row.verdicts,
        windows=[w for w in windows_of(known) if w.end >= known.month],
        readings=readings,
        tasks=[asdict(one) for one in mine],
        moves=[asdict(one) for one in await store.told(conn, _alerts(mine, ledger))],
        letters=await letter_service.given(conn, known.patient_id, known.month),
        reviews=[
            {"step": r.step, "version": r.version, "by_name": r.by_name, "at": r.at, "note": r.note}
            | {"entries_sha256": r.entries_hash.hex(), "rule_set": r.rule_set, "price_set": r.price_set}
            for r in reversed(row.reviews)
        ],
        proof=await _proof(conn, who.practice_id),
    )


def _alerts(work: Sequence[Work], ledger: Sequence[chain.Row]) -> set[UUID]:
    """The episodes behind the month's tasks, and behind minutes that name theirs."""
    named = {one.episode_id for one in work if one.episode_id}
    return named | {row["episode_id"] for row in ledger if isinstance(row["episode_id"], UUID)}


async def _span(row: Row) -> tuple[datetime, datetime]:
    """The instants that the packet's readings and tasks are taken from: the month, and the windows that end in it."""
    known = row.known
    zone = ZoneInfo(known.zone)
    start, end = first_instant(known.month, zone), first_instant(next_month(known.month), zone)
    ending = [w for w in windows_of(known) if known.month <= w.end < next_month(known.month)]
    for window in ending:
        begins = datetime.combine(window.start, datetime.min.time(), ZoneInfo(known.patient_zone))
        start = min(start, begins - timedelta(hours=1))
    return start, end


async def _rows(conn: Connection, table: str, where: Any, row: Row) -> list[chain.Row]:
    async with conn.cursor(row_factory=dict_row) as cur:
        await cur.execute(time_store.ROWS[table] + where, (row.known.month, row.known.patient_id))
        return list(await cur.fetchall())


async def _proof(conn: Connection, practice_id: int) -> packet.Proof:
    """The practice's chains hashed anew, now."""
    counted: dict[str, int] = {}
    findings: list[str] = []
    for table in time_store.ROWS:
        rows = [link async for link in time_store.links(conn, table, practice_id)]
        counted[table] = len(rows)
        findings += [one.sentence for one in chain.verify(table, practice_id, rows)]
    anchor = await (
        await conn.execute(
            """SELECT day, statement, key_id, signature FROM ccm.anchor WHERE practice_id = %s
                ORDER BY day DESC LIMIT 1""",
            (practice_id,),
        )
    ).fetchone()
    return packet.Proof(
        rows=counted,
        findings=findings,
        anchor={
            "day": anchor[0].isoformat(),
            "statement": anchor[1],
            "key_id": anchor[2],
            "signature": anchor[3].hex(),
        }
        if anchor
        else None,
    )


def as_fhir(said: packet.Evidence, patient_id: UUID) -> dict[str, Any]:
    """The same month as a FHIR R4 transaction bundle."""
    plain = packet.packet(said)
    decision = plain["locked"]["decision"] if plain["locked"] else plain["decision"]
    readings: list[Measured] = list(said.readings)
    resources = [
        fhir.patient(
            patient_id, name=said.patient_name, mrn=said.mrn, born=said.born, practice=said.practice
        ),
        *fhir.conditions(patient_id, said.enrolment),
        *fhir.consents(patient_id, said.consents, said.practice),
        *fhir.care_plan(patient_id, said.plan),
        *fhir.stays(patient_id, said.circumstances),
        *fhir.observations(patient_id, readings),
        *fhir.tasks(patient_id, said.tasks),
        *fhir.communications(patient_id, plain["entries"]),
        *fhir.letters(patient_id, said.letters, practice=said.practice),
        *fhir.claim(
            patient_id,
            month=said.month,
            lines=decision["lines"],
            enrolled=said.enrolment,
            plan_practitioner=(said.enrolment.practitioner_name if said.enrolment else None) or said.practice,
            made_at=said.made_at,
            locked=said.frozen is not None,
        ),
    ]
    return fhir.bundle(resources, made_at=said.made_at)
