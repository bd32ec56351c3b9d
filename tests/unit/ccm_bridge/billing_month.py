"""A billable November and ways to change it: what the billing tests start from."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from ccm_bridge.billing import Decision, Facts, decide, read_facts

NOVEMBER = json.loads((Path(__file__).parents[2] / "contract/billing/cases.json").read_text())[
    "default_facts"
]
NEW_YORK = ZoneInfo("America/New_York")
MONITORED = {
    "enrolled": True,
    "order": True,
    "consent_at": "2026-10-01T09:00:00-04:00",
    "device_fda_defined": True,
    "auto_upload": True,
    "setup_on": "2026-10-01",
}


def work(minutes=0, *, seconds=None, day=3, hour=10, start=None, credential="RN", **changes):
    """One stretch of work in November 2026, New York."""
    at = start or datetime(2026, 11, day, hour, tzinfo=NEW_YORK).isoformat()
    return {
        "staff": f"{credential}-1".lower(),
        "credential": credential,
        "program": "CCM",
        "start": at,
        "seconds": round(minutes * 60) if seconds is None else seconds,
        "country": "US",
        "contact": "phone",
        "interactive": False,
        "source": "timer",
    } | changes


def monitoring(minutes=0, **changes):
    return work(minutes, **{"program": "RPM", "interactive": True} | changes)


def window(days, start="2026-10-25", end=None):
    last = end or (datetime.fromisoformat(start) + timedelta(days=29)).date().isoformat()
    return {"start": start, "end": last, "days_with_data": days}


def a_month(*entries, **changes) -> Facts:
    facts = read_facts(NOVEMBER | {"entries": list(entries)} | changes)
    assert isinstance(facts, Facts), facts
    return facts


def decided(*entries, **changes) -> Decision:
    return decide(a_month(*entries, **changes))


def billed(*entries, **changes) -> dict[str, int]:
    """Codes, where nothing is held."""
    decision = decided(*entries, **changes)
    assert not decision.hold, [step.says for step in decision.trace if step.outcome == "HOLD"]
    return dict(decision.codes)


def consent(**changes):
    return NOVEMBER["consent"] | changes


def service(code, by="same_practice", month="2026-11", **more):
    return {"code": code, "by": by, "month": month} | more
