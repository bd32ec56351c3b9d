"""Section 5: which family the month's care-management minutes are billed in, and how far up its ladder they reach."""

from collections.abc import Collection

from ccm_bridge.billing.book import Ladder
from ccm_bridge.billing.facts import FamilyPolicy
from ccm_bridge.billing.ladder import Climb, climb
from ccm_bridge.billing.proposal import Codes, Proposal, Reading
from ccm_bridge.billing.scene import Scene
from ccm_bridge.billing.tally import AS_STAFF, Doer, Tally
from ccm_bridge.billing.words import Compared, Family, Finding, Outcome, Reason, counted


def t15_some_contact(scene: Scene, tally: Tally) -> tuple[Finding, ...]:
    """A month of counted work in which nobody reached the patient is worth a look, not a block."""
    silent = scene.rules.work.no_contact
    counted = [each for each in tally.shares if "CCM" in each.programs and (each.sure or each.loose_sure)]
    reached = [each for each in counted if (each.entry.contact or "").lower() not in silent]
    if not counted:
        return ()
    return (
        Finding(
            rule="T15",
            outcome=Outcome.MET if reached else Outcome.WARN,
            says="Contact with the patient is on record this month."
            if reached
            else "Nobody reached the patient this month.",
            concerns=frozenset({Family.CCM}),
            reasons=() if reached else (Reason.NO_CONTACT,),
            compared={"entries": len(counted), "with_contact": len(reached)},
        ),
    )


def propose_ccm(scene: Scene, tally: Tally) -> Proposal:
    """99490 and 99439, or 99487 and 99489, or 99491 and 99437: one family only (X1)."""
    return Proposal(
        family=Family.CCM,
        sure=_read_ccm(scene, tally, possible=False),
        possible=_read_ccm(scene, tally, possible=True),
        on=tally.last_day(("CCM",), scene.zone),
    )


def propose_pcm(scene: Scene, tally: Tally, programs: Collection[str]) -> Proposal:
    """99426 and 99427, or 99424 and 99425."""
    ladders = scene.rules.ladders
    sure, possible = (
        _choose(scene, tally, programs, ladders.pcm_staff, ladders.pcm_personal, possible=reading)
        for reading in (False, True)
    )
    return Proposal(family=Family.PCM, sure=sure, possible=possible, on=tally.last_day(programs, scene.zone))


def _read_ccm(scene: Scene, tally: Tally, *, possible: bool) -> Reading:
    """The staff or the personal family first; then, for staff minutes, complex or not."""
    ladders = scene.rules.ladders
    chosen = _choose(scene, tally, ("CCM",), ladders.ccm_staff, ladders.ccm_personal, possible=possible)
    minutes = tally.minutes(("CCM",), AS_STAFF, possible=possible)
    if minutes < ladders.ccm_complex.minutes or ladders.ccm_staff.code not in chosen.codes:
        return chosen
    return _complex_or_not(scene, climb(ladders.ccm_complex, minutes), chosen)


def _complex_or_not(scene: Scene, reached: Climb, plain: Reading) -> Reading:
    """5.2: by documented decision-making and the practitioner's election, never by price.

    Between 60 and 89 minutes the plain family pays more than the complex one. Where either fact is unknown and
    could make the month complex, neither family is sure.
    """
    facts = scene.facts.complex
    mdm = None if facts is None else facts.mdm_documented
    elected = None if facts is None else facts.elected
    code = scene.rules.ladders.ccm_complex.code
    compared: dict[str, Compared] = {
        "minutes": reached.minutes,
        "needed": scene.rules.ladders.ccm_complex.minutes,
        "mdm_documented": mdm,
        "elected": elected,
    }
    if mdm is False or elected is False:
        why, what = {
            False: ((Reason.NO_MDM,), "no moderate or high decision-making is documented"),
            True: ((Reason.NOT_ELECTED,), "the practitioner has not elected the complex family"),
            None: (
                (Reason.NO_MDM, Reason.NOT_ELECTED),
                "decision-making is not on record, and the practitioner has not elected the complex family",
            ),
        }[mdm]
        says = f"{code} is not due: {what}."
        no = Finding(rule="5.2", outcome=Outcome.BLOCK, says=says, reasons=why, compared=compared)
        return Reading(codes=plain.codes, held=plain.held, findings=(*plain.findings, no))
    if mdm is None or elected is None:
        says = f"Whether the month is complex ({code}) is not known, so neither family is sure."
        unknown = (Reason.UNKNOWN_FACT,)
        hold = Finding(rule="5.2", outcome=Outcome.HOLD, says=says, reasons=unknown, compared=compared)
        return Reading(held=dict(plain.codes), findings=(*plain.findings, hold))
    ladder = scene.rules.ladders.ccm_complex
    yes = Finding(rule="5.2", outcome=Outcome.MET, says="Complex: documented and elected.", compared=compared)
    return Reading(
        codes=reached.codes,
        held=reached.held,
        findings=(yes, *explain("5.2", ladder, reached), *_plan_revision(scene), *_asks_policy(plain)),
    )


def _asks_policy(plain: Reading) -> tuple[Finding, ...]:
    """What was said about the choice of families, kept when the staff family turns out complex."""
    return tuple(each for each in plain.findings if each.rule == "X1")


