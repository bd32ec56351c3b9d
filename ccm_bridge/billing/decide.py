"""The decision of one patient's month: facts and an effective-dated book in, codes or a hold with reasons out. Pure."""

from collections.abc import Iterable, Sequence
from zoneinfo import ZoneInfo

import msgspec

from ccm_bridge.billing.book import Book, shipped
from ccm_bridge.billing.care import propose_ccm, propose_pcm, spelled, t15_some_contact
from ccm_bridge.billing.civil import second_of
from ccm_bridge.billing.conflicts import weigh_conflicts
from ccm_bridge.billing.decision import Decision, priced, reasons_of, step_of
from ccm_bridge.billing.facts import Facts
from ccm_bridge.billing.gates import CCM_GATES, EVERYONES_GATES, PCM_GATES, Gate
from ccm_bridge.billing.monitoring import RPM_GATES, live_contact, propose_management
from ccm_bridge.billing.proposal import Proposal, added
from ccm_bridge.billing.scene import Scene, scene_of
from ccm_bridge.billing.tally import AS_STAFF, EVERYONE, Doer, Tally, tally
from ccm_bridge.billing.windows import periods_of, propose_setup, propose_supply, windows_of_month
from ccm_bridge.billing.words import FAMILY_WORDS, RPM, Family, Finding, Outcome, Reason


def decide(facts: Facts, *, book: Book | None = None) -> Decision:
    """Which codes the month supports, which it does not, and why.

    1. The rules and prices in force in the month are taken; a month without them holds.
    2. Entries become counted seconds (section 4); seconds of uncertain standing are kept apart.
    3. Gates (section 3) and conflicts (section 7) open or close each family: known true, known false, not known.
    4. Each open family with work in it proposes codes (sections 5 and 6), once by what is sure, once by what is
       possible. Only what both readings agree on is billed; the difference is held.
    5. Of families that exclude each other one is left.
    6. Lines are dated and priced; every finding becomes a step of the trace.
    """
    book = book or shipped()
    rules = None if facts.month is None else book.rules_of(facts.month)
    if facts.month is None or facts.zone is None or rules is None:
        return _cannot_begin(facts, book)

    scene = scene_of(facts, rules, ZoneInfo(facts.zone), facts.month)
    counted = tally(scene)
    windows, window_findings = windows_of_month(scene)
    periods, period_findings = periods_of(scene, windows)
    window_findings += period_findings

    gates = _gates(scene, book, counted, monitored=bool(windows or window_findings))
    pcm_programs = _programs_of_pcm(scene, counted, gates)
    if pcm_programs:
        gates += [each for each in _asked(PCM_GATES, scene) if each not in gates]
    gates += _offer_pcm(scene, counted, gates)

    proposals = [propose_supply(scene, period) for period in periods]
    proposals += filter(None, [propose_setup(scene, periods)])
    if counted.works_in("RPM"):
        proposals.insert(0, propose_management(scene, counted))
    if pcm_programs:
        proposals.insert(0, propose_pcm(scene, counted, pcm_programs))
    if counted.works_in("CCM"):
        proposals.insert(0, propose_ccm(scene, counted))

    return _decision(
        scene,
        book,
        counted=counted,
        gates=gates,
        proposals=proposals,
        window_findings=window_findings,
        pcm_programs=pcm_programs,
    )


