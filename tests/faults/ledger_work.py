"""What the fault tests of the ledger log: one person's work, in a practice with people."""

from dataclasses import replace
from uuid import uuid4

from ccm_bridge.ledger import Contact, Doing


def doing(patient, **changes):
    usual = Doing(
        patient_id=patient,
        program="CCM",
        activity="check_in",
        note="Called about her swollen ankles and the missed refill.",
        problem="Hypertension",
        outcome="Refill arranged",
        contact=Contact.PHONE,
        contact_with="patient",
        interactive=True,
        readings=(uuid4(), uuid4()),
    )
    return replace(usual, **changes)
