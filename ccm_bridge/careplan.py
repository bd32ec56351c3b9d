"""The comprehensive care plan: its elements, what a version lacks, and what changed between two. Pure."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

import msgspec

WEEK = 7
WATCHES = {"bp": "Blood pressure", "glucose": "Glucose"}
"""What a goal can be followed by: the readings that arrive from home."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One condition of the plan, with a goal that can be measured."""

    name: str
    icd10: str
    outcome: str  # expected outcome and prognosis
    goal: str
    measured_by: str = ""  # "home blood pressure, mornings", "fasting glucose"
    symptoms: str = ""  # how symptoms are managed
    watch: str = ""  # a key of `WATCHES`: the readings that this goal is followed by
    below: tuple[int, int] | None = None  # mm[Hg], the goal as numbers
    between: tuple[int, int] | None = None  # mg/dL
    days_a_week: int | None = None  # on which the patient measures

    def schedule_words(self) -> str:
        """How often the patient measures, as a sentence for them; empty where nobody has said."""
        if self.days_a_week is None:
            return ""
        return (
            "Measure every day."
            if self.days_a_week == WEEK
            else f"Measure on {self.days_a_week} days a week."
        )


class Medicine(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    dose: str
    purpose: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A planned intervention and who is responsible for it."""

    what: str
    who: str
    when: str = ""


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """The elements CMS lists for a comprehensive care plan. An empty one needs "not applicable" and why."""

    problems: tuple[Problem, ...]
    medicines: tuple[Medicine, ...] = ()
    allergies: str = ""
    reconciled_on: date | None = None
    interventions: tuple[Step, ...] = ()
    function: str = ""  # cognitive and functional assessment
    surroundings: str = ""  # environmental evaluation
    caregivers: str = ""
    community: str = ""  # outside resources and practitioners
    preferences: str = ""  # what matters to the patient, in their words


ELEMENTS: dict[str, str] = {
    "problems": "problem list with expected outcome and measurable goals",
    "medicines": "medicines",
    "allergies": "allergies",
    "interventions": "planned interventions and who is responsible",
    "function": "cognitive and functional assessment",
    "surroundings": "surroundings at home",
    "caregivers": "caregiver assessment",
    "community": "outside resources and practitioners",
    "preferences": "what matters to the patient",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One version of a plan with its signature and the copies given."""

    plan_id: UUID
    patient_id: UUID
    version: int
    content: Content
    review_on: date
    drafted_by_name: str
    drafted_at: datetime
    signed_by_name: str | None = None
    signed_at: datetime | None = None
    copy_given_at: datetime | None = None


def lacks(content: Content) -> tuple[str, ...]:
    """The elements that say nothing yet. CMS suggests the list: each is a warning, not a refusal."""
    empty = [words for name, words in ELEMENTS.items() if not getattr(content, name)]
    empty += [f"a measurable goal for {problem.name}" for problem in content.problems if not problem.goal]
    return tuple(empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Work that the plan itself asks for in a month. `key` names it within patient and month: asked twice, made once."""

    key: str
    title: str
    reason: str
    due: date


RECONCILE_AFTER = timedelta(days=90)
MONTHLY = ("month", "week", "day")
"""Words in a step's "when" that mean: every month."""


def asks(plan: Plan, *, month: date, by_whom: str = "the patient") -> tuple[Ask, ...]:
    """What the signed plan asks of the care team in a month: its recurring steps, medicines, its own review.

    Only what the plan says: nobody is called because minutes are missing. Steps that the patient does are not ours.

    >>> step = Step(what="check-in call", who="Ana", when="every month")
    >>> content = Content(problems=(), interventions=(step,), reconciled_on=date(2026, 10, 20))
    >>> plan = Plan(plan_id=UUID(int=1), patient_id=UUID(int=2), version=1, content=content, review_on=date(2027, 1, 1),
    ...     drafted_by_name="Ana", drafted_at=datetime(2026, 10, 1), signed_at=datetime(2026, 10, 2))
    >>> [ask.title for ask in asks(plan, month=date(2026, 11, 1))]
    ['Check-in call']
    """
    if plan.signed_at is None:
        return ()
    last = (month + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    middle = month + timedelta(days=14)
    found = [
        Ask(
            key=f"step {place}",
            title=step.what[:1].upper() + step.what[1:],
            reason=f"The care plan asks for it {step.when}: {step.who}.",
            due=middle,
        )
        for place, step in enumerate(plan.content.interventions)
        if any(word in step.when.lower() for word in MONTHLY)
        and step.who.lower() not in ("patient", by_whom.lower())
    ]
    reconciled = plan.content.reconciled_on
    if plan.content.medicines and (reconciled is None or last - reconciled > RECONCILE_AFTER):
        since = f"last reconciled {reconciled:%d %b %Y}" if reconciled else "never reconciled"
        found.append(
            Ask(key="medicines", title="Reconcile medicines", reason=f"Medicines {since}.", due=last)
        )
    if plan.review_on <= last:
        found.append(
            Ask(
                key="review",
                title="Review the care plan",
                reason=f"Due {plan.review_on:%d %b %Y}.",
                due=plan.review_on,
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two versions, in words."""

    element: str
    before: str
    after: str


def differences(before: Content, after: Content) -> tuple[Change, ...]:
    """What changed, element by element, in the order of the plan.

    >>> pressure = Problem(name="Hypertension", icd10="I10", outcome="controlled", goal="below 140/90")
    >>> tighter = Problem(name="Hypertension", icd10="I10", outcome="controlled", goal="below 130/80")
    >>> change, = differences(Content(problems=(pressure,)), Content(problems=(tighter,)))
    >>> change.before, change.after
    ('Hypertension (I10): controlled; goal below 140/90', 'Hypertension (I10): controlled; goal below 130/80')
    """
    changes = []
    for name, words in ELEMENTS.items():
        was, now = (_lines(getattr(content, name)) for content in (before, after))
        for gone, come in _paired([x for x in was if x not in now], [x for x in now if x not in was]):
            changes.append(Change(element=words, before=gone, after=come))
    return tuple(changes)


def _paired(gone: list[str], come: list[str]) -> list[tuple[str, str]]:
    """Line up what went with what came; the shorter list is filled up with nothing."""
    longest = max(len(gone), len(come))
    return [(gone[i] if i < len(gone) else "", come[i] if i < len(come) else "") for i in range(longest)]


def _lines(value: object) -> list[str]:
    match value:
        case str():
            return [value] if value else []
        case tuple():
            return [_line(item) for item in value]
    raise TypeError(f"a plan's element cannot be {type(value).__name__}")


def _line(item: object) -> str:
    match item:
        case Problem():
            how = f", by {item.measured_by}" if item.measured_by else ""
            often = f", {item.days_a_week} days a week" if item.days_a_week else ""
            return f"{item.name} ({item.icd10}): {item.outcome}; goal {item.goal}{how}{often}"
        case Medicine():
            purpose = f" for {item.purpose}" if item.purpose else ""
            return f"{item.name} {item.dose}{purpose}"
        case Step():
            when = f", {item.when}" if item.when else ""
            return f"{item.what} ({item.who}{when})"
    raise TypeError(f"a plan cannot hold {type(item).__name__}")