def _decision(
    scene: Scene,
    book: Book,
    *,
    counted: Tally,
    gates: Sequence[Finding],
    proposals: Sequence[Proposal],
    window_findings: Sequence[Finding],
    pcm_programs: Sequence[str],
) -> Decision:
    """Gates applied to proposals, exclusions among them, lines, reasons, trace."""
    standing = {family: verdict(gates, family) for family in Family}
    asked = {each.family for each in proposals}
    open_ones = [each for each in proposals if standing[each.family] is Outcome.MET]
    waiting = [each for each in proposals if standing[each.family] is Outcome.HOLD]
    open_ones, exclusion = _one_care_program(open_ones, waiting)

    prices = book.prices_of(scene.month)
    lines = tuple(
        priced(code, units, each.on, prices) for each in open_ones for code, units in each.codes.items()
    )
    held = added(
        *(each.held for each in open_ones),
        *(added(each.possible.codes, each.possible.held) for each in waiting),
    )
    findings = [
        *(each for each in gates if not each.concerns or each.concerns & (asked | _followed(scene))),
        *counted.findings,
        *window_findings,
        *(_of(each.family, finding) for each in proposals for finding in each.sure.findings),
        *exclusion,
        *(_of(each.family, _doubt(each)) for each in open_ones if each.sure.codes != each.possible.codes),
        *(
            _of(each.family, _closed(each, standing[each.family]))
            for each in proposals
            if standing[each.family] is not Outcome.MET
        ),
    ]
    hold = (
        bool(_unknown_work(scene.facts))
        or any(standing[family] is Outcome.HOLD for family in asked)
        or any(each.in_doubt for each in open_ones)
        or any(_asks(each) for each in exclusion)
        or any(_asks(finding) for each in open_ones for finding in each.sure.findings)
        or (
            standing[Family.RPM_DEVICE] is not Outcome.BLOCK
            and any(_asks(finding) for finding in window_findings)
        )
    )
    rules = scene.rules
    return Decision(
        month=scene.month,
        codes=added(*(each.codes for each in open_ones)),
        held=held,
        hold=hold,
        reasons=reasons_of(findings),
        standing={family: standing[family] for family in Family if family in asked},
        counted_minutes={name: total // 60 for name, total in _seconds(counted, pcm_programs).items()},
        counted_seconds=_seconds(counted, pcm_programs),
        lines=lines,
        excluded=counted.excluded,
        remarked=counted.remarked,
        trace=tuple(step_of(each, book, rules) for each in findings),
        rule_set=rules.id,
        price_set=None if prices is None else prices.id,
    )


def _gates(scene: Scene, book: Book, counted: Tally, *, monitored: bool) -> list[Finding]:
    """Every gate and conflict of the programs that the patient is in, or that somebody worked in."""
    facts = scene.facts
    found = [*_whole_month(scene, book), *_asked(EVERYONES_GATES, scene), *weigh_conflicts(scene, book)]
    if counted.works_in("CCM") or facts.ccm_since is not None:
        found += _asked(CCM_GATES, scene)
    if counted.works_in("CCM"):
        found += t15_some_contact(scene, counted)
    if counted.works_in("RPM") or monitored or (facts.rpm is not None and facts.rpm.enrolled):
        found += _asked(RPM_GATES, scene)
    if counted.works_in("RPM"):
        found.append(live_contact(scene, counted))
    return found


def verdict(findings: Iterable[Finding], family: Family) -> Outcome:
    """Known false beats unknown, unknown beats true: three-valued `and`."""
    outcomes = {each.outcome for each in findings if family in each.concerns}
    return next((each for each in (Outcome.BLOCK, Outcome.HOLD) if each in outcomes), Outcome.MET)


def _whole_month(scene: Scene, book: Book) -> list[Finding]:
    """What is to be said about the month, the book and the facts as such."""
    facts, rules = scene.facts, scene.rules
    prices = book.prices_of(scene.month)
    said = [
        Finding(
            rule="1",
            outcome=Outcome.MET,
            says=f"Rules {rules.id} and prices {prices.id if prices else 'unknown'} are in force in {scene.month}.",
            compared={"month": scene.month, "from": str(rules.effective_from), "to": str(rules.effective_to)},
        )
    ]
    if facts.as_of is not None and second_of(facts.as_of) < scene.seconds[-1][1]:
        says = "The month is not over: close it before billing."
        compared = {"as_of": facts.as_of.isoformat()}
        said.append(Finding(rule="5.6", outcome=Outcome.WARN, says=says, compared=compared))
    for name in _unknown_work(facts):
        says = f"The month's {name} are not known."
        said.append(Finding(rule="2", outcome=Outcome.HOLD, says=says, reasons=(Reason.UNKNOWN_FACT,)))
    if facts.unread:
        says = f"Not understood and not weighed: {', '.join(facts.unread)}."
        said.append(Finding(rule="2", outcome=Outcome.WARN, says=says, reasons=(Reason.UNREAD_FACT,)))
    return said


def _unknown_work(facts: Facts) -> list[str]:
    """What nobody has counted: the entries, and the device windows of a patient who may be monitored."""
    monitored = facts.rpm is None or facts.rpm.enrolled is not False
    return [
        name
        for name, unknown in (
            ("entries", facts.entries is None),
            ("device_windows", facts.device_windows is None and monitored),
        )
        if unknown
    ]


def _asked(gates: Sequence[Gate], scene: Scene) -> list[Finding]:
    found = (gate(scene) for gate in gates)
    return [each for each in found if each is not None]


def _followed(scene: Scene) -> frozenset[Family]:
    """Families a patient is enrolled in, also in a month without work: the review shows where they stand."""
    ccm = frozenset({Family.CCM}) if scene.facts.ccm_since is not None else frozenset()
    return ccm | (RPM if scene.facts.rpm is not None and scene.facts.rpm.enrolled else frozenset())


def _programs_of_pcm(scene: Scene, counted: Tally, gates: Sequence[Finding]) -> tuple[str, ...]:
    """Whose minutes principal care management may use.

    Its own; and where a patient is known to have only one condition, what was logged as chronic care management,
    if the practice says anything about the gate (5.4).
    """
    if counted.works_in("CCM") and _one_condition(gates) and scene.facts.pcm is not None:
        return ("PCM", "CCM")
    return ("PCM",) if counted.works_in("PCM") else ()


def _offer_pcm(scene: Scene, counted: Tally, gates: Sequence[Finding]) -> list[Finding]:
    """With one condition on record and enough minutes, principal care management is worth a look."""
    minutes, needed = (
        counted.minutes(("CCM",), AS_STAFF, possible=False),
        scene.rules.ladders.pcm_staff.minutes,
    )
    if scene.facts.pcm is not None or not _one_condition(gates) or minutes < needed:
        return []
    says = "Principal care management might fit, if its gate is documented: one high-risk disease, plan, consent."
    compared = {"minutes": minutes, "needed": needed}
    return [Finding(rule="5.4", outcome=Outcome.WARN, says=says, compared=compared)]


def _one_condition(gates: Sequence[Finding]) -> bool:
    return any(each.rule == "C1" and each.outcome is Outcome.BLOCK for each in gates)


def _one_care_program(
    open_ones: list[Proposal], waiting: list[Proposal]
) -> tuple[list[Proposal], list[Finding]]:
    """X5: never chronic and principal care management for one patient and month.

    Principal care gives way, also to a chronic care management that still waits for a person.
    """
    reached = {each.family: each.possible.codes for each in (*waiting, *open_ones) if each.possible.codes}
    if not {Family.CCM, Family.PCM} <= set(reached):
        return open_ones, []
    says = (
        f"{spelled(reached[Family.CCM])} and {spelled(reached[Family.PCM])} exclude each other: "
        "chronic care management goes first, a person may choose."
    )
    found = Finding(rule="X5", outcome=Outcome.HOLD, says=says, reasons=(Reason.PCM_MONTH,))
    return [each for each in open_ones if each.family is not Family.PCM], [found]


def _asks(finding: Finding) -> bool:
    return finding.outcome is Outcome.HOLD


def _of(family: Family, finding: Finding) -> Finding:
    return msgspec.structs.replace(finding, concerns=frozenset({family}))


def _doubt(proposal: Proposal) -> Finding:
    says = (
        f"What is in doubt would change {spelled(proposal.sure.codes) or 'no code'} into "
        f"{spelled(proposal.possible.codes) or 'no code'}: only what both have in common is billed."
    )
    return Finding(rule="2", outcome=Outcome.HOLD, says=says)


def _closed(proposal: Proposal, standing: Outcome) -> Finding:
    """What the minutes or days would have reached."""
    would = spelled(added(proposal.possible.codes, proposal.possible.held)) or "no code"
    why = "waits for a person" if standing is Outcome.HOLD else "is not billable"
    says = f"{FAMILY_WORDS[proposal.family]} {why}; it would have reached {would}."
    return Finding(rule="2", outcome=standing, says=says)


def _seconds(counted: Tally, pcm_programs: Sequence[str]) -> dict[str, int]:
    """Counted seconds by what they count for."""
    pools: dict[str, tuple[Sequence[str], Sequence[Doer]]] = {
        "CCM_STAFF": (("CCM",), AS_STAFF),
        "CCM_PERSONAL": (("CCM",), (Doer.PERSONAL,)),
        "RPM": (("RPM",), EVERYONE),
    }
    if pcm_programs:
        pools |= {"PCM_STAFF": (pcm_programs, AS_STAFF), "PCM_PERSONAL": (pcm_programs, (Doer.PERSONAL,))}
    return {
        name: counted.seconds(programs, doers, possible=False) for name, (programs, doers) in pools.items()
    }


def _cannot_begin(facts: Facts, book: Book) -> Decision:
    """Without the month, the practice's zone or a rule set there is nothing to weigh: hold."""
    findings = []
    for name, value in (("month", facts.month), ("zone", facts.zone)):
        if value is None:
            says = f"The {name} is not known."
            findings.append(
                Finding(rule="2", outcome=Outcome.HOLD, says=says, reasons=(Reason.UNKNOWN_FACT,))
            )
    if facts.month is not None and book.rules_of(facts.month) is None:
        says = f"No rule set is in force in {facts.month}."
        reasons = (Reason.UNKNOWN_FACT, Reason.RULESET_MISSING)
        findings.append(Finding(rule="1", outcome=Outcome.HOLD, says=says, reasons=reasons))
    return Decision(
        month=facts.month,
        codes={},
        held={},
        hold=True,
        reasons=reasons_of(findings),
        standing={},
        counted_minutes={},
        counted_seconds={},
        lines=(),
        excluded=(),
        remarked=(),
        trace=tuple(step_of(each, book, None) for each in findings),
        rule_set=None,
        price_set=None,
    )
