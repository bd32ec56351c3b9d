"""The patient's month as FHIR R4 for the record system: patient, consent, plan, readings, work, claim. Pure: plain data.

Every resource carries our own identifier, and the bundle creates conditionally on it: sending it twice creates once.
The billing codes are given as codes of their system, without display texts, which are the AMA's.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid5

from ccm_bridge.careplan import Plan
from ccm_bridge.enrolment import Consent, Enrolment
from ccm_bridge.month import Circumstance
from ccm_bridge.origins import Measured

Resource = dict[str, Any]

IDENTIFIER = "urn:lamplight"
CPT, HCPCS = "http://www.ama-assn.org/go/cpt", "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
LOINC, UCUM, ICD10 = "http://loinc.org", "http://unitsofmeasure.org", "http://hl7.org/fhir/sid/icd-10-cm"
_CATEGORY = "http://terminology.hl7.org/CodeSystem"
TASK_STATUS = {
    "open": "requested",
    "taken": "in-progress",
    "escalated": "on-hold",
    "done": "completed",
    "cancelled": "cancelled",
}
PRIORITY = {"critical": "stat", "high": "urgent", "watch": "routine"}


def bundle(resources: Iterable[Resource], *, made_at: datetime) -> Resource:
    """A transaction that creates each resource unless one with its identifier is there."""
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "timestamp": _instant(made_at),
        "entry": [
            {
                "fullUrl": f"urn:uuid:{one['id']}",
                "resource": {name: value for name, value in one.items() if name != "id"},
                "request": {
                    "method": "POST",
                    "url": one["resourceType"],
                    "ifNoneExist": f"identifier={IDENTIFIER}|{_identifier(one)}",
                },
            }
            for one in resources
        ],
    }


def _identifier(resource: Resource) -> str:
    identifier = resource["identifier"]
    first = identifier[0] if isinstance(identifier, list) else identifier
    value: str = first["value"]
    return value


def patient(patient_id: UUID, *, name: str, mrn: str, born: date, practice: str) -> Resource:
    given, _, family = name.rpartition(" ")
    return {
        "resourceType": "Patient",
        "id": str(patient_id),
        "identifier": [
            {"system": IDENTIFIER, "value": str(patient_id)},
            {
                "type": {"coding": [{"system": f"{_CATEGORY}/v2-0203", "code": "MR"}]},
                "value": mrn,
                "assigner": {"display": practice},
            },
        ],
        "name": [{"family": family, **({"given": given.split()} if given else {}), "text": name}],
        "birthDate": born.isoformat(),
    }


def consents(patient_id: UUID, said: Sequence[Consent], practice: str) -> list[Resource]:
    """What the patient agreed to: the service, not the use of data; so a treatment consent."""
    return [
        {
            "resourceType": "Consent",
            "id": str(one.consent_id),
            "identifier": [{"system": IDENTIFIER, "value": str(one.consent_id)}],
            "status": "inactive" if one.revoked_at else "active" if one.accepted else "rejected",
            "scope": {"coding": [{"system": f"{_CATEGORY}/consentscope", "code": "treatment"}]},
            "category": [
                {"coding": [{"system": LOINC, "code": "59284-0"}], "text": f"Consent to {one.program}"}
            ],
            "patient": _patient(patient_id),
            "dateTime": _instant(one.given_at),
            "organization": [{"display": practice}],
            "policyRule": {
                "text": "Medicare care management: availability, cost sharing, one practitioner, right to stop"
            },
            "provision": {"type": "permit" if one.accepted else "deny"},
        }
        for one in said
    ]


def conditions(patient_id: UUID, enrolled: Enrolment | None) -> list[Resource]:
    found = []
    for one in enrolled.conditions if enrolled else ():
        own = uuid5(patient_id, f"condition {one.icd10}")
        found.append(
            {
                "resourceType": "Condition",
                "id": str(own),
                "identifier": [{"system": IDENTIFIER, "value": str(own)}],
                "clinicalStatus": {
                    "coding": [{"system": f"{_CATEGORY}/condition-clinical", "code": "active"}]
                },
                "category": [
                    {"coding": [{"system": f"{_CATEGORY}/condition-category", "code": "problem-list-item"}]}
                ],
                "code": {"coding": [{"system": ICD10, "code": one.icd10}], "text": one.name},
                "subject": _patient(patient_id),
            }
        )
    return found


def care_plan(patient_id: UUID, plan: Plan | None) -> list[Resource]:
    """The plan with a goal for each problem. A draft is a draft until it is signed."""
    if plan is None:
        return []
    goals: list[Resource] = []
    for place, problem in enumerate(plan.content.problems):
        own = uuid5(plan.plan_id, f"goal {place}")
        goals.append(
            {
                "resourceType": "Goal",
                "id": str(own),
                "identifier": [{"system": IDENTIFIER, "value": str(own)}],
                "lifecycleStatus": "active" if plan.signed_at else "proposed",
                "description": {"text": problem.goal},
                "subject": _patient(patient_id),
                "addresses": [{"reference": f"urn:uuid:{uuid5(patient_id, f'condition {problem.icd10}')}"}],
            }
        )
    whole: Resource = {
        "resourceType": "CarePlan",
        "id": str(plan.plan_id),
        "identifier": [{"system": IDENTIFIER, "value": str(plan.plan_id)}],
        "status": "active" if plan.signed_at else "draft",
        "intent": "plan",
        "title": f"Care plan, version {plan.version}",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://hl7.org/fhir/us/core/CodeSystem/careplan-category",
                        "code": "assess-plan",
                    }
                ]
            }
        ],
        "subject": _patient(patient_id),
        "created": _instant(plan.drafted_at),
        "contributor": [{"display": plan.signed_by_name or plan.drafted_by_name}],
        "goal": [{"reference": f"urn:uuid:{goal['id']}"} for goal in goals],
        "activity": [
            {
                "detail": {
                    "status": "in-progress",
                    "description": f"{step.what}{', ' + step.when if step.when else ''}",
                    "performer": [{"display": step.who}],
                }
            }
            for step in plan.content.interventions
        ],
    }
    return [*goals, {name: value for name, value in whole.items() if value != []}]


def observations(patient_id: UUID, readings: Sequence[Measured]) -> list[Resource]:
    """Blood pressure as the panel 85354-9 with its components; glucose by fingerstick."""
    return [_observation(patient_id, one) for one in readings if one.value]


def _observation(patient_id: UUID, one: Measured) -> Resource:
    made: Resource = {
        "resourceType": "Observation",
        "id": str(one.reading_id),
        "identifier": [{"system": IDENTIFIER, "value": str(one.reading_id)}],
        "status": "final",
        "category": [{"coding": [{"system": f"{_CATEGORY}/observation-category", "code": "vital-signs"}]}],
        "subject": _patient(patient_id),
        "effectiveDateTime": _instant(one.effective_at),
        "issued": _instant(one.received_at),
        "device": {"identifier": {"value": one.device_id}},
    }
    if one.glucose is not None or (one.beyond is not None and one.systolic is None):
        made["category"] = [
            {"coding": [{"system": f"{_CATEGORY}/observation-category", "code": "laboratory"}]}
        ]
        made["code"] = _loinc("2339-0", "Glucose")
        if one.glucose is None:
            made["dataAbsentReason"] = {"text": f"The meter showed {one.beyond}: beyond what it measures"}
        else:
            made["valueQuantity"] = _quantity(one.glucose, "mg/dL")
        return made
    made["code"] = _loinc("85354-9", "Blood pressure panel")
    parts = (
        ("8480-6", "Systolic blood pressure", one.systolic, "mm[Hg]"),
        ("8462-4", "Diastolic blood pressure", one.diastolic, "mm[Hg]"),
        ("8867-4", "Heart rate", one.pulse, "/min"),
    )
    made["component"] = [
        {"code": _loinc(code, words), "valueQuantity": _quantity(value, unit)}
        for code, words, value, unit in parts
        if value is not None
    ]
    return made


def tasks(patient_id: UUID, work: Sequence[Mapping[str, Any]]) -> list[Resource]:
    found = []
    for one in work:
        made: Resource = {
            "resourceType": "Task",
            "id": str(one["task_id"]),
            "identifier": [{"system": IDENTIFIER, "value": str(one["task_id"])}],
            "status": TASK_STATUS[one["state"]],
            "intent": "order",
            "priority": PRIORITY[one["severity"]],
            "description": f"{one['title']}: {one['reason']}",
            "for": _patient(patient_id),
            "authoredOn": _instant(one["opened_at"]),
            "restriction": {"period": {"end": _instant(one["due_at"])}},
        }
        if one["owner_name"]:
            made["owner"] = {"display": one["owner_name"]}
        if one["outcome"]:
            made["output"] = [{"type": {"text": "outcome"}, "valueString": one["outcome"]}]
        found.append(made)
    return found


def communications(patient_id: UUID, entries: Sequence[Mapping[str, Any]]) -> list[Resource]:
    """Contacts with the patient, as the ledger has them; void entries are not told."""
    modes = {"phone": "PHONE", "video": "VIDEOCONF", "in_person": "FACE", "message": "WRITTEN"}
    return [
        {
            "resourceType": "Communication",
            "id": str(one["entry_id"]),
            "identifier": [{"system": IDENTIFIER, "value": str(one["entry_id"])}],
            "status": "completed",
            "medium": [
                {"coding": [{"system": f"{_CATEGORY}/v3-ParticipationMode", "code": modes[one["contact"]]}]}
            ],
            "subject": _patient(patient_id),
            "sent": _instant(one["start"]),
            "sender": {"display": f"{one['staff_name']}, {one['credential']}"},
            "payload": [{"contentString": one["note"]}],
        }
        for one in entries
        if one["contact"] in modes and not one["void"]
    ]


def letters(patient_id: UUID, given: Sequence[Mapping[str, Any]], *, practice: str) -> list[Resource]:
    """The month's letters in the words in which they were given, each to whom it was given."""
    return [
        {
            "resourceType": "Communication",
            "id": str(one["letter_id"]),
            "identifier": [{"system": IDENTIFIER, "value": str(one["letter_id"])}],
            "status": "completed",
            "category": [{"text": "Letter in plain language"}],
            "medium": [
                {
                    "coding": [{"system": f"{_CATEGORY}/v3-ParticipationMode", "code": "MAILWRIT"}],
                    "text": one["how"],
                }
            ],
            "subject": _patient(patient_id),
            "sent": _instant(one["given_at"]),
            "recipient": [{"display": one["given_to"]}],
            "sender": {"display": f"{one['recorded_by_name']}, {practice}"},
            "payload": [{"contentString": one["words"]}],
        }
        for one in given
    ]


