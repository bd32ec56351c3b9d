"""FHIR R4 Observations in: US Core blood pressure and glucose, and what personal health gateways upload.

A Bundle is read as a whole, because a cuff's pulse, its status bits and a meter's meal are Observations of
their own that belong to a measurement: by `derivedFrom`, or by the same device at the same time.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ingest.devices import document, field
from ingest.devices.measurement import (
    Absent,
    Answer,
    Context,
    DeviceEvent,
    EventKind,
    Flag,
    Reason,
    Refusal,
    Said,
    Sent,
    refuse,
)
from ingest.devices.vitals import OfReading, beyond_range, blood_pressure, event_about, glucose
from ingest.events import Beyond, Kind

LOINC, MDC = "http://loinc.org", "urn:iso:std:iso:11073:10101"
PANEL = {(LOINC, "85354-9"), (LOINC, "55284-4"), (LOINC, "35094-2"), (MDC, "150020")}
SYSTOLIC = {(LOINC, "8480-6"), (MDC, "150021")}
DIASTOLIC = {(LOINC, "8462-4"), (MDC, "150022")}
MEAN = {(LOINC, "8478-0"), (MDC, "150023")}
PULSE = {(LOINC, "8867-4"), (MDC, "149546"), (MDC, "149530"), (MDC, "147842")}
AVERAGES = {(LOINC, "96607-7"), (LOINC, "96608-5"), (LOINC, "96609-3")}
STATUS, MEAL, CLOCKS = (MDC, "8410608"), (MDC, "8417864"), {(MDC, "67975"), (MDC, "68225"), (MDC, "67983")}
CONTROL, INTERSTITIAL = (MDC, "160208"), {(MDC, "160212"), (LOINC, "99504-3")}
OTHER_BLOOD = {(MDC, code) for code in ("160192", "160196", "160200", "160204")}
GLUCOSE = (
    {(MDC, code) for code in ("160184", "160188", "160364", "160368")}
    | {
        (LOINC, code)
        for code in (
            "2339-0", "2340-8", "2341-6", "2345-7", "14743-9", "14745-4", "14749-6", "15074-8", "32016-8",
            "41651-1", "41652-9", "41653-7", "53049-3", "1521-4", "1556-0", "1558-6", "14770-2", "14771-0",
            "14760-3", "76629-5", "87422-2", "105272-9",
        )
    }
    | {CONTROL}
    | INTERSTITIAL
    | OTHER_BLOOD
)  # fmt: skip
MEANING = {
    **dict.fromkeys(PANEL | SYSTOLIC | DIASTOLIC, "bp"),
    **dict.fromkeys(GLUCOSE, "glucose"),
    **dict.fromkeys(PULSE, "pulse"),
    **dict.fromkeys(AVERAGES, "average"),
    **dict.fromkeys(CLOCKS, "clock"),
    STATUS: "status",
    MEAL: "meal",
}
MEALS = {
    "8417868": Context.BEFORE_MEAL, "8417872": Context.AFTER_MEAL, "8417876": Context.FASTING,
    "8417880": Context.UNSPECIFIED, "8417884": Context.BEDTIME,
    "307165006": Context.BEFORE_MEAL, "24863003": Context.AFTER_MEAL, "16985007": Context.FASTING,
}  # fmt: skip
CODES_WITH_CONTEXT = {
    "53049-3": Context.BEFORE_MEAL, "1521-4": Context.AFTER_MEAL, "87422-2": Context.AFTER_MEAL,
    "1556-0": Context.FASTING, "1558-6": Context.FASTING, "14770-2": Context.FASTING,
    "14771-0": Context.FASTING, "76629-5": Context.FASTING,
}  # fmt: skip
STATUS_FLAGS = {
    "8410608.0": Flag.MOVEMENT, "8410608.1": Flag.CUFF_LOOSE, "8410608.2": Flag.IRREGULAR_PULSE,
    "8410608.3": Flag.PULSE_ABOVE_RANGE, "8410608.4": Flag.PULSE_BELOW_RANGE, "8410608.5": Flag.BAD_POSITION,
}  # fmt: skip
NO_DATA = {
    "not-a-number": Absent.NOT_A_NUMBER,
    "positive-infinity": Absent.POSITIVE_INFINITY,
    "negative-infinity": Absent.NEGATIVE_INFINITY,
    "error": Absent.NOT_AT_THIS_RESOLUTION,
}
WITHDRAWN = {"entered-in-error", "cancelled"}
TEST = "HTEST"

Code = tuple[str, str]


def decode(raw: bytes) -> Answer:
    """One answer per measurement of an Observation or of a Bundle of them.

    >>> (said,) = decode(b'{"resourceType":"Observation","code":{"coding":[{"system":"http://loinc.org",'
    ...                  b'"code":"2339-0"}]},"valueQuantity":{"value":5.5,"unit":"mmol/L"}}')
    >>> said.glucose, said.sent["glucose"]
    (99.09, Sent(value=5.5, unit='mmol/L'))
    """
    message = document.read(raw)
    if isinstance(message, Refusal):
        return (message,)
    found = _resources(message)
    if isinstance(found, Refusal):
        return (found,)
    kinds = [(_meaning(one), one) for one in found]
    aside = [one for kind, one in kinds if kind in {"status", "meal"}]
    measured = [(kind, one) for kind, one in kinds if kind not in {"status", "meal", "clock"}]
    if not measured:
        return refuse(Reason.NOTHING_HERE, "no Observation of a blood pressure or a glucose")
    return field.answer(_all(measured, aside))


def _resources(message: Any) -> list[dict[str, Any]] | Refusal:
    """The Observations, whether sent alone, as a list or in a Bundle."""
    entries = field.records(message)
    if isinstance(entries, Refusal):
        return entries
    found: list[dict[str, Any]] = []
    for entry in entries:
        if entry.get("resourceType") == "Bundle":
            found.extend(field.inner(inside, "resource") for inside in field.pairs(entry, "entry"))
        else:
            found.append(entry)
    if len(found) > field.MOST_RECORDS:
        return Refusal(
            reason=Reason.TOO_MANY, detail=f"more than {field.MOST_RECORDS} records in one message"
        )
    found = [one for one in found if one.get("resourceType") == "Observation"]
    return found or Refusal(reason=Reason.NOTHING_HERE, detail="no Observation in the message")


def _codes(concept: object) -> list[Code]:
    """The codings of a CodeableConcept as (system, code); one without a system is taken for LOINC."""
    if not isinstance(concept, dict):
        return []
    return [
        (field.text(coding, "system") or LOINC, code)
        for coding in field.pairs(concept, "coding")
        if (code := field.text(coding, "code")) is not None
    ]


def _meaning(observation: Mapping[str, Any]) -> str | None:
    return next((MEANING[code] for code in _codes(observation.get("code")) if code in MEANING), None)


def _all(
    measured: Sequence[tuple[str | None, dict[str, Any]]], aside: Sequence[dict[str, Any]]
) -> Iterator[Said]:
    """Every measurement, with the pulse of the same device and moment if exactly one is there to take it."""
    pulses = [one for kind, one in measured if kind == "pulse"]
    taken: set[int] = set()
    for kind, one in measured:
        if kind == "pulse":
            continue
        pulse = None
        if kind == "bp":
            mine = [p for p in pulses if id(p) not in taken and _same_moment(p, one)]
            pulse = mine[0] if len(mine) == 1 else None
            if pulse is not None:
                taken.add(id(pulse))
        yield _said(kind, one, pulse, [extra for extra in aside if _belongs(extra, one)])
    for pulse in pulses:
        if id(pulse) not in taken:
            yield _said("pulse", pulse, pulse, [])


def _same_moment(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return _moment(one) == _moment(other) and _moment(one)[1] is not None


def _moment(observation: Mapping[str, Any]) -> tuple[str | None, str | None]:
    return _reference(observation, "device"), field.text(observation, "effectiveDateTime", "effectiveInstant")


def _belongs(extra: Mapping[str, Any], to: Mapping[str, Any]) -> bool:
    sources = [field.text(source, "reference") for source in field.pairs(extra, "derivedFrom")]
    if sources:
        name = field.text(to, "id")
        return name is not None and any(
            source.rpartition("/")[2] == name for source in sources if source is not None
        )
    return _same_moment(extra, to)


def _said(
    kind: str | None,
    one: Mapping[str, Any],
    pulse: Mapping[str, Any] | None,
    aside: Sequence[Mapping[str, Any]],
) -> Said:
    about = _about(one)
    refusal = _set_aside(kind, one, about.get("device"))
    if refusal is not None:
        return refusal
    field.add_flags(about, (flag for extra in aside for flag in _status_flags(extra)))
    if kind == "glucose":
        return _glucose(one, aside, about)
    field.add_flags(about, _status_flags(one))
    return _blood_pressure(one, pulse, about)


def _set_aside(kind: str | None, one: Mapping[str, Any], device: str | None) -> Refusal | None:
    """What is withdrawn, test data, an average of many, or no measurement of ours."""
    if field.text(one, "status") in WITHDRAWN:
        return Refusal(reason=Reason.WITHDRAWN, detail="the sender has withdrawn it", device=device)
    labels = [field.text(label, "code") for label in field.pairs(field.inner(one, "meta"), "security")]
    if TEST in labels:
        return Refusal(reason=Reason.TEST_DATA, detail="the sender calls it test data", device=device)
    if kind == "average":
        detail = "an average over a period is not a measurement"
        return Refusal(reason=Reason.UNSUPPORTED_KIND, detail=detail, device=device)
    if kind is None:
        detail = "the Observation's code is neither a blood pressure nor a glucose"
        return Refusal(reason=Reason.UNSUPPORTED_KIND, detail=detail, device=device)
    return None


def _quantity(holder: Mapping[str, Any] | None) -> Sent | None:
    """The value of an Observation or component: a quantity, a word, or the reason there is none."""
    if holder is None:
        return None
    quantity = holder.get("valueQuantity")
    if isinstance(quantity, dict):
        return field.sent(quantity, field.text(quantity, "code", "unit"), "value") or Sent(None)
    if "valueString" in holder or "valueInteger" in holder or "valueDecimal" in holder:
        return field.sent(holder, None, "valueString", "valueInteger", "valueDecimal")
    codes = _codes(holder.get("dataAbsentReason"))
    return Sent(NO_DATA.get(codes[0][1], Absent.SENDER)) if codes else None


def _component(one: Mapping[str, Any], wanted: set[Code]) -> Sent | None:
    for component in field.pairs(one, "component"):
        if wanted.intersection(_codes(component.get("code"))):
            return _quantity(component)
    return _quantity(one) if wanted.intersection(_codes(one.get("code"))) else None


def _blood_pressure(one: Mapping[str, Any], pulse: Mapping[str, Any] | None, about: OfReading) -> Said:
    rate = _component(one, PULSE) or _quantity(pulse)
    upper, lower, mean = (_component(one, wanted) for wanted in (SYSTOLIC, DIASTOLIC, MEAN))
    codes = _codes(one.get("dataAbsentReason"))
    if codes and upper is lower is rate is None:
        upper = lower = Sent(NO_DATA.get(codes[0][1], Absent.SENDER))
    return blood_pressure(upper, lower, mean, Sent(rate.value, "/min") if rate is not None else None, **about)


def _glucose(one: Mapping[str, Any], aside: Sequence[Mapping[str, Any]], about: OfReading) -> Said:
    codes = set(_codes(one.get("code")))
    value = _quantity(one)
    if CONTROL in codes:
        about["sent"] = {**about.get("sent", {}), "glucose": value or Sent(None)}
        about["absent"] = {**about.get("absent", {}), "glucose": Absent.NOT_PATIENT_DATA}
        field.add_flags(about, (Flag.CONTROL_SOLUTION,))
        return DeviceEvent(event=EventKind.CONTROL_SOLUTION, kind=Kind.GLUCOSE, **event_about(about))
    if codes & (INTERSTITIAL | OTHER_BLOOD):
        field.add_flags(about, (Flag.NOT_CAPILLARY,))
    context = next(
        (CODES_WITH_CONTEXT[code] for _, code in sorted(codes) if code in CODES_WITH_CONTEXT), None
    )
    for extra in (*aside, *field.pairs(one, "component"), *field.pairs(one, "extension")):
        for _, code in _codes(extra.get("valueCodeableConcept")):
            context = MEALS.get(code, context)
    if context is not None:
        about["context"] = context
    return glucose(value, beyond=_beyond(one, value or Sent(None)), **about)


def _beyond(one: Mapping[str, Any], value: Sent) -> Beyond | None:
    """More than 600 and less than 20 are HI and LO: the number is the meter's limit, not the patient's."""
    comparator = field.text(field.inner(one, "valueQuantity"), "comparator")
    if comparator in {">", ">="} or value.value is Absent.POSITIVE_INFINITY:
        return Beyond.HI
    if comparator in {"<", "<="} or value.value is Absent.NEGATIVE_INFINITY:
        return Beyond.LO
    return beyond_range(value.value) if isinstance(value.value, str) else None


def _status_flags(one: Mapping[str, Any]) -> list[Flag]:
    """Status bits that are set: each a component whose value is Y or true."""
    flags = []
    for component in field.pairs(one, "component"):
        flag = next(
            (STATUS_FLAGS[code] for _, code in _codes(component.get("code")) if code in STATUS_FLAGS), None
        )
        said = {code for _, code in _codes(component.get("valueCodeableConcept"))}
        if flag is not None and ("Y" in said or component.get("valueBoolean") is True):
            flags.append(flag)
    return flags


def _reference(one: Mapping[str, Any], name: str) -> str | None:
    """What a reference points at, without the type in front of it."""
    holder = field.inner(one, name)
    said = field.text(holder, "reference") or field.text(field.inner(holder, "identifier"), "value")
    return (said or field.text(holder, "display") or "").rpartition("/")[2] or None


def _about(one: Mapping[str, Any]) -> OfReading:
    about = field.clock(one, "effectiveDateTime", "effectiveInstant")
    if not about:
        about = field.clock(field.inner(one, "effectivePeriod"), "start", "end")
    about["device"] = _reference(one, "device")
    about["gateway"] = _gateway(one)
    flags: list[Flag] = []
    if one.get("status") == "unknown" or "questionable" in {
        code for concept in field.pairs(one, "interpretation") for _, code in _codes(concept)
    }:
        flags.append(Flag.QUESTIONABLE)
    if any("manual" in (field.text(note, "text") or "").lower() for note in field.pairs(one, "note")):
        flags.append(Flag.MANUAL)
    field.add_flags(about, flags)
    record = field.text(one, "id")
    if record is not None:
        about["sent"] = {"record": Sent(record)}
    claimed = field.claims(patient=_reference(one, "subject"))
    if claimed:
        about["claimed"] = claimed
    return about


def _gateway(one: Mapping[str, Any]) -> str | None:
    for extension in field.pairs(one, "extension"):
        url = field.text(extension, "url") or ""
        if url.endswith(("observation-gatewayDevice", "device-gateway")):
            holder = field.inner(extension, "valueCodeableReference") or extension
            return _reference(holder, "reference") or _reference(extension, "valueReference")
    return None
