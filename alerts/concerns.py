"""What is known about each concern: its words, its queue, its quantity, and how long calm must last."""

from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from risk.events import Concern

NO_READINGS = {"bp": "no_bp_readings", "glucose": "no_glucose_readings"}
UNREACHABLE = "unreachable"
"""The concerns that no score can raise: nothing came, or nothing can come (see `absence`). Any reading answers them."""


class Queue(StrEnum):
    """Whose work it is: nurses', whoever helps the patient measure, or whoever mends devices."""

    CLINICAL = "clinical"
    ADHERENCE = "adherence"
    TECHNICAL = "technical"


class Calm(NamedTuple):
    """How much calm ends an episode: this many readings in a row, spread over at least this long.

    Both are needed: three cuffs in two minutes are one sitting, and one quiet reading a day later is luck.
    """

    readings: int
    over: timedelta


class About(NamedTuple):
    """One concern's facts."""

    label: str
    queue: Queue
    quantity: str | None  # what the row's value, band and sparkline show
    kind: str | None  # which readings its timeline shows: bp or glucose
    calm: Calm
    protocol: tuple[str, ...] = ()  # what a nurse does first; generic, a practice may replace it


_SITTINGS = Calm(3, timedelta(hours=12))
_DRIFT = Calm(3, timedelta(hours=24))
_FINGERSTICKS = Calm(2, timedelta(hours=4))
_ONE = Calm(1, timedelta(0))

_PRESSURE = (
    "Ask for a repeat: seated five minutes, arm at heart level, no talking, right cuff size.",
    "Ask about chest pain, breathlessness, headache, vision, weakness, speech. Any: emergency services.",
    "Check that today's tablets were taken, and what else was (pain killers, decongestants, caffeine).",
    "No symptoms but still high on the repeat: escalate to the provider within the target time.",
)
_LOW_PRESSURE = (
    "Ask about dizziness, falls, bleeding, fever, vomiting, diarrhoea. Fainted or confused: emergency.",
    "Ask to sit or lie down, drink if allowed, and repeat the reading in five minutes.",
    "Check doses of pressure tablets and diuretics, and recent changes. Escalate before the next dose.",
)
_PULSE = (
    "Ask about palpitations, chest pain, breathlessness, fainting. Any of these: emergency services.",
    "Ask for a repeat after five minutes of rest; ask the patient to feel the pulse: regular or not?",
    "Check tablets that slow or speed the heart, thyroid, fever. Escalate if it repeats.",
)
_LOW_GLUCOSE = (
    "Is the patient awake and able to swallow? If not: emergency services, glucagon if at hand.",
    "15 g of fast sugar now, repeat the reading after 15 minutes, again until above 70 mg/dL.",
    "Then a snack. Ask what came before: dose, missed meal, exercise, alcohol.",
    "Below 54 mg/dL or a second low this week: escalate for a dose review.",
)
_HIGH_GLUCOSE = (
    "Ask about thirst, vomiting, belly pain, fast breathing, drowsiness. Any of these: emergency services.",
    "Type 1, or ill: check ketones. 1.6 mmol/L or more: call the provider now; 3 or more: emergency.",
    "Check missed doses, steroids, infection, an old strip or unwashed hands; repeat the reading.",
)
_DRIFTING = (
    "Look at the timeline: is it the same device, time of day and routine as before?",
    "Ask what changed two to four weeks ago: tablets, salt, weight, sleep, stress, illness.",
    "Ask for a week of readings, two each morning and evening, then review with the provider.",
)

_ABSENT = (
    "Is the patient well, at home, and able to measure? Ask before mentioning the device.",
    "Batteries, cuff or strips, hub plugged in, app signed in; take one reading together.",
    "Away or in hospital: pause the expectation until the return date.",
)

ABOUT: dict[str, About] = {
    Concern.HIGH_PRESSURE: About(
        "High blood pressure", Queue.CLINICAL, "systolic", "bp", _SITTINGS, _PRESSURE
    ),
    Concern.LOW_PRESSURE: About(
        "Low blood pressure", Queue.CLINICAL, "systolic", "bp", _SITTINGS, _LOW_PRESSURE
    ),
    Concern.PRESSURE_DRIFT_UP: About(
        "Blood pressure drifting up", Queue.CLINICAL, "systolic", "bp", _DRIFT, _DRIFTING
    ),
    Concern.PRESSURE_DRIFT_DOWN: About(
        "Blood pressure drifting down", Queue.CLINICAL, "systolic", "bp", _DRIFT, _DRIFTING
    ),
    Concern.FAST_PULSE: About("Fast pulse", Queue.CLINICAL, "pulse", "bp", _SITTINGS, _PULSE),
    Concern.SLOW_PULSE: About("Slow pulse", Queue.CLINICAL, "pulse", "bp", _SITTINGS, _PULSE),
    Concern.PULSE_DRIFT: About("Pulse drifting", Queue.CLINICAL, "pulse", "bp", _DRIFT, _DRIFTING),
    Concern.LOW_GLUCOSE: About(
        "Low glucose", Queue.CLINICAL, "glucose", "glucose", _FINGERSTICKS, _LOW_GLUCOSE
    ),
    Concern.HIGH_GLUCOSE: About(
        "High glucose", Queue.CLINICAL, "glucose", "glucose", _FINGERSTICKS, _HIGH_GLUCOSE
    ),
    Concern.GLUCOSE_DRIFT: About("Glucose drifting", Queue.CLINICAL, "glucose", "glucose", _DRIFT, _DRIFTING),
    Concern.SCORE_INCOMPLETE: About("Reading could not be scored", Queue.TECHNICAL, None, None, _ONE),
    NO_READINGS["bp"]: About("No blood-pressure readings", Queue.ADHERENCE, None, None, _ONE, _ABSENT),
    NO_READINGS["glucose"]: About("No glucose readings", Queue.ADHERENCE, None, None, _ONE, _ABSENT),
    UNREACHABLE: About(
        "Nothing can arrive from home",
        Queue.TECHNICAL,
        None,
        None,
        _ONE,
        (
            "The hub: power, lights, and whether other things at home have a network.",
            "Readings wait in the hub and arrive by themselves once it is back; nothing is lost.",
            "Until then nobody knows how the patient is: for a patient at risk, a call comes first.",
        ),
    ),
}


def about(concern: str) -> About:
    """The facts of a concern; one we do not know yet is shown under its own name and is never lost.

    >>> about("low_glucose").label
    'Low glucose'
    >>> about("swollen_ankles").label, about("swollen_ankles").queue.value
    ('Swollen ankles', 'clinical')
    """
    known = ABOUT.get(concern)
    return known or About(concern.replace("_", " ").capitalize(), Queue.CLINICAL, None, None, _SITTINGS)
