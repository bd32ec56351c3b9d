"""How a request becomes a page, and an act an answer: the steps that every route of this room shares."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import msgspec
from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from psycopg import AsyncConnection

from alerts import (
    episode_web,
    escalation,
    page_store,
    policy_store,
    queue_web,
    report_store,
    rota_store,
    screen_store,
    service,
    store,
)
from alerts.absence import LABELS, OFTEN, Arrangement, refusal, span
from alerts.access import CHAINS, SEES, WORKS, seen_by
from alerts.acts import PHYSICIAN, Act, Answer
from alerts.burden import Burden, minutes_text, weigh
from alerts.call_service import Calls
from alerts.concerns import Queue, about
from alerts.contact_store import CareCalls
from alerts.desk_web import Desk, must_work, person
from alerts.dispositions import DISPOSITIONS
from alerts.episode import Episode, NotPossible, State
from alerts.events import Severity
from alerts.outage import cause_text
from alerts.policy import Policy
from alerts.queue_web import View, view_of
from alerts.rota import next_up, on_call
from alerts.worklist import Viewer, summary, time_left
from alerts.worklist_store import worklist

CONFLICT: Final = 409
HANDED: Final = 50
"""Of each kind, the worst that a hand-over lists; the rest is in the queue."""


class Pages:
    """The room's pages on one desk under one policy."""

    def __init__(self, desk: Desk, policy: Policy, care_calls: CareCalls, calls: Calls) -> None:
        self.desk, self.policy, self.care_calls, self.calls = desk, policy, care_calls, calls

    def act(self, request: Request) -> Act:
        """What this person is doing with this request, under an id of its own."""
        desk = self.desk
        return Act(act_id=uuid4(), person=person(desk.who(request)), policy=self.policy, now=desk.now())

    async def acting(self, request: Request, conn: AsyncConnection) -> Act:
        """The same under the policy that holds in this practice now: leases and due times come from it."""
        act, practice_id = self.act(request), self.desk.who(request).practice_id
        held = await policy_store.in_force(conn, [practice_id], otherwise=self.policy)
        return msgspec.structs.replace(act, policy=held.of(practice_id))

    def allowed(self, request: Request) -> str:
        """The role, if it has any queue to look at."""
        role = self.desk.who(request).role
        if not seen_by(role):
            raise HTTPException(403, f"The queue is not for the role {role}.")
        return role

    async def the_list(
        self, request: Request, view: View, *, notice: str = "", told: str = "", status: int = 200
    ) -> HTMLResponse:
        """The whole page, or for htmx only the part that changes. `notice` is why not, `told` what became of it."""
        async with self.desk.transaction(request) as conn:
            context = await queue_web.listed(
                self.desk, request, conn, view, self.act(request), self.care_calls
            )
        template = "alerts/_list.html" if "hx-request" in request.headers else "alerts/queue.html"
        return self.desk.page(request, template, status_code=status, notice=notice, told=told, **context)

    async def the_episode(
        self,
        request: Request,
        episode_id: UUID,
        *,
        back: str = "",
        notice: str = "",
        status: int = 200,
        kept: str = "",
    ) -> HTMLResponse:
        """`back` has the part of the list that the way leads back to; otherwise the whole queue of the episode."""
        async with self.desk.transaction(request) as conn:
            episode = await episode_web.found(conn, self.desk, request, episode_id)
            context = await episode_web.page(
                self.desk, request, conn, episode, self.act(request), self.care_calls
            )
            call = await self.calls.of(request, conn, episode.patient_id) if context["works"] else None
        return self.desk.page(
            request,
            "alerts/episode.html",
            status_code=status,
            notice=notice,
            kept=kept,
            call=call,
            new_timer=uuid4(),
            view=_list(back, episode, self.desk.who(request).role),
            **context,
        )

    async def on_patient(
        self,
        request: Request,
        do: Callable[[AsyncConnection, Act], Awaitable[Answer]],
        *,
        queue: Queue,
        back: str,
    ) -> Response:
        """One act on what a patient has in one queue."""
        must_work(self.desk.who(request), queue)
        async with self.desk.transaction(request) as conn:
            answer = await do(conn, await self.acting(request, conn))
        return await self.answered(request, answer, back=back)

    async def on_episode(
        self,
        request: Request,
        episode_id: UUID,
        decide: Callable[[Act, Episode], Answer],
        *,
        back: str,
        seen: int | None = None,
        kept: str = "",
        ends: bool = True,
    ) -> Response:
        """One act on one episode. `ends`: the work is done here, so the way leads back to the list."""
        async with self.desk.transaction(request) as conn:
            act = await self.acting(request, conn)
            episode = await episode_web.found(conn, self.desk, request, episode_id)
            must_work(self.desk.who(request), episode.queue)
            answer = await service.on_episode(conn, episode_id, act, lambda e: decide(act, e), seen=seen)
        if answer is None:
            raise HTTPException(404, "There is no such episode in your practice.")
        if ends and _episode(back) and not isinstance(answer, NotPossible):
            back = _list(back, episode, act.person.role).url("")
        return await self.answered(request, answer, back=back, kept=kept)

    async def measuring(self, request: Request, *, notice: str = "", status: int = 200) -> HTMLResponse:
        """Everybody's rhythm."""
        desk, act = self.desk, self.act(request)
        async with desk.transaction(request) as conn:
            rows = await screen_store.measuring(conn)
            patients = await desk.patients(conn, {row.patient_id for row in rows})
        return desk.page(
            request,
            "alerts/measuring.html",
            status_code=status,
            notice=notice,
            rows=[(row, patients[row.patient_id]) for row in rows if row.patient_id in patients],
            works=act.person.role in WORKS[Queue.ADHERENCE],
            labels=LABELS,
            often=OFTEN,
            span=span,
            hours=lambda count: timedelta(hours=count),
            clock=act.clock,
            today=act.now,
        )

    async def agree(
        self, request: Request, patient_id: UUID, kind: str, *, every_hours: int, until: str, reason: str
    ) -> Response:
        """Another rhythm, or a pause until the end of a day in the practice's civil time."""
        act, who = self.act(request), self.desk.who(request)
        try:
            day = date.fromisoformat(until) if until else None
        except ValueError:
            return await self.measuring(request, notice="That is not a day.", status=CONFLICT)
        ends = (
            datetime.combine(day + timedelta(days=1), time.min, ZoneInfo(who.zone)).astimezone(UTC)
            if day
            else None
        )
        refused = refusal(every_hours, ends, reason, now=act.now)
        if refused:
            return await self.measuring(request, notice=refused, status=CONFLICT)
        agreed = Arrangement(
            arrangement_id=act.act_id,
            practice_id=who.practice_id,
            patient_id=patient_id,
            kind=kind,
            every_hours=every_hours,
            paused_until=ends,
            reason=reason,
            at=act.now,
            by=who.staff_id,
            by_name=who.name,
        )
        async with self.desk.transaction(request) as conn:
            if not await store.arrange(conn, agreed):
                raise HTTPException(404, "Nobody of your practice is expected to measure that.")
        return RedirectResponse("/queue/measuring", status_code=303)

    async def burden(self, request: Request, days: int) -> Burden:
        """The practice's numbers of the last so many days."""
        desk, now = self.desk, self.desk.now()
        since = now - timedelta(days=days)
        async with desk.transaction(request) as conn:
            calls = await report_store.calls(conn, since=since, until=now)
            patients, readings = await report_store.watched(conn, since=since, until=now)
            overdue = await report_store.overdue(conn, now=now)
        return weigh(
            calls,
            patients=patients,
            readings=readings,
            since=since,
            until=now,
            policy=self.policy,
            overdue=overdue,
        )

    async def handover(self, request: Request, hours: int) -> HTMLResponse:
        """What this shift leaves to the next."""
        desk, act, who = self.desk, self.act(request), self.desk.who(request)
        queues = seen_by(who.role)
        async with desk.transaction(request) as conn:
            tallies, _ = await worklist(
                conn, [Queue.CLINICAL], Viewer(who.staff_id, who.role == PHYSICIAN), now=act.now
            )
            stands = await report_store.stands(conn, now=act.now)
            found = {
                state: await screen_store.standing(conn, queues, state, limit=HANDED)
                for state in (State.WAITING, State.CLAIMED, State.ESCALATED, State.SNOOZED)
            }
            holding = await report_store.holding(conn, queues)
            done = await report_store.done(conn, since=act.now - timedelta(hours=hours))
            done = [one for one in done if about(one.concern).queue in queues]
            shifts = await rota_store.shifts(conn, since=act.now, until=act.now + timedelta(days=3))
            names = await desk.colleagues(conn)
            shown = {e.patient_id for some in found.values() for e in some}
            patients = await desk.patients(conn, shown | {one.patient_id for one in done})
        return desk.page(
            request,
            "alerts/handover.html",
            hours=hours,
            current=on_call(shifts, act.now),
            following=next_up(shifts, act.now),
            summary=summary(tallies, Queue.CLINICAL),
            counts={
                state: sum(s.open for s in stands if s.state is state and s.queue in queues)
                for state in found
            },
            waiting=found[State.WAITING],
            escalated=found[State.ESCALATED],
            held=found[State.CLAIMED],
            returning=found[State.SNOOZED],
            load=sorted(
                ((names.get(who, "A colleague"), many) for who, many in holding.items()), key=lambda n: -n[1]
            ),
            done=done,
            patients=patients,
            about=about,
            dispositions=DISPOSITIONS,
            left=lambda e: time_left(e.due_at, act.now),
            clock=act.clock,
        )

    async def chain(self, request: Request, *, notice: str = "", status: int = 200) -> HTMLResponse:
        """Whom to call when nobody comes."""
        desk, who = self.desk, self.desk.who(request)
        async with desk.transaction(request) as conn:
            rungs = await page_store.rungs(conn)
            calls = await page_store.calls(conn)
            named = {call.patient_id for call in calls} if who.role in SEES[Queue.CLINICAL] else set()
            patients = await desk.patients(conn, named)
            shifts = await rota_store.shifts(conn, since=desk.now(), until=desk.now())
            policies = await policy_store.in_force(conn, [who.practice_id], otherwise=self.policy)
        gather = policies.of(who.practice_id).calls_gather / timedelta(minutes=1)
        return desk.page(
            request,
            "alerts/chain.html",
            gather=minutes_text(gather) if gather else "one look of the notifier",
            status_code=status,
            notice=notice,
            rungs=rungs,
            works=who.role in CHAINS,
            severities=list(reversed(Severity)),
            minutes=minutes_text,
            targets=escalation.TARGETS,
            target_text=escalation.target_text,
            calls=calls,
            patients=patients,
            about=about,
            spoken=escalation.SPOKEN,
            cause=cause_text,
            current=on_call(shifts, desk.now()),
            clock=self.act(request).clock,
        )

    async def lengthen(self, request: Request, rung: page_store.Rung) -> Response:
        """One more rung."""
        refused = escalation.refusal(rung.channel, rung.target, rung.wait_minutes, rung.repeat_minutes)
        if refused or rung.severity not in Severity.__members__.values():
            return await self.chain(request, notice=refused or "Choose a severity.", status=CONFLICT)
        act, who = self.act(request), self.desk.who(request)
        async with self.desk.transaction(request) as conn:
            await page_store.add(conn, rung, practice_id=who.practice_id, by=who.staff_id, at=act.now)
        return RedirectResponse("/queue/chain", status_code=303)

    async def answered(self, request: Request, answer: Answer, *, back: str, kept: str = "") -> Response:
        """Back to where the form was: done (303, or the fresh list for htmx), or 409 with the sentence and the note.

        `back` is the part of the list that was shown, behind the id of an episode for a form on its page.
        """
        refused = answer.sentence if isinstance(answer, NotPossible) else ""
        episode_id = _episode(back)
        if episode_id is not None:
            if refused:
                return await self.the_episode(
                    request, episode_id, back=back, notice=refused, status=CONFLICT, kept=kept
                )
            here = f"/queue/episode/{episode_id}"
            role = self.desk.who(request).role
            return RedirectResponse(view_said(back, role).url(here) if "?" in back else here, status_code=303)
        view = view_said(back, self.desk.who(request).role)
        if refused or "hx-request" in request.headers:
            return await self.the_list(request, view, notice=refused, status=CONFLICT if refused else 200)
        return RedirectResponse(view.url(), status_code=303)


def _episode(back: str) -> UUID | None:
    try:
        return UUID(back.partition("?")[0])
    except ValueError:
        return None


def _list(back: str, episode: Episode, role: str) -> View:
    return view_said(back, role) if "tab=" in back else View(queue=episode.queue)


def view_said(back: str, role: str) -> View:
    """The part of the list that `back` names; whatever it says, the answer stays on this page.

    >>> view_said("https://elsewhere.example/?tab=technical&page=x", "nurse").url()
    '/queue?tab=technical'
    """
    said = {name: values[-1] for name, values in parse_qs(urlsplit(back).query).items()}
    return view_of(role, said)