def claim(
    patient_id: UUID,
    *,
    month: date,
    lines: Sequence[Mapping[str, Any]],
    enrolled: Enrolment | None,
    plan_practitioner: str,
    made_at: datetime,
    locked: bool,
) -> list[Resource]:
    """The month's claim: a draft until the month is locked. No lines, no claim."""
    if not lines:
        return []
    own = uuid5(patient_id, f"claim {month}")
    listed = enrolled.conditions if enrolled else ()
    return [
        {
            "resourceType": "Claim",
            "id": str(own),
            "identifier": [{"system": IDENTIFIER, "value": str(own)}],
            "status": "active" if locked else "draft",
            "type": {"coding": [{"system": f"{_CATEGORY}/claim-type", "code": "professional"}]},
            "use": "claim",
            "patient": _patient(patient_id),
            "billablePeriod": {"start": month.isoformat(), "end": _last_day(lines, month)},
            "created": _instant(made_at),
            "provider": {"display": plan_practitioner},
            "priority": {"coding": [{"system": f"{_CATEGORY}/processpriority", "code": "normal"}]},
            "insurance": [{"sequence": 1, "focal": True, "coverage": {"display": "Medicare Part B"}}],
            "diagnosis": [
                {
                    "sequence": place,
                    "diagnosisCodeableConcept": {"coding": [{"system": ICD10, "code": condition.icd10}]},
                }
                for place, condition in enumerate(listed, start=1)
            ],
            "item": [
                {
                    "sequence": place,
                    "productOrService": {
                        "coding": [
                            {"system": HCPCS if line["code"][0].isalpha() else CPT, "code": line["code"]}
                        ]
                    },
                    "quantity": {"value": line["units"]},
                    **({"servicedDate": line["date_of_service"]} if line["date_of_service"] else {}),
                    **(
                        {"net": {"value": float(line["allowed"]), "currency": "USD"}}
                        if line["allowed"]
                        else {}
                    ),
                    **({"diagnosisSequence": list(range(1, len(listed) + 1))} if listed else {}),
                }
                for place, line in enumerate(lines, start=1)
            ],
        }
    ]


