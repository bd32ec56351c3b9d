"""What a row of the month asks for next: clinical need first, and never a contact for the sake of minutes."""

from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import uuid4

import pytest
from msgspec import structs

from ccm_bridge.month import Standing
from ccm_bridge.month_row import next_action
from ccm_bridge.month_store import Around
from ccm_bridge.overview_service import Line

ON = date(2026, 11, 20)
AT = datetime(2026, 11, 1, tzinfo=UTC)
LINE = Line(
    patient_id=uuid4(), programs=("CCM", "RPM"), consents=(), plan_version=1, plan_signed_at=AT, plan_copied=True,
    plan_review_on=date(2027, 1, 1), window=None, last_day=ON, days_known=True, minutes={"CCM": 19}, live=False,
    standing=Standing.UNDER, codes={}, supposed={}, why=(), step="open", reviewed_by="", reviewed_at=None, changed=False,
    valid_until=AT,
)  # fmt: skip
TASK = Around(open_tasks=1, next_task="Refill arranged", next_due=AT)

CASES = [
    ("an open alert before everything", {"plan_copied": False}, replace(TASK, open_episodes=1), "Settle the open alert"),
    ("the task due first", {"last_day": date(2026, 11, 1)}, TASK, "Refill arranged"),
    ("silence of more than a week", {"last_day": date(2026, 11, 12)}, Around(), "Ask how they are: no reading for 8 days"),
    ("a week of silence is not more", {"last_day": date(2026, 11, 13)}, Around(), ""),
    ("silence of somebody who measures nothing", {"last_day": date(2026, 11, 1), "programs": ("CCM",)}, Around(), ""),
    ("a plan to be reviewed", {"plan_review_on": ON}, Around(), "Review the care plan"),
    ("a copy that was not given", {"plan_copied": False}, Around(), "Give a copy of the plan"),
    ("a minute short of a code is no reason", {}, Around(), ""),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "around", "says"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_the_next_thing_is_what_the_patient_needs(changes, around, says):
    assert next_action(structs.replace(LINE, **changes), around, ON) == says
