"""Decoders, one pure module per device family: bytes in, answers or refusals out, never an exception."""

from typing import Protocol

from ingest.devices import (
    ava4,
    ble_blood_pressure,
    ble_blood_pressure_enhanced,
    ble_glucose,
    canonical,
    fhir,
    ihealth,
    impilo,
    open_mhealth,
    qube_vital,
    smart_meter,
    telli,
    tenovi,
    thingsboard,
    validic,
    withings,
)
from ingest.devices.measurement import Answer, Reason, refuse


class Decoder(Protocol):
    """Any bytes at all give at least one answer; nothing is raised, no clock is read, nothing is kept."""

    def __call__(self, raw: bytes, /) -> Answer: ...


FAMILIES: dict[str, Decoder] = {
    "ble-blood-pressure": ble_blood_pressure.decode,
    "ble-blood-pressure-enhanced": ble_blood_pressure_enhanced.decode,
    "ble-glucose": ble_glucose.decode,
    "canonical": canonical.decode,
    "ava4": ava4.decode,
    "qube-vital": qube_vital.decode,
    "thingsboard": thingsboard.decode,
    "tenovi": tenovi.decode,
    "smart-meter": smart_meter.decode,
    "telli": telli.decode,
    "withings": withings.decode,
    "ihealth": ihealth.decode,
    "validic": validic.decode,
    "impilo": impilo.decode,
    "fhir": fhir.decode,
    "open-mhealth": open_mhealth.decode,
}


def decode(family: str, raw: bytes, *more: bytes) -> Answer:
    """What the device said, by the name of its family; `more` is the context frame of a ble-glucose."""
    decoder = FAMILIES.get(family)
    if decoder is None:
        return refuse(Reason.UNKNOWN_FAMILY, "no decoder has this name")
    if not more:
        return decoder(raw)
    if family != "ble-glucose" or len(more) > 1:
        return refuse(Reason.TOO_MANY, "this family takes one message at a time")
    return ble_glucose.decode(raw, more[0])
