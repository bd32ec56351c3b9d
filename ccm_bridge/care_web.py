"""Enrolment's screens: who could be served, and for one patient what stands: eligibility, consent, plan, other facts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from ccm_bridge import (
    care_form,
    care_service,
    careplan,
    consent_store,
    enrolment_store,
    fhir_in,
    month_store,
    plan_store,
)
from ccm_bridge.care_form import KINDS, ROWS, Wrong
from ccm_bridge.desk_web import Desk, Form, file_of, form_of, refusal, tags, today, uuid_of
from ccm_bridge.enrolment import (
    BARRIER_WORDS,
    CONTACT_WORDS,
    PAYERS,
    PRACTITIONERS,
    TOLD_WORDS,
    Enrolment,
    Method,
    Program,
    candidate,
    consent_of,
    ends_at,
)
from ccm_bridge.month_service import a_year_after
from ccm_bridge.people_form import PEOPLE
from ccm_bridge.service import Refused
from ccm_bridge.store import Connection

PROGRAM_WORDS = {
    Program.CCM: "Chronic care management",
    Program.RPM: "Remote monitoring",
    Program.PCM: "Principal care management",
}
STATE_WORDS = {
    "candidate": "Candidate",
    "enrolled": "Enrolled",
    "declined": "Declined",
    "ended": "Ended",
}


def router(desk: Desk) -> APIRouter:  # noqa: C901, PLR0915 - a table of routes
    """`/care` and everything below it."""
    routes = APIRouter()

    def gone(request: Request) -> Response:
        return refusal(
            desk, request, Refused(status=404, sentence="There is no such patient here."), back="/care"
        )

    @routes.get("/care")
    async def everybody(request: Request, show: str = "all") -> Response:
        who = desk.who(request)
        async with desk.transaction(request) as conn:
            patients = list((await enrolment_store.everybody(conn)).values())
            rows = await _rows(desk, request, conn, patients)
        counts = {
            "all": len(rows),
            "next": sum(1 for row in rows if row["next"]),
            "candidate": sum(1 for row in rows if row["state"] == "candidate"),
            "enrolled": sum(1 for row in rows if row["state"] == "enrolled"),
        }
        shown = [row for row in rows if show in ("all", row["state"]) or (show == "next" and row["next"])]
        return desk.page(
            request,
            "ccm_bridge/care.html",
            rows=shown,
            counts=counts,
            show=show if show in counts else "all",
            states=STATE_WORDS,
            may=who.role in care_service.ENROLLING,
            imported=None,
        )

    @routes.post("/care/import")
    async def take_in(request: Request) -> Response:
        """A problem list as CSV or FHIR, pasted or as a file: candidates for a clinician, never enrolment."""
        who, form = desk.who(request), await form_of(request)
        async with desk.transaction(request) as conn:
            known = await enrolment_store.everybody(conn)
            listed = fhir_in.candidates(await file_of(request, "file") or form.get("csv", ""))
            done = await care_service.take_in(conn, who, listed, known, now=desk.now())
            if isinstance(done, Refused):
                return refusal(desk, request, done, back="/care")
            rows = await _rows(desk, request, conn, list(known.values()))
        return desk.page(
            request,
            "ccm_bridge/care.html",
            rows=rows,
            counts={"all": len(rows)},
            show="all",
            states=STATE_WORDS,
            may=True,
            imported=done,
        )

    @routes.get("/care/{patient_id}")
    async def one(request: Request, patient_id: UUID) -> Response:
        async with desk.transaction(request) as conn:
            if not await desk.patients(conn, [patient_id]):
                return gone(request)
            return await _page(desk, request, conn, patient_id)

    async def _do(request: Request, patient_id: UUID, act: Any) -> Response:
        """One change to one patient: done and back to the page, or the page again with the sentence."""
        form = await form_of(request)
        async with desk.transaction(request) as conn:
            if not await desk.patients(conn, [patient_id]):
                return gone(request)
            refused = await act(conn, form)
            if refused is None:
                return RedirectResponse(f"/care/{patient_id}", status_code=303)
            if isinstance(refused, Wrong):
                refused = Refused(status=422, sentence=refused.sentence)
            return await _page(desk, request, conn, patient_id, refused=refused, said=form)

    @routes.post("/care/{patient_id}/enrolment")
    async def enrolment(request: Request, patient_id: UUID) -> Response:
        async def act(conn: Connection, form: Form) -> Refused | Wrong | None:
            version = int(form["version"]) if form.get("version", "").isdigit() else 0
            said = care_form.enrolment(form, patient_id=patient_id, version=version + 1)
            if isinstance(said, Wrong):
                return said
            before = (await enrolment_store.enrolments(conn, [patient_id])).get(patient_id)
            if before is not None:
                said = replace(said, profile=before.profile)
            enrolment_id = uuid_of(form.get("enrolment_id")) or uuid4()
            return await care_service.save(
                conn, desk.who(request), enrolment_id, said, why=form.get("why", ""), now=desk.now()
            )

        return await _do(request, patient_id, act)

    @routes.post("/care/{patient_id}/consent")
    async def consent(request: Request, patient_id: UUID) -> Response:
        who = desk.who(request)

        async def act(conn: Connection, form: Form) -> Refused | Wrong | None:
            said = care_form.consent(
                form,
                consent_id=uuid_of(form.get("consent_id")) or uuid4(),
                zone=who.zone,
                explained_by=who.name,
                now=desk.now(),
            )
            if isinstance(said, Wrong):
                return said
            return await care_service.consent(conn, who, patient_id, said, now=desk.now())

        return await _do(request, patient_id, act)

    @routes.post("/care/{patient_id}/consent/{consent_id}/revoke")
    async def revoke(request: Request, patient_id: UUID, consent_id: UUID) -> Response:
        async def act(conn: Connection, form: Form) -> Refused | None:
            return await care_service.revoke(
                conn, desk.who(request), patient_id, consent_id, reason=form.get("reason", ""), now=desk.now()
            )

        return await _do(request, patient_id, act)

    @routes.post("/care/{patient_id}/plan")
    async def plan(request: Request, patient_id: UUID) -> Response:
        async def act(conn: Connection, form: Form) -> Refused | Wrong | None:
            content = care_form.plan(form)
            if isinstance(content, Wrong):
                return content
            version = int(form["version"]) if form.get("version", "").isdigit() else 0
            review_on = care_form.day(form.get("review_on", ""))
            if review_on is None:
                return Wrong(sentence="Say when the plan is to be reviewed.")
            return await care_service.draft(
                conn,
                desk.who(request),
                uuid_of(form.get("plan_id")) or uuid4(),
                patient_id,
                version=version + 1,
                content=content,
                review_on=review_on,
                now=desk.now(),
            )

        return await _do(request, patient_id, act)

    @routes.post("/care/{patient_id}/plan/{plan_id}/sign")
    async def sign(request: Request, patient_id: UUID, plan_id: UUID) -> Response:
        async def act(conn: Connection, _: Form) -> Refused | None:
            return await care_service.sign(conn, desk.who(request), patient_id, plan_id, now=desk.now())

        return await _do(request, patient_id, act)

    @routes.post("/care/{patient_id}/plan/{plan_id}/copies")
    async def hand_out(request: Request, patient_id: UUID, plan_id: UUID) -> Response:
        async def act(conn: Connection, form: Form) -> Refused | None:
            return await care_service.hand_out(
                conn,
                desk.who(request),
                patient_id,
                plan_id,
                uuid_of(form.get("copy_id")) or uuid4(),
                to=form.get("to", ""),
                how=form.get("how", ""),
                now=desk.now(),
            )

        return await _do(request, patient_id, act)

    @routes.post("/care/{patient_id}/facts")
    async def note(request: Request, patient_id: UUID) -> Response:
        who = desk.who(request)

        async def act(conn: Connection, form: Form) -> Refused | Wrong | None:
            said = care_form.circumstance(
                form,
                circumstance_id=uuid_of(form.get("circumstance_id")) or uuid4(),
                zone=who.zone,
                by_name=who.name,
                now=desk.now(),
            )
            if isinstance(said, Wrong):
                return said
            return await care_service.note(conn, who, patient_id, said, now=desk.now())

        return await _do(request, patient_id, act)

    @routes.post("/care/{patient_id}/facts/{circumstance_id}/withdraw")
    async def withdraw(request: Request, patient_id: UUID, circumstance_id: UUID) -> Response:
        async def act(conn: Connection, form: Form) -> Refused | None:
            return await care_service.withdraw(
                conn, desk.who(request), patient_id, circumstance_id, why=form.get("why", ""), now=desk.now()
            )

        return await _do(request, patient_id, act)

    return routes


async def _rows(desk: Desk, request: Request, conn: Connection, patients: list[UUID]) -> list[dict[str, Any]]:
    who, now = desk.who(request), desk.now()
    names = await tags(desk, conn, patients, today(desk, who))
    known, said = (
        await enrolment_store.enrolments(conn, patients),
        await consent_store.consents(conn, patients),
    )
    plans = await plan_store.plans(conn, patients, before=now + timedelta(seconds=1))
    rows = []
    for patient in sorted(patients, key=lambda p: names[p].name):
        enrolled, consents, plan = known.get(patient), said.get(patient, ()), plans.get(patient)
        rows.append(
            {
                "name": names[patient],
                "enrolment": enrolled,
                "state": enrolled.state if enrolled else "none",
                "fits": candidate(enrolled.conditions)[1] if enrolled and enrolled.conditions else "",
                "consents": {
                    program: consent_of(consents, program)
                    for program in sorted(enrolled.programs if enrolled else ())
                },
                "plan": plan,
                "next": care_service.next_step(enrolled, consents, plan) if enrolled else "",
            }
        )
    return rows


async def _page(
    desk: Desk,
    request: Request,
    conn: Connection,
    patient_id: UUID,
    *,
    refused: Refused | None = None,
    said: Form | None = None,
) -> Response:
    """Everything that stands for one patient, and the forms to change it."""
    who, now, on = desk.who(request), desk.now(), today(desk, desk.who(request))
    names = await tags(desk, conn, [patient_id], on)
    enrolled = (await enrolment_store.enrolments(conn, [patient_id])).get(patient_id)
    consents = (await consent_store.consents(conn, [patient_id])).get(patient_id, ())
    versions = await plan_store.versions(conn, patient_id)
    standing = (await month_store.circumstances(conn, [patient_id])).get(patient_id, ())
    newest = versions[0] if versions else None
    before = versions[1] if len(versions) > 1 else None
    return desk.page(
        request,
        "ccm_bridge/care_patient.html",
        status_code=refused.status if refused else 200,
        refused=refused,
        said=said or {},
        patient=names[patient_id],
        enrolment=enrolled or _nobody_has_said(patient_id),
        known=enrolled is not None,
        fits=candidate(enrolled.conditions)[1] if enrolled and enrolled.conditions else "",
        next_step=care_service.next_step(enrolled, consents, newest),
        history=await enrolment_store.enrolment_versions(conn, patient_id),
        people=await desk.colleagues(conn),
        consents=[{"consent": one, "ends": ends_at(one, ZoneInfo(who.zone))} for one in reversed(consents)],
        versions=versions,
        plan=newest,
        lacks=careplan.lacks(newest.content) if newest else (),
        changes=careplan.differences(before.content, newest.content) if newest and before else (),
        copies=await plan_store.copies(conn, patient_id),
        facts=[one for one in standing if one.kind != "month_checked"],
        kinds=KINDS,
        told=TOLD_WORDS,
        methods=list(Method),
        programs=PROGRAM_WORDS,
        payers=PAYERS,
        states=STATE_WORDS,
        rows=range(ROWS),
        people_rows=range(PEOPLE),
        contacts=CONTACT_WORDS,
        barriers=BARRIER_WORDS,
        watches=careplan.WATCHES,
        may=who.role in care_service.ENROLLING,
        may_draft=who.role in care_service.DRAFTING,
        may_sign=who.role == "physician" and (who.credential or "").upper() in PRACTITIONERS,
        new_id=uuid4,
        now_local=now.astimezone(ZoneInfo(who.zone)).strftime("%Y-%m-%dT%H:%M"),
        in_a_year=a_year_after(on).isoformat(),
        month=f"{on:%Y-%m}",
    )


def _nobody_has_said(patient_id: UUID) -> Enrolment:
    return Enrolment(patient_id=patient_id, version=0, state="candidate", programs=frozenset())
