"""Section 7, mutual exclusions with services known to be billed: the table in `years/conflicts.toml`, weighed."""

from collections.abc import Iterator

from ccm_bridge.billing.book import Book, Conflict, among, is_code
from ccm_bridge.billing.civil import month_of
from ccm_bridge.billing.facts import Billed, Service
from ccm_bridge.billing.scene import Scene
from ccm_bridge.billing.words import EVERY, Family, Finding, Outcome, Reason


def weigh_conflicts(scene: Scene, book: Book) -> Iterator[Finding]:
    """What the services of the month forbid.

    1. A list that nobody has is unknown: another practitioner may be billing, so everything holds (C9). A service
       of the month whose code is not known, or is none, may be any.
    2. Each known service is held against each row of the table; a month that is not said may be this one.
    3. Where the biller is not known and the row turns on it, or is a block, a person finds out.
    """
    services = scene.facts.other_services
    if services is None:
        yield Finding(
            rule="C9",
            outcome=Outcome.HOLD,
            says="What other practitioners bill for the month is not known.",
            concerns=EVERY,
            reasons=(Reason.UNKNOWN_FACT,),
        )
        return
    rows = [row for row in book.conflicts if row.covers(scene.month)]
    found = [
        finding
        for service in services
        for finding in (
            _nameless(service, scene),
            *(_weigh(service, row, scene) for row in rows),
            _weigh_neighbour(service, scene),
        )
        if finding is not None
    ]
    yield from found
    if all(each.outcome in (Outcome.MET, Outcome.WARN) for each in found):
        yield Finding(
            rule="C9",
            outcome=Outcome.MET,
            says="No service on record stands against the month's codes.",
            concerns=EVERY,
            compared={"services": len(services)},
        )


def _nameless(service: Service, scene: Scene) -> Finding | None:
    """A service of this month, or of nobody knows which, that has no CPT or HCPCS code."""
    if is_code(service.code) or service.month not in (scene.month, None):
        return None
    return Finding(
        rule="C9",
        outcome=Outcome.HOLD,
        says="A service is billed for the month whose code is not known.",
        concerns=EVERY,
        reasons=(Reason.UNKNOWN_FACT,),
        compared={"code": service.code, "by": service.by, "month": service.month},
    )


def _weigh(service: Service, row: Conflict, scene: Scene) -> Finding | None:
    """One service against one row of the table; None where the row does not apply."""
    unknown_biller = service.by not in set(Billed)
    if not among(service.code, row.codes) or service.month not in (scene.month, None):
        return None
    if row.by not in ("any", service.by) and not unknown_biller:
        return None
    outcome = row.outcome
    reasons: tuple[Reason, ...] = () if row.reason is None else (row.reason,)
    if outcome in (Outcome.BLOCK, Outcome.HOLD) and (service.month is None or unknown_biller):
        outcome = Outcome.HOLD
        reasons += (Reason.UNKNOWN_FACT,)
    return Finding(
        rule=row.rule,
        outcome=outcome,
        says=f"{service.code}: {row.says}.",
        concerns=row.concerns,
        reasons=reasons,
        compared={"code": service.code, "by": service.by, "month": service.month},
    )


def _weigh_neighbour(service: Service, scene: Scene) -> Finding | None:
    """Another practice's device code in an earlier month that one of our 30-day windows reaches back into (X12)."""
    supply = tuple(tier.code for tier in scene.rules.device.tiers)
    reached = {
        month_of(window.start)
        for window in scene.facts.device_windows or ()
        if window.start is not None and window.end is not None and month_of(window.end) == scene.month
    } - {scene.month}
    if service.by == Billed.SAME_PRACTICE or service.month not in reached or not among(service.code, supply):
        return None
    return Finding(
        rule="X12",
        outcome=Outcome.HOLD,
        says=f"{service.code} of {service.month}: another practice's 30 days may reach into our window.",
        concerns=frozenset({Family.RPM_DEVICE, Family.RPM_SETUP}),
        reasons=(Reason.OTHER_PRACTITIONER,),
        compared={"code": service.code, "by": service.by, "month": service.month},
    )
