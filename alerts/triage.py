"""From one score to what must be seen: `decide` weighs one concern and says why, `fold` does a whole score.

Pure: the score, what is already known and the practice's numbers come in; decisions, the next episodes and
their transitions go out. The named reason (`Why`) is stored with every transition and piece of evidence, and
shown.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec

from alerts import episode as ep
from alerts.concerns import NO_READINGS, UNREACHABLE, Queue, about
from alerts.episode import RANK, Cause, Episode, State, Transition, worse
from alerts.events import Move, Severity, episode_id
from alerts.policy import Policy
from risk.events import Concern, Finding, Scored, Tier


class Why(StrEnum):
    """Why an episode moved, or did not. The text is what a nurse reads."""

    FIRST = "first time over the line"
    WORSE = "worse than before"
    AGAIN = "returned within three days of closing"
    BACK = "still over the line after it was handled"
    WORSE_THAN_HANDLED = "worse than what was handled"
    WORSE_THAN_SNOOZED = "worse than what was snoozed"
    LATE_NOTE = "arrived late: a note, not a page"
    LATE_JOINED = "arrived late: joins the evidence"
    STALE = "older than a day on arrival and mild: evidence only"
    OVERTAKEN = "older than what is already known"
    KNOWN = "already in the queue"
    RESTING = "handled a short while ago, not worse"
    SNOOZED = "snoozed, not worse"
    MILDER = "milder; one more and it eases"
    EASED = "milder twice running"
    LATCHED = "milder, but nobody has looked yet"
    CALM = "calm; counting towards closing"
    CALM_UNSEEN = "calm again, but nobody has looked yet"
    CALM_HELD = "calm again; whoever has it says when it ends"
    CALM_CLOSED = "calm long enough to close"
    NOTHING = "nothing to say"
    HISTORY = "recorded before watching began"
    SUSPECT = "its time is doubtful: shown, not weighed"
    # timers, see `timers`
    LEASE_OVER = "the claim ran out without a move"
    SNOOZE_OVER = "the snooze ended"
    REST_OVER = "handled, and its rest is over"
    # absence, see `absence`
    NO_DATA = "no reading came in time"
    STILL_NO_DATA = "still no reading after it was handled"
    UNREACHABLE = "nothing can arrive from this home"
    PAUSED = "measuring is paused"


class Decision(msgspec.Struct, frozen=True):
    """What to do about one concern, and why. `severity` is the one to show from now on."""

    why: Why
    move: Move | None = None
    severity: Severity | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One concern's decision carried out. `episode` is None where nothing is open and nothing was opened."""

    concern: str
    decision: Decision
    finding: Finding | None
    episode: Episode | None
    transition: Transition | None


IGNORED = frozenset({Why.NOTHING, Why.HISTORY, Why.SUSPECT})
"""Reasons that leave an episode exactly as it was."""


def decide(  # noqa: PLR0911 - the order of these lines is the rule
    scored: Scored, finding: Finding | None, known: Episode | None, policy: Policy, *, now: datetime
) -> Decision:
    """Weigh one concern of one score against what is known about it.

    `finding` is None when the score could speak about the concern and found nothing: calm. `known` is the
    open episode, or the closed one that may re-open. Lateness is a property of the reading, received - effective, so that
    a system that was itself away still pages for what it missed; `now` says whether a snooze is over.
    """
    if scored.history:
        return Decision(Why.HISTORY)
    technical = known.queue is not Queue.CLINICAL if known else _concern_is_technical(finding)
    if scored.time_confidence == "suspect" and not technical:
        return Decision(Why.SUSPECT)
    if finding is None or finding.tier is Tier.ROUTINE:
        return _calm(scored, known, policy, technical=technical)
    severity = Severity(finding.tier)
    age = timedelta(0) if technical else scored.received_at - scored.effective_at
    if age > policy.notes_until and severity is Severity.WATCH:
        return Decision(Why.STALE)
    if known is None:
        if age > policy.pages_until:
            return Decision(Why.LATE_NOTE, Move.OPENED, Severity.WATCH)
        return Decision(Why.FIRST, Move.OPENED, severity)
    if scored.effective_at <= known.newest_at and RANK[severity] <= RANK[known.peak]:
        return Decision(Why.OVERTAKEN)
    if age > policy.pages_until:
        if known.state is State.CLOSED:
            return Decision(Why.LATE_NOTE, Move.REOPENED, Severity.WATCH)
        return Decision(Why.LATE_JOINED)
    return _over_the_line(scored, severity, known, policy, now=now)