def _last_day(lines: Sequence[Mapping[str, Any]], month: date) -> str:
    served = [line["date_of_service"] for line in lines if line["date_of_service"]]
    return max(served, default=month.isoformat())


def _patient(patient_id: UUID) -> Resource:
    return {"reference": f"urn:uuid:{patient_id}"}


def _loinc(code: str, words: str) -> Resource:
    return {"coding": [{"system": LOINC, "code": code}], "text": words}


def _quantity(value: float, unit: str) -> Resource:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def _instant(at: datetime | str) -> str:
    return at if isinstance(at, str) else at.isoformat()


def stays(patient_id: UUID, around: Sequence[Circumstance]) -> list[Resource]:
    """Stays in a facility that the practice knows of, as encounters elsewhere."""
    return [
        {
            "resourceType": "Encounter",
            "id": str(one.circumstance_id),
            "identifier": [{"system": IDENTIFIER, "value": str(one.circumstance_id)}],
            "status": "finished" if one.until_at else "in-progress",
            "class": {"system": f"{_CATEGORY}/v3-ActCode", "code": "IMP"},
            "subject": _patient(patient_id),
            "period": {
                name: _instant(at) for name, at in (("start", one.from_at), ("end", one.until_at)) if at
            },
        }
        for one in around
        if one.kind == "stay"
    ]