def _plan_revision(scene: Scene) -> tuple[Finding, ...]:
    """Older text wanted the plan established or substantially revised in a complex month."""
    plan = scene.facts.care_plan
    if plan is not None and plan.signed_at is not None and f"{plan.signed_at:%Y-%m}" == scene.month:
        return ()
    says = "The plan was not revised this month; older text asks for it in a complex month."
    return (Finding(rule="5.2", outcome=Outcome.WARN, says=says, reasons=(Reason.PLAN_NOT_REVISED,)),)


def _choose(
    scene: Scene, tally: Tally, programs: Collection[str], staff: Ladder, personal: Ladder, *, possible: bool
) -> Reading:
    """Staff or personal, by 5.3: both may reach their first rung, one is billed.

    The practice's policy decides. Without one, staff minutes that reach the rung alone go first, else the
    practitioner's own; the choice is proposed, and a person is asked.
    """
    alone = tally.minutes(programs, (Doer.STAFF,), possible=possible)
    by_staff = climb(staff, tally.minutes(programs, AS_STAFF, possible=possible))
    by_practitioner = climb(personal, tally.minutes(programs, (Doer.PERSONAL,), possible=possible))
    rules = ("5.1", "5.3") if staff.code == scene.rules.ladders.ccm_staff.code else ("5.4", "5.4")
    if not (by_staff.codes and by_practitioner.codes):
        told = tuple(
            finding
            for rule, ladder, stand in ((rules[0], staff, by_staff), (rules[1], personal, by_practitioner))
            if stand.minutes or ladder is staff
            for finding in explain(rule, ladder, stand)
        )
        winner = by_practitioner if by_practitioner.codes else by_staff
        return Reading(codes=winner.codes, held=winner.held, findings=told)

    policy = None if scene.facts.practice is None else scene.facts.practice.family_policy
    staff_first = alone >= staff.minutes if policy is None else policy is FamilyPolicy.STAFF
    rule, ladder, winner = (
        (rules[0], staff, by_staff) if staff_first else (rules[1], personal, by_practitioner)
    )
    loser = by_practitioner if staff_first else by_staff
    choice = Finding(
        rule="X1",
        outcome=Outcome.HOLD if policy is None else Outcome.MET,
        says=f"Staff and personal minutes both reach a code: {spelled(winner.codes)} rather than {spelled(loser.codes)}.",
        reasons=(Reason.FAMILY_CHOICE,) if policy is None else (),
        compared={
            "staff": by_staff.minutes,
            "staff_alone": alone,
            "personal": by_practitioner.minutes,
            "policy": policy,
        },
    )
    return Reading(codes=winner.codes, held=winner.held, findings=(choice, *explain(rule, ladder, winner)))


def spelled(codes: Codes) -> str:
    """Codes as people write them.

    >>> spelled({"99490": 1, "99439": 2})
    '99490 x1 + 99439 x2'
    """
    return " + ".join(f"{code} x{units}" for code, units in codes.items())


def explain(rule: str, ladder: Ladder, stand: Climb) -> tuple[Finding, ...]:
    """A line for what the minutes reach, for what they miss and by how much, and for what runs over the top."""
    lines = []
    if stand.codes:
        lines.append(
            Finding(
                rule=rule,
                outcome=Outcome.MET,
                says=f"{stand.minutes} minutes reach {spelled(stand.codes)}.",
                compared={"minutes": stand.minutes, "needed": _first_rung(ladder, stand)},
            )
        )
    if stand.ahead is not None and not stand.held:
        short = stand.ahead.minutes - stand.minutes
        what = f"the next unit of {ladder.add_on}" if stand.ahead.code == ladder.add_on else stand.ahead.code
        lines.append(
            Finding(
                rule=rule,
                outcome=Outcome.BLOCK,
                says=f"{counted(short, 'more minute')} to {what}.",
                reasons=(Reason.UNDER_THRESHOLD,) if stand.spare or not stand.codes else (),
                compared={"minutes": stand.minutes, "needed": stand.ahead.minutes, "short": short},
            )
        )
    units = stand.codes.get(ladder.add_on, 0)
    if stand.capped:
        lines.append(
            Finding(
                rule=rule,
                outcome=Outcome.HOLD if stand.held else Outcome.BLOCK,
                says=f"{ladder.add_on} stops at {counted(units, 'unit')} a month"
                + (f"; {stand.held[ladder.add_on]} more need a person's decision." if stand.held else "."),
                reasons=(Reason.CAP_REACHED,),
                compared={"minutes": stand.minutes, "units": units, "spare": stand.spare},
            )
        )
    if ladder.warn_above is not None and units > ladder.warn_above:
        lines.append(
            Finding(
                rule=rule,
                outcome=Outcome.WARN,
                says=f"More than {ladder.warn_above} units of {ladder.add_on} are unusual.",
                compared={"units": units, "usual": ladder.warn_above},
            )
        )
    return tuple(lines)


def _first_rung(ladder: Ladder, stand: Climb) -> int:
    short = ladder.short
    return short.minutes if short is not None and short.code in stand.codes else ladder.minutes