PLAYED: Final = "played"
"""Ingest's flag on what a gateway plays from a recorded diary; its receipt lies in the diary's own time."""


def heard_at(scored: Scored, now: datetime) -> datetime:
    """When Lamplight could know: from here due times count.

    That is receipt on our own clock, never the measurement: a reading of three days ago that arrives now is due from
    now; and not triage either: what we missed while we were away ourselves is already late. Only a recorded day that
    is being played was received in its own past, so there it is the present.
    """
    return now if PLAYED in scored.flags else scored.received_at


def _over_the_line(  # noqa: PLR0911 - one line per state is the clearest
    scored: Scored, severity: Severity, known: Episode, policy: Policy, *, now: datetime
) -> Decision:
    """An on-time finding about a concern we know: the state decides what it means."""
    rises = RANK[severity] > RANK[known.severity]
    match known.state:
        case State.CLOSED:
            return Decision(Why.AGAIN, Move.REOPENED, severity)
        case State.HANDLED:
            handled_at, handled = known.handled_at or known.since, known.handled_severity or known.severity
            if RANK[severity] > RANK[handled]:
                return Decision(Why.WORSE_THAN_HANDLED, Move.WORSENED, severity)
            if scored.effective_at > handled_at + policy.rests(known.disposition, severity):
                return Decision(Why.BACK, Move.REOPENED, severity)
            return _milder(known, severity, policy, otherwise=Why.RESTING)
        case State.SNOOZED:
            if rises:
                return Decision(Why.WORSE_THAN_SNOOZED, Move.WORSENED, severity)
            if known.until is not None and now >= known.until:  # over, though the timer has not come by yet
                return Decision(Why.SNOOZE_OVER, Move.WOKEN, severity)
            return _milder(known, severity, policy, otherwise=Why.SNOOZED)
        case _:
            if rises:
                return Decision(Why.WORSE, Move.WORSENED, severity)
            return _milder(known, severity, policy, otherwise=Why.KNOWN)


def _milder(known: Episode, severity: Severity, policy: Policy, *, otherwise: Why) -> Decision:
    """Ease after enough milder readings in a row; what nobody has looked at stays latched as it was."""
    if RANK[severity] >= RANK[known.severity]:
        return Decision(otherwise)
    if known.milder + 1 < policy.ease_after:
        return Decision(Why.MILDER if otherwise is Why.KNOWN else otherwise)
    if known.state is State.WAITING:
        return Decision(Why.LATCHED)
    return Decision(Why.EASED, Move.EASED, worse(severity, known.milder_peak) if known.milder else severity)


def _calm(  # noqa: PLR0911 - one line per answer
    scored: Scored, known: Episode | None, policy: Policy, *, technical: bool
) -> Decision:
    """A reading that found nothing: it counts towards easing and, if nobody is needed, towards closing."""
    if known is None or known.state is State.CLOSED:
        return Decision(Why.NOTHING)
    if scored.effective_at <= known.newest_at and not technical:
        return Decision(Why.OVERTAKEN)
    wanted = about(known.concern).calm
    began = known.calm_since or scored.effective_at
    if known.calm + 1 >= wanted.readings and (technical or scored.effective_at - began >= wanted.over):
        match known.state:
            case State.HANDLED if not technical and scored.effective_at <= rests_until(known, policy):
                return Decision(Why.CALM)  # a rest stays visible until it ends
            case State.HANDLED | State.SNOOZED:
                return Decision(Why.CALM_CLOSED, Move.CLOSED, known.severity)
            case State.WAITING if known.peak is Severity.WATCH:
                return Decision(Why.CALM_CLOSED, Move.CLOSED, known.severity)
            case State.WAITING:
                return Decision(Why.CALM_UNSEEN)
            case _ if known.severity is Severity.WATCH:
                return Decision(Why.CALM_HELD)
    if known.severity is Severity.WATCH:
        return Decision(Why.CALM)
    eased = _milder(known, Severity.WATCH, policy, otherwise=Why.CALM)
    return Decision(Why.CALM) if eased.why is Why.LATCHED else eased


