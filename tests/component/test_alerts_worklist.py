"""The order of the list, which SQL makes: position says how urgent a row is before any colour does.

The rule itself is here, in plain Python and one patient at a time; the query must say the same of any set of episodes.
"""

import random
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import psycopg
import pytest

from alerts.concerns import Queue
from alerts.episode import RANK, State
from alerts.events import Severity
from alerts.worklist import CALLING, Place, Section, Viewer, waiting
from alerts.worklist_store import worklist
from tests.component.alerts_clinic import a_clinic
from tests.unit.alerts.ward import when

pytestmark = pytest.mark.stack

NOW = when("12:00")
W, C, E, H, S = State.WAITING, State.CLAIMED, State.ESCALATED, State.HANDLED, State.SNOOZED
ORDER = list(Section)


class Brief(NamedTuple):
    """An open episode, as far as ordering asks."""

    state: State
    severity: Severity
    due: int  # minutes from now
    owner: str | None
    patient: str
    n: int
    concern: str
    told: int = 0  # when its value was measured, in minutes from now


def brief(state=W, severity="high", *, due=60, owner=None, patient="maria", n=1, told=0):
    return Brief(state, Severity(severity), due, owner, patient, n, f"concern_{n % 3}", told)


# The rule -----------------------------------------------------------------------------------------------------------


def calls(one, provider):
    return one.state is W or (one.state is E and (provider or one.due <= 0))


def urgency(one):
    if one.severity is Severity.CRITICAL:
        return Section.NOW
    late = one.due <= 0
    if one.severity is Severity.HIGH:
        return Section.NOW if late else Section.NEXT
    return Section.NEXT if late else Section.LATER


def place(clinic, briefs, viewer, provider):
    """One patient's place."""
    calling = [b for b in briefs if calls(b, provider)]
    held = [b for b in briefs if b.state in (C, E)]
    worst = min(calling or held or briefs, key=lambda b: (-RANK[b.severity], -b.told, b.due, b.n))
    mine = any(b.owner == viewer for b in held)
    section = Section.YOURS if mine else Section.IN_PROGRESS if held else Section.RESTING
    if calling:
        section = min(map(urgency, calling), key=ORDER.index)
    due = min(b.due for b in calling) if calling else worst.due
    due_at = NOW + timedelta(minutes=due)
    return Place(section, clinic.patients[worst.patient], UUID(int=worst.n), worst.severity, due_at, mine)


def places(clinic, briefs, viewer, provider):
    patients = {b.patient for b in briefs}
    found = [place(clinic, [b for b in briefs if b.patient == p], viewer, provider) for p in patients]
    return sorted(
        found, key=lambda p: (ORDER.index(p.section), -RANK[p.severity], p.due_at, p.patient_id.int)
    )


# Against the query --------------------------------------------------------------------------------------------------


@pytest.fixture
async def clinic(fresh_database):
    clinic = await a_clinic(fresh_database)
    for n in range(4):
        await clinic.new_patient(f"p{n}", f"Patient {n}")
    return clinic


async def asked(clinic, briefs, viewer="ana", *, provider=False, limit=100, **view):
    """What the query says when these episodes are open, and no others."""
    async with clinic.pipeline() as conn:
        for b in briefs:
            owner = clinic.staff[b.owner].staff_id if b.owner else None
            await conn.execute(
                """INSERT INTO alerts.episode (episode_id, practice_id, patient_id, concern, queue, state, severity, peak,
                          number, opened_at, since, due_at, first_reading, reason, rule, clears, evidence, told_reading,
                          told_effective_at, told_received_at, newest_at, readings, count, calm, milder, milder_peak,
                          times, until, owner, needs_task, back)
                   VALUES (%(id)s, 1, %(patient)s, %(concern)s, 'clinical', %(state)s, %(severity)s, %(severity)s, 1,
                           %(now)s, %(now)s, %(due)s, %(id)s, '', '', '', '[]', %(id)s, %(told)s, %(now)s, %(now)s, '{}',
                           1, 0, 0, 'watch', 1, %(now)s, %(owner)s, false, '')""",
                {"id": UUID(int=b.n), "patient": clinic.patients[b.patient], "concern": b.concern, "state": b.state,
                 "severity": b.severity, "now": NOW, "due": NOW + timedelta(minutes=b.due), "told": NOW + timedelta(minutes=b.told),
                 "owner": owner},
            )  # fmt: skip
        who = Viewer(clinic.staff[viewer].staff_id, provider)
        found = await worklist(conn, list(Queue), who, now=NOW, limit=limit, **view)
        raise psycopg.Rollback
    return found


