"""Problem lists as FHIR R4 (a Bundle, or one resource a line): Patient and Condition become candidates. Pure.

Read leniently, because exports differ; what cannot be used is said by its place. Resolved, refuted and mistaken
conditions are left out, and so are the diagnoses of single encounters: a problem list is what is expected to last.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ccm_bridge.care_form import ICD10, Candidates, problem_list
from ccm_bridge.enrolment import CHRONIC_MONTHS, Condition

Resource = Mapping[str, Any]

ICD10_SYSTEMS = ("http://hl7.org/fhir/sid/icd-10-cm", "urn:oid:2.16.840.1.113883.6.90")
STANDING = {"active", "recurrence", "relapse", ""}
MISTAKEN = {"refuted", "entered-in-error"}


def candidates(text: str) -> Candidates:
    r"""A problem list in whichever of the two forms it came.

    >>> candidates("mrn,icd10,name\n77,I10,Hypertension").by_mrn["77"][0].name
    'Hypertension'
    """
    return bundle(text) if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "[") else problem_list(text)


def bundle(text: str) -> Candidates:
    """The conditions of each patient, by the medical record number of the Patient resource they refer to."""
    wrong: list[str] = []
    mrns: dict[str, str] = {}
    conditions: list[tuple[str, Resource]] = []
    for place, names, resource in _resources(text, wrong):
        kind = resource.get("resourceType")
        if kind == "Patient":
            mrn = _mrn(resource)
            if mrn is None:
                wrong.append(f"{place}: a Patient without an identifier")
                continue
            mrns |= dict.fromkeys(names, mrn)
        elif kind == "Condition":
            conditions.append((place, resource))
    found: dict[str, dict[str, Condition]] = {}
    for place, resource in conditions:
        if not _lasts(resource):
            continue
        reference = _texts(resource.get("subject")).get("reference", "")
        mrn = mrns.get(reference) or mrns.get(reference.rpartition("/")[2])
        condition = _condition(resource)
        if mrn is None:
            wrong.append(f"{place}: a Condition of a patient who is not in the file")
        elif condition is None:
            wrong.append(f"{place}: a Condition without an ICD-10-CM code")
        else:
            found.setdefault(mrn, {})[condition.icd10] = condition
    return Candidates(by_mrn={mrn: tuple(each.values()) for mrn, each in found.items()}, wrong=tuple(wrong))


def _resources(text: str, wrong: list[str]) -> Iterator[tuple[str, list[str], Resource]]:
    """Each resource with its place, and the names by which others refer to it."""
    for place, said in _documents(text, wrong):
        listed = said if isinstance(said, list) else [said]
        for number, each in enumerate(listed, 1):
            at = place or (f"resource {number}" if len(listed) > 1 else "the file")
            if not isinstance(each, dict) or "resourceType" not in each:
                wrong.append(f"{at}: not a FHIR resource")
            elif each["resourceType"] == "Bundle":
                yield from _entries(each)
            else:
                yield at, _names(each, None), each


def _documents(text: str, wrong: list[str]) -> Iterator[tuple[str, Any]]:
    """The whole text as one document, or one a line."""
    text = text.lstrip("\ufeff")
    try:
        yield "", msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            try:
                yield f"line {number}", msgspec.json.decode(line)
            except (msgspec.DecodeError, RecursionError):
                wrong.append(f"line {number}: not JSON")


def _entries(bundle: Resource) -> Iterator[tuple[str, list[str], Resource]]:
    for number, entry in enumerate(_list(bundle, "entry"), 1):
        if isinstance(entry, dict) and isinstance(entry.get("resource"), dict):
            yield f"entry {number}", _names(entry["resource"], entry.get("fullUrl")), entry["resource"]


def _names(resource: Resource, url: object) -> list[str]:
    own = resource.get("id")
    names = [own, f"{resource.get('resourceType')}/{own}"] if isinstance(own, str) else []
    return [*names, url, url.rpartition("/")[2]] if isinstance(url, str) else names


def _mrn(resource: Resource) -> str | None:
    """The identifier of type MR; where none is typed, the first that is not a social security number."""
    first = None
    identifiers = resource.get("identifier")
    for each in identifiers if isinstance(identifiers, list) else []:
        value = _texts(each).get("value")
        if not value:
            continue
        kinds = {code for _, code in _codings(each.get("type"))}
        if "MR" in kinds:
            return value
        if first is None and "SS" not in kinds and "us-ssn" not in _texts(each).get("system", ""):
            first = value
    return first


def _condition(resource: Resource) -> Condition | None:
    code = resource.get("code")
    for system, value in _codings(code):
        spelt = value.upper()
        if "." not in spelt and len(spelt) > 3:  # noqa: PLR2004 - the dot stands after the third character
            spelt = f"{spelt[:3]}.{spelt[3:]}"
        if system in ICD10_SYSTEMS and ICD10.fullmatch(spelt):
            displays = [_texts(each).get("display") for each in _list(code, "coding")]
            name = _texts(code).get("text") or next((each for each in displays if each), None) or spelt
            return Condition(icd10=spelt, name=name[:120], chronic_months=CHRONIC_MONTHS)
    return None


def _lasts(resource: Resource) -> bool:
    clinical = {code for _, code in _codings(resource.get("clinicalStatus"))} or {""}
    verified = {code for _, code in _codings(resource.get("verificationStatus"))}
    categories = {code for each in _list(resource, "category") for _, code in _codings(each)}
    ended = "abatementDateTime" in resource or "abatementPeriod" in resource
    listed = not categories or bool(categories - {"encounter-diagnosis"})
    return bool(clinical & STANDING) and not verified & MISTAKEN and listed and not ended


def _codings(concept: object) -> Iterator[tuple[str, str]]:
    for each in _list(concept, "coding"):
        said = _texts(each)
        if "code" in said:
            yield said.get("system", ""), said["code"]


def _list(value: object, name: str) -> list[Any]:
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, list) else []


def _texts(value: object) -> dict[str, str]:
    """The texts of an object, whatever else it holds."""
    return {k: v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}