def rests_until(known: Episode, policy: Policy) -> datetime:
    handled = known.handled_severity or known.severity
    return (known.handled_at or known.since) + policy.rests(known.disposition, handled)


def _may_reopen(known: Episode, scored: Scored, policy: Policy) -> bool:
    return known.closed_at is not None and scored.received_at - known.closed_at <= policy.reopen_within


def _concern_is_technical(finding: Finding | None) -> bool:
    return finding is not None and about(finding.concern).queue is not Queue.CLINICAL


def fold(scored: Scored, known: Mapping[str, Episode], policy: Policy, *, now: datetime) -> list[Outcome]:
    """Decide every concern that this score speaks about, worst first, and carry the decisions out.

    What closed too long ago to re-open is not known any more, however much history the caller has loaded: one
    batch or one by one must be the same story.
    """
    known = {c: e for c, e in known.items() if e.state is not State.CLOSED or _may_reopen(e, scored, policy)}
    findings: dict[str, Finding] = {}
    for finding in scored.findings:
        before = findings.get(finding.concern)
        if before is None or finding.tier.rank > before.tier.rank:
            findings[finding.concern] = finding
    spoken: dict[str, None] = dict.fromkeys(sorted(findings, key=lambda c: -findings[c].tier.rank))
    spoken.update(dict.fromkeys(c for c in (*scored.assessed, *_answered(scored)) if c in known))
    return [_carry_out(scored, c, findings.get(c), known.get(c), policy, now=now) for c in spoken]


def _answered(scored: Scored) -> Iterable[str]:
    """What any score at all answers: it could be scored, it arrived, and something of its kind came."""
    return (Concern.SCORE_INCOMPLETE, UNREACHABLE, NO_READINGS.get(scored.kind, UNREACHABLE))


def _carry_out(
    scored: Scored,
    concern: str,
    finding: Finding | None,
    known: Episode | None,
    policy: Policy,
    *,
    now: datetime,
) -> Outcome:
    decision = decide(scored, finding, known, policy, now=now)
    reason = _reason(decision, finding, scored)
    cause = Cause(at=now, why=decision.why.name.lower(), reason=reason, event=scored.event_id)
    made: Transition | None = None
    after = known
    if decision.move is Move.OPENED and finding is not None and decision.severity is not None:
        after = _opened(scored, finding, decision.severity, reason, policy, now=now)
        made = ep.begin(after, cause)
    elif known is not None and decision.why not in IGNORED:
        changes = _evidence(scored, finding, known, decision)
        if decision.move is None:
            after = msgspec.structs.replace(known, **changes)
        else:
            changes |= _moved(scored, finding, known, decision, reason=reason, policy=policy, now=now)
            result = ep.step(known, decision.move, cause, **changes)
            if isinstance(result, ep.NotPossible):  # the table and `decide` disagree: a fault of ours
                raise RuntimeError(
                    f"episode {known.episode_id} is {known.state}, {decision.why.name} wanted {decision.move}"
                )
            made, after = result, result.episode
    return Outcome(concern=concern, decision=decision, finding=finding, episode=after, transition=made)


def _reason(decision: Decision, finding: Finding | None, scored: Scored) -> str:
    if finding is None:
        return decision.why.capitalize() + "."
    if about(finding.concern).queue is not Queue.CLINICAL:
        return finding.reason
    late = lateness(scored.effective_at, scored.received_at)
    return f"{late.capitalize()}: {finding.reason}" if late and decision.move is not None else finding.reason


def _opened(
    scored: Scored, finding: Finding, severity: Severity, reason: str, policy: Policy, *, now: datetime
) -> Episode:
    heard = heard_at(scored, now)
    return Episode(
        episode_id=episode_id(scored.patient_id, finding.concern, scored.caused_by),
        practice_id=scored.practice_id,
        patient_id=scored.patient_id,
        concern=finding.concern,
        queue=about(finding.concern).queue,
        state=State.WAITING,
        severity=severity,
        peak=severity,
        number=1,
        opened_at=heard,
        since=heard,
        due_at=policy.due(heard, severity),
        first_reading=scored.caused_by,
        readings=(scored.caused_by,),
        newest_at=scored.effective_at,
        **_told(scored, finding, reason),
    )


