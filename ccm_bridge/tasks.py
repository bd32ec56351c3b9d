"""Which work follows from an episode: one task however often it is told, with its checklist. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

from alerts.events import EpisodeMoved, Move, Severity

WORK = UUID("a8c1f9f0-3c9e-5b37-8f51-0a8f3f9b7d20")
"""Namespace of task ids: the same episode is the same task."""

DUE: dict[Severity, timedelta] = {
    Severity.CRITICAL: timedelta(hours=4),
    Severity.HIGH: timedelta(hours=24),
    Severity.WATCH: timedelta(hours=48),
}
"""How soon work should be done, from when it was asked for: a common 4 h / 24 h / 48 h ladder."""

RANK = {severity: place for place, severity in enumerate(Severity)}


class State(StrEnum):
    OPEN = "open"
    TAKEN = "taken"
    ESCALATED = "escalated"  # waits for the physician's answer
    DONE = "done"
    CANCELLED = "cancelled"


MOVES: dict[State, frozenset[State]] = {
    State.OPEN: frozenset({State.TAKEN, State.ESCALATED, State.DONE, State.CANCELLED}),
    State.TAKEN: frozenset({State.OPEN, State.TAKEN, State.ESCALATED, State.DONE, State.CANCELLED}),
    State.ESCALATED: frozenset({State.OPEN, State.TAKEN, State.DONE, State.CANCELLED}),
    State.DONE: frozenset({State.OPEN}),
    State.CANCELLED: frozenset({State.OPEN}),
}
FINISHED = frozenset({State.DONE, State.CANCELLED})

AGAIN = frozenset({Move.REOPENED, Move.WORSENED, Move.ESCALATED, Move.TASK_ASKED})
"""Moves that can make finished work necessary again."""


class Why(StrEnum):
    """Why a told move of an episode does, or does not, change the work."""

    MAKE = "the episode needs care-management work"
    AGAIN = "the finished work is needed again"
    WORSE = "the episode got worse: sooner and more severe"
    MARKED = "the task notes how its episode stands"
    NO_WORK = "the episode does not ask for work"
    KNOWN = "this move was told before"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a move of an episode may change about its task."""

    task_id: UUID
    state: State
    severity: Severity
    reason: str
    due_at: datetime
    episode_state: str  # open, closed
    last_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows, why, and the task as it shall stand (None: no task)."""

    why: Why
    task: Task | None


def task_id(episode_id: UUID) -> UUID:
    """The id of the one task of an episode."""
    return uuid5(WORK, str(episode_id))


def decide(event: EpisodeMoved, task: Task | None) -> Decision:
    """Whether a move of an episode makes work, changes it, or leaves it alone.

    A closed episode does not close its task: work that was asked for is ended by a person, with a reason.
    """
    if task is None:
        if not event.needs_task:
            return Decision(why=Why.NO_WORK, task=None)
        made = Task(
            task_id=task_id(event.episode_id),
            state=State.OPEN,
            severity=event.severity,
            reason=event.why or event.reason,
            due_at=event.at + DUE[event.severity],
            episode_state=_stands(event, "open"),
            last_number=event.number,
        )
        return Decision(why=Why.MAKE, task=made)
    if event.number <= task.last_number:
        return Decision(why=Why.KNOWN, task=task)

    again = task.state in FINISHED and event.needs_task and event.move in AGAIN
    worse = RANK[event.severity] > RANK[task.severity]
    told = event.move in (Move.OPENED, Move.REOPENED, Move.WORSENED, Move.ESCALATED)
    due = event.at + DUE[event.severity]
    after = Task(
        task_id=task.task_id,
        state=State.OPEN if again else task.state,
        severity=event.severity if again or worse else task.severity,
        reason=event.why or (event.reason if told else task.reason),
        due_at=due if again else min(task.due_at, due) if worse else task.due_at,
        episode_state=_stands(event, task.episode_state),
        last_number=event.number,
    )
    return Decision(why=Why.AGAIN if again else Why.WORSE if worse else Why.MARKED, task=after)


def _stands(event: EpisodeMoved, before: str) -> str:
    if event.move is Move.CLOSED:
        return "closed"
    return "open" if event.move in (Move.OPENED, Move.REOPENED) else before


# Words for people ------------------------------------------------------------------------------------

CONCERNS: dict[str, str] = {
    "high_pressure": "High blood pressure",
    "low_pressure": "Low blood pressure",
    "pressure_drift_up": "Blood pressure drifting up",
    "pressure_drift_down": "Blood pressure drifting down",
    "fast_pulse": "Fast pulse",
    "slow_pulse": "Slow pulse",
    "pulse_drift": "Pulse drifting",
    "low_glucose": "Low glucose",
    "high_glucose": "High glucose",
    "glucose_drift": "Glucose drifting",
    "score_incomplete": "A reading could not be scored",
    "no_readings": "No readings arriving",
}


def concern_words(concern: str) -> str:
    """A concern as people say it; one we do not know is shown as it came.

    >>> concern_words("low_glucose"), concern_words("wet_cuff")
    ('Low glucose', 'Wet cuff')
    """
    return CONCERNS.get(concern, concern.replace("_", " ").capitalize())


ALERT_MOVES: dict[str, str] = {
    Move.OPENED: "opened",
    Move.WORSENED: "got worse",
    Move.EASED: "eased",
    Move.REOPENED: "opened again",
    Move.CLAIMED: "taken",
    Move.HANDED_BACK: "handed back",
    Move.ESCALATED: "escalated",
    Move.DISPOSITIONED: "settled",
    Move.CLOSED: "closed",
    Move.TASK_ASKED: "made a care task",
    Move.SNOOZED: "snoozed",
    Move.WOKEN: "back from its snooze",
}


def move_words(move: str) -> str:
    """What happened to an alert, said after its name; "by" somebody may follow.

    >>> move_words("dispositioned"), move_words("wet_cuff")
    ('settled', 'wet cuff')
    """
    return ALERT_MOVES.get(move, move.replace("_", " "))


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One step of a checklist."""

    key: str
    text: str


