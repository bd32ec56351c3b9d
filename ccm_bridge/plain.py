"""What a patient gets to read, in plain words: the plan's copy, the month's letter, and how hard they read. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from ccm_bridge.careplan import Plan
from ccm_bridge.enrolment import Caregiver, Enrolment

EMERGENCY = "For chest pain, trouble breathing, weakness on one side, trouble speaking or fainting: call 911."


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One piece of a sheet: a heading, a paragraph, a line of a list, or a line that must not be missed."""

    kind: str  # heading, subheading, text, item, loud
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What is printed for a patient, whether on a page or on paper."""

    title: str
    under: str  # whose it is, from whom, which version
    blocks: tuple[Block, ...]

    @property
    def grade(self) -> float:
        """The school grade whose pupils read the sentences; headings and lists of names are no sentences."""
        return grade(" ".join(b.text for b in self.blocks if b.kind in ("text", "loud")))


def _text(words: str) -> Block:
    return Block(kind="text", text=words)


def _item(words: str) -> Block:
    return Block(kind="item", text=words)


def _heading(words: str) -> Block:
    return Block(kind="heading", text=words)


def sentence(words: str) -> str:
    """Words that end as a sentence does.

    >>> sentence("below 130/80 "), sentence("Call us!"), sentence("")
    ('below 130/80.', 'Call us!', '')
    """
    words = words.strip()
    return words if not words or words[-1] in ".!?:" else f"{words}."


def capital(words: str) -> str:
    """Words that begin as a sentence does.

    >>> capital("wants to stay at home"), capital("")
    ('Wants to stay at home', '')
    """
    return words[:1].upper() + words[1:]


def day_words(day: date) -> str:
    """A day as American patients write it.

    >>> day_words(date(2026, 11, 3))
    'November 3, 2026'
    """
    return f"{day:%B} {day.day}, {day.year}"


def _who_to_call(enrolled: Enrolment | None, practice: str) -> str:
    manager = f"{enrolled.care_manager_name} at " if enrolled and enrolled.care_manager_name else ""
    return f"{manager}{practice}"


def plan_copy(plan: Plan, enrolled: Enrolment | None, *, name: str, practice: str, zone: ZoneInfo) -> Sheet:
    """The patient's copy of their plan."""
    content = plan.content
    signed = (
        f"signed by {plan.signed_by_name} on {day_words(plan.signed_at.astimezone(zone))}"
        if plan.signed_at
        else "a draft, not signed"
    )
    blocks: list[Block] = []
    if content.preferences:
        blocks += [_heading("What matters to you"), _text(capital(sentence(content.preferences)))]
    blocks.append(_heading("What we watch together"))
    for problem in content.problems:
        blocks.append(Block(kind="subheading", text=problem.name))
        goal = sentence(f"Your goal is: {problem.goal}")
        measured = sentence(f"You measure: {problem.measured_by}") if problem.measured_by else ""
        blocks.append(_text(f"{goal} {measured} {problem.schedule_words()}".strip()))
        if problem.symptoms:
            blocks.append(_text(f"If you feel unwell: {sentence(problem.symptoms)}"))
    if content.medicines:
        blocks.append(_heading("Your medicines"))
        blocks += [
            _item(f"{m.name}, {m.dose}" + (f" (for your {m.purpose})" if m.purpose else ""))
            for m in content.medicines
        ]
    if content.allergies:
        blocks.append(_text(f"Allergies: {sentence(content.allergies)}"))
    if content.interventions:
        blocks.append(_heading("Who does what"))
        blocks += [
            _item(f"{capital(s.what)}: {s.who}" + (f", {s.when}" if s.when else ""))
            for s in content.interventions
        ]
    blocks += [
        _heading("Who to call"),
        _text(f"Call {_who_to_call(enrolled, practice)}, day or night."),
        Block(kind="loud", text=EMERGENCY),
        _text(f"We look at this plan again by {day_words(plan.review_on)}."),
        _text("You can stop this service at any time. It then ends on the last day of that month."),
    ]
    return Sheet(
        title="Your care plan",
        under=f"{name}, {practice}. Version {plan.version}, {signed}.",
        blocks=tuple(blocks),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a month's letter tells."""

    month: date
    measured_days: int
    pressure: tuple[int, int, int] | None  # systolic, diastolic, readings
    glucose: tuple[int, int] | None
    talks: Sequence[Mapping[str, Any]]
    outcomes: Sequence[str]
    plan: Plan | None
    changed: Sequence[str]  # what is new in the plan, in words


def letter(
    told: Told,
    enrolled: Enrolment | None,
    *,
    name: str,
    practice: str,
    zone: ZoneInfo,
    to: Caregiver | None = None,
) -> Sheet:
    """The month in plain words, to the patient or to a caregiver whom the patient allowed to know."""
    first = name.split(maxsplit=1)[0] if name else ""
    subject, possessive = (first, f"{first}'s") if to else ("You", "Your")
    month = f"{told.month:%B}"
    blocks: list[Block] = [_text(f"Dear {to.name.split()[0] if to else first},")]
    if to:
        blocks.append(
            _text(
                f"{first} allowed us to write to you. This is what we did together in {month} {told.month:%Y}."
            )
        )
    else:
        blocks.append(_text(f"This is what we did together in {month} {told.month:%Y}."))
    if told.measured_days:
        blocks += [_heading("Measuring"), _text(_measured(told, subject, possessive))]
    if told.talks:
        blocks.append(_heading("We talked"))
        blocks += [_item(_talk(row, zone, whose=possessive)) for row in told.talks]
    if told.outcomes:
        blocks.append(_heading("What came of it"))
        blocks += [_item(capital(sentence(words))) for words in told.outcomes]
    if told.changed:
        blocks.append(_heading("What is new in the plan"))
        blocks += [_item(sentence(words)) for words in told.changed]
    if told.plan is not None and told.plan.signed_at is not None:
        blocks.append(_heading("The goals"))
        blocks += [_item(f"{p.name}: {sentence(p.goal)}") for p in told.plan.content.problems]
    blocks += [
        _heading("When to call"),
        _text(
            f"Call {_who_to_call(enrolled, practice)}, day or night. "
            + (
                f"Call if {first} feels worse, or if you have a question."
                if to
                else "Call if you feel worse or have a question."
            )
        ),
        Block(kind="loud", text=EMERGENCY),
        _text("Kind regards,"),
        _text(enrolled.practitioner_name if enrolled and enrolled.practitioner_name else practice),
    ]
    return Sheet(
        title=f"{first}'s {month}" if to else f"Your {month}",
        under=f"{practice}. About {name}." if to else f"{practice}.",
        blocks=tuple(blocks),
    )


def _measured(told: Told, subject: str, possessive: str) -> str:
    """How often was measured, and what it came to."""
    said = [
        f"{subject} measured on {told.measured_days} {_days(told.measured_days)}.",
        "It helps us see a change early.",
    ]
    if told.pressure:
        high, low, count = told.pressure
        said += [
            f"{possessive} blood pressure was {high} over {low}.",
            *([f"That is the average of {count} readings."] if count > 1 else []),
        ]
    if told.glucose:
        lowest, highest = told.glucose
        spread = f"went from {lowest} to {highest}" if lowest < highest else f"was {lowest}"
        said.append(f"{possessive} blood sugar {spread} mg/dL.")
    return " ".join(said)


def _days(count: int) -> str:
    return "day" if count == 1 else "days"


KIN = frozenset(
    {
        "daughter",
        "son",
        "wife",
        "husband",
        "partner",
        "sister",
        "brother",
        "mother",
        "father",
        "niece",
        "nephew",
    }
    | {"caregiver", "friend", "neighbor", "neighbour"}
)


def whom_words(whom: str, *, whose: str) -> str:
    """With whom somebody spoke, as a letter says it. `whose`: "Your", or "Maria's".

    >>> [whom_words(whom, whose="Your") for whom in ("daughter", "pharmacy", "Dr. Lund", "her son")]
    ['your daughter', 'the pharmacy', 'Dr. Lund', 'her son']
    """
    if whom.lower() in KIN:
        return f"{'your' if whose == 'Your' else whose} {whom.lower()}"
    return f"the {whom}" if whom.islower() and " " not in whom else whom


def _talk(row: Mapping[str, Any], zone: ZoneInfo, *, whose: str) -> str:
    whom = (row["contact_with"] or "").strip()
    spoke = whom and whom.lower() not in ("patient", "the patient")
    rest = f" talked with {whom_words(whom, whose=whose)}" if spoke else " called"
    at = row["start"].astimezone(zone)
    return f"{at:%B} {at.day}: {row['staff_name']}{rest}."


# How hard it is to read ------------------------------------------------------------------------------------


def syllables(word: str) -> int:
    """Groups of vowels, a silent e at the end left out: near enough for a mean over a page.

    >>> [syllables(word) for word in ("pressure", "medicine", "goal", "the", "table")]
    [2, 3, 1, 1, 2]
    """
    word = word.lower()
    groups = len(re.findall(r"[aeiouy]+", word))
    silent = word.endswith("e") and not word.endswith(("le", "ee")) and groups > 1
    return max(1, groups - silent)


def grade(text: str) -> float:
    """The Flesch-Kincaid grade: long sentences and long words make it high. Health letters aim at six or less.

    >>> grade("You take one pill. You take it each day.") < 2 < grade("Antihypertensive medication reconciliation.")
    True
    """
    sentences = [part for part in re.split(r"[.!?:]+(?:\s|$)", text) if re.search(r"[A-Za-z]", part)]
    words = re.findall(r"[A-Za-z][A-Za-z'-]*", text)
    if not sentences or not words:
        return 0.0
    long = sum(syllables(word) for word in words)
    return max(0.0, 0.39 * len(words) / len(sentences) + 11.8 * long / len(words) - 15.59)