SECTIONS = [
    ("a critical is now", [brief(severity="critical")], False, Section.NOW),
    ("a high is next", [brief()], False, Section.NEXT),
    ("a watch can wait", [brief(severity="watch")], False, Section.LATER),
    ("a late high is now", [brief(due=-1)], False, Section.NOW),
    ("due this minute is late", [brief(due=0)], False, Section.NOW),
    ("a late watch is next, and does not drown a critical", [brief(severity="watch", due=-9999)], False, Section.NEXT),
    ("what one holds oneself stands on top", [brief(C, owner="ana")], False, Section.YOURS),
    ("what a colleague holds is in progress", [brief(C, owner="ben")], False, Section.IN_PROGRESS),
    ("an escalation waits for a provider", [brief(E)], False, Section.IN_PROGRESS),
    ("an escalation asks the provider", [brief(E)], True, Section.NEXT),
    ("an escalation nobody answered asks everybody again", [brief(E, due=-5)], False, Section.NOW),
    ("handled rests", [brief(H, "critical", due=-99)], False, Section.RESTING),
    ("snoozed rests", [brief(S)], False, Section.RESTING),
    ("something new of a patient in somebody's hands still asks", [brief(C, owner="ben"), brief(severity="critical", n=2)], False, Section.NOW),
    ("a watch that is new does not hide a critical that is held", [brief(C, "critical", owner="ben"), brief(H, n=2)], False, Section.IN_PROGRESS),
]  # fmt: skip


async def test_each_kind_of_episode_stands_where_it_should(clinic):
    for sentence, briefs, provider, section in SECTIONS:
        _, found = await asked(clinic, briefs, provider=provider)
        assert [p.section for p in found] == [section], sentence
        assert found == places(clinic, briefs, "ana", provider), sentence


async def test_within_a_section_the_worse_comes_first_and_then_who_is_due_sooner(clinic):
    late_high = brief(due=-30, n=3, patient="p0")
    soon, later = (
        brief(severity="critical", due=5, n=1),
        brief(severity="critical", due=20, n=2, patient="jon"),
    )
    _, found = await asked(clinic, [late_high, later, soon])
    assert [p.episode_id.int for p in found] == [1, 2, 3]


async def test_of_what_is_equally_severe_the_one_measured_last_leads_and_is_due_with_the_first(clinic):
    days_old = brief(severity="critical", due=5, n=1, told=-9999)
    just_now = brief(severity="critical", due=20, n=2)
    _, found = await asked(clinic, [days_old, just_now])
    assert [(p.episode_id.int, p.due_at) for p in found] == [(2, NOW + timedelta(minutes=5))]


async def test_the_query_says_what_the_rule_says_of_any_episodes_any_viewer_and_any_view(clinic):
    """Also: one row per patient, nothing that waits stands below what does not, and pages cut the same order."""
    dice = random.Random(20261122)
    for _ in range(120):
        briefs = {
            (b.patient, b.concern): b
            for n in range(1, dice.randrange(2, 24))
            for state in [dice.choice(list(State)[:5])]
            for b in [
                brief(
                    state,
                    dice.choice(list(Severity)),
                    due=dice.choice([-5000, -5, -1, 0, 0, 1, 5, 5, 5000]),
                    owner=dice.choice(["ana", "ben"]) if state is C else None,
                    patient=dice.choice(["maria", "jon", "p0", "p1", "p2", "p3"]),
                    n=n,
                    told=dice.choice([-5000, -5, 0]),
                )
            ]
        }.values()
        viewer, provider = dice.choice([("ana", False), ("ben", False), ("ana", True)])
        wanted = places(clinic, briefs, viewer, provider)
        tallies, found = await asked(clinic, briefs, viewer, provider=provider)
        assert found == wanted
        assert sum(t.patients for t in tallies) == len(wanted)
        assert waiting(tallies) == sum(p.section in CALLING for p in wanted)
        for p in found:
            waits = [b for b in briefs if clinic.patients[b.patient] == p.patient_id and b.state is W]
            assert not waits or p.section in CALLING
            assert all(RANK[p.severity] >= RANK[b.severity] for b in waits)

        show = dice.choice(["all", "mine", "free", "late"])
        severity, concern = dice.choice([None, *Severity]), dice.choice(["", "concern_1"])
        of_concern = {clinic.patients[b.patient] for b in briefs if b.concern == concern}
        chosen = [
            p
            for p in wanted
            if (severity is None or p.severity is severity)
            and (not concern or p.patient_id in of_concern)
            and {
                "all": True,
                "mine": p.mine,
                "free": p.section in CALLING,
                "late": p.section in CALLING and p.due_at <= NOW,
            }[show]
        ]
        view = {"show": show, "severity": severity, "concern": concern}
        tallies, page = await asked(clinic, briefs, viewer, provider=provider, limit=2, offset=1, **view)
        assert page == chosen[1:3]
        assert sum(t.chosen for t in tallies) == len(chosen)
        assert sum(t.patients for t in tallies) == len(wanted)