_REACH = Item(key="reached", text="Reached the patient, or a caregiver with permission, by phone or video")
_MEDICINES = Item(
    key="medicines", text="Asked which medicines were taken, missed or ran out; refill arranged if needed"
)
_TELL = Item(key="told", text="Told the practitioner what changed, or noted why that is not needed")
_NEXT = Item(key="next", text="Agreed when to measure next, and when to call us or 911")
_PRESSURE = (
    Item(
        key="symptoms",
        text="Asked about chest pain, breathlessness, swollen feet or weight gain, headache, changed sight or speech",
    ),
    Item(
        key="technique",
        text="Checked the measuring: rested 5 minutes, back and arm supported, right cuff, no talking",
    ),
    Item(key="repeat", text="Asked for a repeat reading, one minute apart"),
)
_LOW_PRESSURE = (
    Item(
        key="symptoms", text="Asked about dizziness, falls, fainting, bleeding, vomiting or diarrhoea, fever"
    ),
    Item(key="standing", text="Asked about fluids, meals, and getting up slowly"),
    Item(key="repeat", text="Asked for a repeat reading, seated"),
)
_PULSE = (
    Item(key="symptoms", text="Asked about palpitations, chest pain, breathlessness, dizziness, fainting"),
    Item(
        key="regular",
        text="Asked whether the cuff showed an irregular pulse, and for a repeat reading at rest",
    ),
    Item(key="stimulants", text="Asked about fever, pain, caffeine, decongestants, new medicines"),
)
_LOW_GLUCOSE = (
    Item(key="treated", text="Made sure it was treated: 15 g of fast sugar, measured again after 15 minutes"),
    Item(key="symptoms", text="Asked about confusion, sweating, falls; somebody with the patient?"),
    Item(
        key="cause",
        text="Looked for the cause: missed meal, exercise, alcohol, insulin or sulfonylurea dose",
    ),
    Item(
        key="rescue", text="Checked that rescue sugar or glucagon is at home and somebody knows how to use it"
    ),
)
_HIGH_GLUCOSE = (
    Item(
        key="symptoms",
        text="Asked about thirst, passing water often, vomiting, belly pain, drowsiness, infection",
    ),
    Item(
        key="ketones", text="On insulin and above 250 mg/dL: asked for a ketone check if strips are at home"
    ),
    Item(
        key="food", text="Asked about meals, illness, steroids, missed doses, insulin kept cold and in date"
    ),
)
_SILENT = (
    Item(
        key="equipment",
        text="Checked batteries, gateway and cuff or meter with the patient; technical help if needed",
    ),
    Item(key="well", text="Asked how the patient is, and why measuring stopped"),
    Item(key="barriers", text="Asked about hearing, sight, language, transport or cost getting in the way"),
)

CHECKLISTS: dict[str, tuple[Item, ...]] = {
    "high_pressure": (_REACH, *_PRESSURE, _MEDICINES, _TELL, _NEXT),
    "pressure_drift_up": (_REACH, *_PRESSURE, _MEDICINES, _TELL, _NEXT),
    "low_pressure": (_REACH, *_LOW_PRESSURE, _MEDICINES, _TELL, _NEXT),
    "pressure_drift_down": (_REACH, *_LOW_PRESSURE, _MEDICINES, _TELL, _NEXT),
    "fast_pulse": (_REACH, *_PULSE, _MEDICINES, _TELL, _NEXT),
    "slow_pulse": (_REACH, *_PULSE, _MEDICINES, _TELL, _NEXT),
    "pulse_drift": (_REACH, *_PULSE, _MEDICINES, _TELL, _NEXT),
    "low_glucose": (_REACH, *_LOW_GLUCOSE, _MEDICINES, _TELL, _NEXT),
    "high_glucose": (_REACH, *_HIGH_GLUCOSE, _MEDICINES, _TELL, _NEXT),
    "glucose_drift": (_REACH, *_HIGH_GLUCOSE, _MEDICINES, _TELL, _NEXT),
    "no_readings": (_REACH, *_SILENT, _NEXT),
    "score_incomplete": (
        Item(key="looked", text="Looked at the reading itself on the patient's page and judged it by eye"),
        _REACH,
        _TELL,
    ),
}
_ANY = (_REACH, _MEDICINES, _TELL, _NEXT)


def checklist(concern: str) -> tuple[Item, ...]:
    """What to ask and do for a concern: support for a trained person's judgement, not its replacement."""
    return CHECKLISTS.get(concern, _ANY)