def _told(scored: Scored, finding: Finding, reason: str) -> dict[str, Any]:
    return {
        "reason": reason,
        "rule": finding.rule,
        "clears": finding.clears,
        "evidence": finding.evidence,
        "told_reading": scored.caused_by,
        "told_effective_at": scored.effective_at,
        "told_received_at": scored.received_at,
    }


def _evidence(scored: Scored, finding: Finding | None, known: Episode, decision: Decision) -> dict[str, Any]:
    """How the evidence and the counters change, whether or not the episode moves."""
    changes: dict[str, Any] = {"newest_at": max(known.newest_at, scored.effective_at)}
    if finding is None or finding.tier is Tier.ROUTINE:
        if decision.why is not Why.OVERTAKEN:
            eased = decision.move is Move.EASED
            changes |= {
                "calm": known.calm + 1,
                "calm_since": known.calm_since or scored.effective_at,
                "milder": 0 if eased else known.milder + 1,
                "milder_peak": Severity.WATCH if not known.milder or eased else known.milder_peak,
            }
        return changes
    changes["readings"] = (*known.readings, scored.caused_by)[-ep.EVIDENCE_KEPT :]
    changes["count"] = known.count + 1
    if decision.why in (Why.OVERTAKEN, Why.STALE, Why.LATE_JOINED):
        return changes  # it tells about the past: what is counted since stays counted
    severity = Severity(finding.tier)
    changes |= {"calm": 0, "calm_since": None}
    if RANK[severity] >= RANK[known.severity] or decision.move is Move.EASED:
        changes |= {"milder": 0, "milder_peak": Severity.WATCH, **_told(scored, finding, finding.reason)}
    else:
        changes |= {
            "milder": known.milder + 1,
            "milder_peak": worse(severity, known.milder_peak) if known.milder else severity,
        }
    return changes


def _moved(
    scored: Scored,
    finding: Finding | None,
    known: Episode,
    decision: Decision,
    *,
    reason: str,
    policy: Policy,
    now: datetime,
) -> dict[str, Any]:
    """The fields that a move sets besides state and number."""
    severity = decision.severity or known.severity
    heard = heard_at(scored, now)
    if decision.move is Move.CLOSED:
        return {"closed_at": now, "owner": None, "owner_name": None, "until": None}
    if decision.move is Move.EASED:
        return {"severity": severity}
    changes: dict[str, Any] = _told(scored, finding, reason) if finding is not None else {}
    returns = known.state in ep.QUIET or known.state is State.CLOSED
    if not returns:  # worse while waiting, claimed or escalated: the clock may only get shorter
        due = min(known.due_at, policy.due(heard, severity))
        return changes | {"severity": severity, "peak": worse(severity, known.peak), "due_at": due}
    return changes | {
        "severity": severity,
        "peak": severity,
        "since": heard,
        "due_at": policy.due(heard, severity),
        "times": known.times + 1,
        "owner": None,
        "owner_name": None,
        "until": None,
        "closed_at": None,
        "calm": 0,
        "calm_since": None,
        "back": f"{decision.why.value.capitalize()}.",
    }


def lateness(effective_at: datetime, received_at: datetime) -> str:
    """How late a reading came, from one hour on; empty when it was on time.

    >>> from datetime import UTC
    >>> lateness(datetime(2026, 1, 5, 0, 10, tzinfo=UTC), datetime(2026, 1, 5, 9, 30, tzinfo=UTC))
    'late, 9 h'
    >>> lateness(datetime(2026, 1, 5, 9, tzinfo=UTC), datetime(2026, 1, 5, 9, 30, tzinfo=UTC))
    ''
    """
    hours = int((received_at - effective_at).total_seconds() // 3600)
    if hours < 1:
        return ""
    return f"late, {hours} h" if hours < 48 else f"late, {hours // 24} d"  # noqa: PLR2004 - two days
