"""Who is around a patient, and what the practice attests for all of them."""

from dataclasses import replace
from uuid import UUID, uuid4

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from ccm_bridge import attestation_store, care_service, enrolment_store, people_form
from ccm_bridge.care_form import Wrong
from ccm_bridge.desk_web import Desk, form_of, refusal, today, uuid_of
from ccm_bridge.service import Refused


def router(desk: Desk) -> APIRouter:
    """`/care/practice` and `/care/…/people`."""
    routes = APIRouter()

    @routes.get("/care/practice")
    async def practice(request: Request) -> Response:
        who = desk.who(request)
        on = today(desk, who)
        async with desk.transaction(request) as conn:
            holds = await attestation_store.attested(conn, on=on)
            history = await attestation_store.attestations(conn)
            people = await desk.colleagues(conn)
        return desk.page(
            request,
            "ccm_bridge/practice.html",
            kinds=people_form.ATTESTED,
            holds=holds,
            history=history,
            people=people,
            may=who.role in care_service.ATTESTING,
            on=on,
            new_id=uuid4,
        )

    @routes.post("/care/practice")
    async def attest(request: Request) -> Response:
        who, form = desk.who(request), await form_of(request)
        said = people_form.attestation(form)
        if isinstance(said, Wrong):
            return refusal(desk, request, Refused(status=422, sentence=said.sentence), back="/care/practice")
        kind, holds, since, statement = said
        async with desk.transaction(request) as conn:
            refused = await care_service.attest(
                conn,
                who,
                uuid_of(form.get("attestation_id")) or uuid4(),
                kind=kind,
                holds=holds,
                from_day=since,
                statement=statement,
                today=today(desk, who),
                now=desk.now(),
            )
        if refused:
            return refusal(desk, request, refused, back="/care/practice")
        return RedirectResponse("/care/practice", status_code=303)

    @routes.post("/care/{patient_id}/people")
    async def people(request: Request, patient_id: UUID) -> Response:
        """A new version of what is known, with the people around the patient as the form names them."""
        form, back = await form_of(request), f"/care/{patient_id}"
        profile = people_form.profile(form)
        if isinstance(profile, Wrong):
            return refusal(desk, request, Refused(status=422, sentence=profile.sentence), back=back)
        async with desk.transaction(request) as conn:
            if not await desk.patients(conn, [patient_id]):
                return refusal(
                    desk,
                    request,
                    Refused(status=404, sentence="There is no such patient here."),
                    back="/care",
                )
            before = (await enrolment_store.enrolments(conn, [patient_id])).get(patient_id)
            if before is None:
                refused: Refused | None = Refused(status=409, sentence="Record the problem list first.")
            else:
                version = int(form["version"]) if form.get("version", "").isdigit() else before.version
                refused = await care_service.save(
                    conn,
                    desk.who(request),
                    uuid_of(form.get("enrolment_id")) or uuid4(),
                    replace(before, version=version + 1, profile=profile),
                    why=form.get("why", "") or "people around the patient",
                    now=desk.now(),
                )
        if refused:
            return refusal(desk, request, refused, back=back)
        return RedirectResponse(back, status_code=303)

    return routes
