"""Calls from the queue: the alerts room's panel, answered by the CCM room's timers and ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from uuid import UUID

from fastapi import Request

from alerts.call_service import Call, Ended
from ccm_bridge import store, time_service, time_web
from ccm_bridge.desk_web import local_instant, uuid_of
from ccm_bridge.service import Refused
from deploy.database import Connection
from deploy.web.frame import Desk

ACTIVITY = "symptom_review"
"""What a call about an alert usually is."""


class TimedCalls:
    """The CCM room's minutes as the queue's calls make them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def of(self, request: Request, conn: Connection, patient_id: UUID) -> Call:
        panel = await time_web.panel(self._desk, conn, request, patient_id)
        timer, here = panel["timer"], panel["timer"] and panel["timer"].patient_id == patient_id
        return Call(
            why_not="" if panel["may_log"] else panel["may_log_why"],
            timer_id=timer.timer_id if here else None,
            seconds=panel["proved"].seconds if here else 0,
            since=panel["started_local"] if here else "",
            until=panel["now_local"],
            busy_with=panel["timer_patient"].name if panel["timer_patient"] else "",
            busy_page=time_web.page_of(timer) if timer else "",
            programs=tuple(map(str, panel["programs"])),
            activities=panel["activities"],
            activity=ACTIVITY,
            contacts={str(key): words for key, words in panel["contacts"].items()},
            attestation=panel["attestation"],
        )

    async def begin(
        self, request: Request, conn: Connection, patient_id: UUID, *, timer_id: UUID, program: str
    ) -> str:
        started = await time_service.start(
            conn,
            self._desk.who(request),
            timer_id,
            patient_id=patient_id,
            task_id=None,
            program=program,
            activity=ACTIVITY,
            now=self._desk.now(),
        )
        return started.sentence if isinstance(started, Refused) else ""

    async def end(
        self,
        request: Request,
        conn: Connection,
        patient_id: UUID,
        said: Mapping[str, str],
        *,
        episode_id: UUID,
        readings: Sequence[UUID],
    ) -> Ended:
        """Measured time, or the time that the form gives and its person attests; linked to the alert and its readings."""
        who, now, timer_id = self._desk.who(request), self._desk.now(), uuid_of(said.get("timer_id"))
        doing = time_web.read_doing(
            said,
            patient_id=patient_id,
            task_id=await store.task_of_episode(conn, episode_id),
            readings=tuple(readings),
        )
        if isinstance(doing, Refused):
            return Ended(refused=doing.sentence)
        if timer_id is None:
            return Ended(refused="There is no call to end.")
        # What it was stands with the alert; letters tell outcomes to patients.
        problem = await time_service.problem_of_alert(conn, patient_id, episode_id, now=now)
        doing = replace(doing, episode_id=episode_id, problem=doing.problem or problem)
        stopped = await time_service.stop(conn, who, timer_id, now=now)
        if isinstance(stopped, Refused):
            return Ended(refused=stopped.sentence)
        found = await time_service.finished(conn, who, timer_id, patient_id)
        if isinstance(found, Refused):
            return Ended(refused=found.sentence)
        if found.state == "logged":
            first = await time_service.first_entry(conn, timer_id)
            if first is not None and first.episode_id != episode_id:
                return Ended(elsewhere=True)
        start, end = (local_instant(said.get(name, ""), who.zone) for name in ("start", "end"))
        logged = (
            await time_service.log_timer(conn, who, timer_id, doing, now=now)
            if start is None or end is None
            else await time_service.log_by_hand(
                conn,
                who,
                timer_id,
                doing,
                start=start.astimezone(UTC),
                end=end.astimezone(UTC),
                attested=said.get("attested") == "yes",
                now=now,
                timer_id=timer_id,
            )
        )
        return Ended(refused=logged.sentence) if isinstance(logged, Refused) else Ended(again=logged.again)
