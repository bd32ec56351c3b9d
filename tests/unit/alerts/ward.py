"""A ward of one patient on a clock the test owns: readings in, episodes out, everything remembered."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4, uuid5

import msgspec

from alerts.episode import Cause, Episode, NotPossible, State, Transition, step
from alerts.events import Move
from alerts.policy import DEFAULT, Policy
from alerts.triage import Outcome, fold
from risk.events import Band, Concern, Evidence, Finding, Scored, Tier

DAY = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
ANA, BEN = UUID(int=0xA), UUID(int=0xB)


def when(text: str) -> datetime:
    """'09:30' is today; '2d 09:30' is two days later."""
    days, _, clock = text.rpartition("d ")
    hour, minute = clock.split(":")
    return DAY + timedelta(days=int(days or 0), hours=int(hour), minutes=int(minute))


def a_finding(concern=Concern.HIGH_PRESSURE, tier=Tier.HIGH, **changes) -> Finding:
    told = {
        "concern": concern,
        "tier": tier,
        "reason": f"{concern.replace('_', ' ').capitalize()}, {tier}.",
        "rule": f"test.{concern}.{tier}",
        "clears": "three calm readings over twelve hours",
        "evidence": (
            Evidence(
                quantity="systolic",
                value=186,
                unit="mm[Hg]",
                window="this reading",
                comparison="limit",
                against=180,
            ),
        ),
    }
    return Finding(**(told | changes))


def a_score(at="09:00", *findings: Finding, received=None, patient=None, reading=None, **changes) -> Scored:
    """A blood-pressure score, on time unless `received` says otherwise; without findings it is calm."""
    reading = reading or uuid4()
    told = {
        "event_id": uuid5(reading, "scored"),
        "caused_by": reading,
        "practice_id": 1,
        "patient_id": patient or UUID(int=1),
        "kind": "bp",
        "effective_at": when(at),
        "received_at": when(received or at) + timedelta(seconds=2),
        "time_confidence": "high",
        "values": {"systolic": 128.0, "diastolic": 78.0, "pulse": 70.0},
        "tier": max((f.tier for f in findings), key=lambda t: t.rank, default=Tier.ROUTINE),
        "findings": findings,
        "assessed": (Concern.HIGH_PRESSURE, Concern.LOW_PRESSURE, Concern.FAST_PULSE, Concern.SLOW_PULSE),
        "bands": (Band(quantity="systolic", level=128, low=112, high=144, days=20),),
        "model_version": "test",
        "rules_version": "test",
    }
    return Scored(**(told | changes))


class Ward:
    """What the room does, without its database: fold scores into episodes, keep every transition."""

    def __init__(self, policy: Policy = DEFAULT) -> None:
        self.policy = policy
        self.episodes: list[Episode] = []
        self.transitions: list[Transition] = []
        self.now = DAY

    def score(self, scored: Scored, *, now: datetime | None = None) -> list[Outcome]:
        self.now = now or max(self.now, scored.received_at)
        outcomes = fold(scored, self._known(), self.policy, now=self.now)
        for outcome in outcomes:
            self._keep(outcome.episode, outcome.transition)
        return outcomes

    def cuff(
        self, at: str, tier: Tier | None = None, concern: Concern = Concern.HIGH_PRESSURE, **changes
    ) -> Outcome | None:
        """One cuff reading: over the line with `tier`, else calm; returns what happened to that concern."""
        findings = () if tier is None else (a_finding(concern, tier),)
        outcomes = self.score(a_score(at, *findings, **changes))
        return next((o for o in outcomes if o.concern == concern), None)

    def person(self, at: str, move: Move, *, by: UUID = ANA, **changes) -> Transition | NotPossible:
        self.now = when(at)
        made = step(
            self.one,
            move,
            Cause(at=self.now, why=move, reason="A person did it.", event=uuid4(), by=by),
            **changes,
        )
        if isinstance(made, Transition):
            self._keep(made.episode, made)
        return made

    def handled(self, at: str, code: str = "contacted") -> Transition | NotPossible:
        return self.person(
            at, Move.DISPOSITIONED, disposition=code, handled_at=when(at), handled_severity=self.one.severity
        )

    @property
    def one(self) -> Episode:
        """The only episode there is."""
        (episode,) = self.episodes
        return episode

    @property
    def moves(self) -> Sequence[Move]:
        return [t.move for t in self.transitions]

    def _known(self) -> dict[str, Episode]:
        """The open episode of each concern, else the one closed last: what the store loads."""
        known: dict[str, Episode] = {}
        for episode in sorted(self.episodes, key=lambda e: (e.state is not State.CLOSED, e.closed_at or DAY)):
            known[episode.concern] = episode
        return known

    def _keep(self, episode: Episode | None, transition: Transition | None) -> None:
        if episode is not None:
            self.episodes = [e for e in self.episodes if e.episode_id != episode.episode_id] + [episode]
        if transition is not None:
            self.transitions.append(transition)


def as_bytes(events) -> list[bytes]:
    return [msgspec.json.encode(event) for event in events]
