"""From entries to counted seconds: every second at most once, in one program, summed once and floored once."""

from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec

from ccm_bridge.billing.civil import day_of
from ccm_bridge.billing.facts import LONGEST_ENTRY, Entry
from ccm_bridge.billing.minutes import cuts_of, where
from ccm_bridge.billing.scene import PROGRAMS, Scene, program_of
from ccm_bridge.billing.spans import NEVER, Spans, common, seconds, union, without
from ccm_bridge.billing.words import Finding, Outcome, Reason


class Doer(StrEnum):
    """Whose time it is: T5, the practitioner's may be offered as staff time, never the reverse."""

    STAFF = "staff"
    FLAGGED = "practitioner as clinical staff"
    PERSONAL = "practitioner personally"


EVERYONE = tuple(Doer)
AS_STAFF = (Doer.STAFF, Doer.FLAGGED)


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """One entry after all rules: what of it counts, and what might.

    An entry without a start lies somewhere in its day; its seconds are `loose`, and count only where nothing else
    happened that day and no rule touches it.
    """

    index: int  # its place among the facts
    entry: Entry
    programs: frozenset[str]  # those it counts for, or might
    doers: frozenset[Doer]
    sure: Spans = NEVER
    doubt: Spans = NEVER
    loose_sure: int = 0
    loose_doubt: int = 0


class Weighed(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of one entry that one rule took, doubts or remarks on. Several rules may speak of the same second."""

    entry: int
    seconds: int
    rule: str
    outcome: Outcome
    reasons: tuple[Reason, ...]
    says: str


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """The month's work, ready to be asked how long it was."""

    shares: tuple[Share, ...]
    excluded: tuple[Weighed, ...]  # taken or in doubt
    remarked: tuple[Weighed, ...]  # counted, and worth a look
    findings: tuple[Finding, ...]

    def seconds(self, programs: Iterable[str], doers: Iterable[Doer], *, possible: bool) -> int:
        """Counted seconds: the union of what these people did. `possible` adds what is in doubt."""
        wanted, people = frozenset(programs), frozenset(doers)
        mine = [each for each in self.shares if wanted & each.programs and people & each.doers]
        timed = union(*(each.sure for each in mine), *((each.doubt for each in mine) if possible else ()))
        loose = sum(each.loose_sure + (each.loose_doubt if possible else 0) for each in mine)
        return seconds(timed) + loose

    def minutes(self, programs: Iterable[str], doers: Iterable[Doer], *, possible: bool) -> int:
        """Seconds summed over the month, floored once."""
        return self.seconds(programs, doers, possible=possible) // 60

    def last_day(self, programs: Iterable[str], zone: ZoneInfo) -> date | None:
        """The last day with counted time: the date of service."""
        mine = [each for each in self.shares if frozenset(programs) & each.programs]
        days = [day_of(each.sure[-1][1] - 1, zone) for each in mine if each.sure]
        days += [each.entry.on for each in mine if each.loose_sure and each.entry.on]
        return max(days, default=None)

    def works_in(self, program: str) -> bool:
        """Whether anything was logged for a program, counted or not."""
        return any(program in each.programs for each in self.shares)


def tally(scene: Scene) -> Tally:
    """Count the month.

    1. Every rule of section 4 is asked about every entry; what is left of the entry is sure, or in doubt.
    2. An entry without a start is settled by what else happened on its day.
    3. A second that two programs claim counts in neither (T8).
    4. Two people on the patient at once: the second is counted once (T6); the later entry gives it up.
    """
    entries = scene.facts.entries or ()
    weighed = [_weigh(index, entry, scene) for index, entry in enumerate(entries)]
    shares = [share for share, _ in weighed if share is not None]
    weighed_seconds = [each for _, said in weighed for each in said]

    shares, said = _settle_loose(shares, scene)
    weighed_seconds += said
    shares, said = _one_program(shares)
    weighed_seconds += said
    weighed_seconds += _count_once(shares)

    in_order = sorted(weighed_seconds, key=lambda each: each.entry)
    return Tally(
        shares=tuple(shares),
        excluded=tuple(each for each in in_order if each.outcome is not Outcome.WARN),
        remarked=tuple(each for each in in_order if each.outcome is Outcome.WARN),
        findings=tuple(_finding(each, entries[each.entry], scene.zone) for each in weighed_seconds),
    )


def _weigh(index: int, entry: Entry, scene: Scene) -> tuple[Share | None, list[Weighed]]:
    """What the rules leave of one entry; None where it has no second in this month."""
    here, cuts = cuts_of(entry, scene)
    whole = where(entry, scene)
    length = LONGEST_ENTRY if entry.seconds is None else entry.seconds
    said = [
        Weighed(
            entry=index,
            seconds=_length(common(whole, cut.spans), entry, length),
            rule=cut.rule,
            outcome=cut.outcome,
            reasons=cut.reasons,
            says=cut.says,
        )
        for cut in cuts
    ]
    if not here:
        return None, said
    taken = union(*(cut.spans for cut in cuts if cut.outcome is Outcome.EXCLUDE))
    doubted = union(*(cut.spans for cut in cuts if cut.outcome is Outcome.HOLD))
    left = without(here, taken)
    share = Share(index=index, entry=entry, programs=_programs(entry, scene), doers=_doers(entry, scene))
    if entry.start is not None:
        return msgspec.structs.replace(share, sure=without(left, doubted), doubt=common(left, doubted)), said
    touched = bool(taken or doubted) or entry.on is None
    if not left:
        return share, said
    return msgspec.structs.replace(share, **{"loose_doubt" if touched else "loose_sure": length}), said


def _length(spans: Spans, entry: Entry, length: int) -> int:
    """Seconds a cut takes; of an entry without a start, at most all it has."""
    return seconds(spans) if entry.start is not None else min(seconds(spans), length)


def _programs(entry: Entry, scene: Scene) -> frozenset[str]:
    """What it is tagged with; without a tag, every program the patient may be in."""
    program, second = program_of(entry), (entry.also_program or "").strip().upper()
    if program is not None:
        return frozenset({program, second} - {""})
    facts = scene.facts
    in_pcm = facts.pcm is not None
    in_rpm = facts.rpm is None or facts.rpm.enrolled is not False
    return frozenset({"CCM"} | ({"PCM"} if in_pcm else set()) | ({"RPM"} if in_rpm else set()))


def _doers(entry: Entry, scene: Scene) -> frozenset[Doer]:
    credential = (entry.credential or "").strip().upper()
    if credential in scene.rules.people.practitioners:
        return frozenset({Doer.FLAGGED if entry.as_clinical_staff else Doer.PERSONAL})
    if credential in scene.rules.people.clinical_staff:
        return frozenset({Doer.STAFF})
    return frozenset(EVERYONE)  # nobody knows: its seconds are in doubt or out


def _settle_loose(shares: list[Share], scene: Scene) -> tuple[list[Share], list[Weighed]]:
    """T21: minutes without a start cannot be proved apart from other work on the same day."""
    settled, said = [], []
    for share in shares:
        if share.loose_doubt or (share.loose_sure and _has_company(share, shares, scene)):
            length = share.loose_sure + share.loose_doubt
            said.append(
                Weighed(
                    entry=share.index,
                    seconds=length,
                    rule="T21",
                    outcome=Outcome.HOLD,
                    reasons=(Reason.INCOMPLETE_ENTRY,),
                    says="without a start it cannot be told apart from what else happened",
                )
            )
            share = msgspec.structs.replace(share, loose_sure=0, loose_doubt=length)  # noqa: PLW2901
        settled.append(share)
    return settled, said


def _has_company(share: Share, shares: list[Share], scene: Scene) -> bool:
    """Whether other work lies, or may lie, on the same day."""
    day = where(share.entry, scene)
    return any(other.index != share.index and common(day, where(other.entry, scene)) for other in shares)


def _one_program(shares: list[Share]) -> tuple[list[Share], list[Weighed]]:
    """T8: seconds that work of another program also claims go from sure to doubtful, on both sides."""
    settled, said = [], []
    for share in shares:
        rivals = [
            (other, common(share.sure, union(other.sure, other.doubt)))
            for other in shares
            if other.programs != share.programs
        ]
        claimed = union(*(both for _, both in rivals))
        if claimed:
            two_people = any(both and other.entry.staff != share.entry.staff for other, both in rivals)
            said.append(
                Weighed(
                    entry=share.index,
                    seconds=seconds(claimed),
                    rule="T8",
                    outcome=Outcome.HOLD,
                    reasons=(Reason.DUAL_PROGRAM, Reason.OVERLAP) if two_people else (Reason.DUAL_PROGRAM,),
                    says="another program claims the same seconds: a person assigns them",
                )
            )
        settled.append(
            msgspec.structs.replace(
                share, sure=without(share.sure, claimed), doubt=union(share.doubt, claimed)
            )
        )
    return settled, said


def _count_once(shares: list[Share]) -> list[Weighed]:
    """T6: who gives up the second that two people spent at once. The sum itself is a union and needs no order."""
    said = []
    for program in PROGRAMS:
        for doers in (EVERYONE,) if program == "RPM" else (AS_STAFF, (Doer.PERSONAL,)):
            covered: Spans = NEVER
            mine = [each for each in shares if each.programs == {program} and each.doers <= set(doers)]
            for share in sorted(mine, key=lambda each: (each.sure, each.entry.staff or "", each.index)):
                twice = common(share.sure, covered)
                if twice:
                    said.append(
                        Weighed(
                            entry=share.index,
                            seconds=seconds(twice),
                            rule="T6",
                            outcome=Outcome.EXCLUDE,
                            reasons=(Reason.OVERLAP,),
                            says="somebody else's entry already counts these seconds",
                        )
                    )
                covered = union(covered, share.sure)
    return said


def _finding(each: Weighed, entry: Entry, zone: ZoneInfo) -> Finding:
    return Finding(
        rule=each.rule,
        outcome=each.outcome,
        says=f"{_named(entry, zone)} {_AND.get(each.outcome, 'counts, but look')}: {each.says}.",
        reasons=each.reasons,
        compared={"entry": each.entry, "seconds": each.seconds},
    )


_AND = {Outcome.EXCLUDE: "does not count", Outcome.HOLD: "is in doubt"}


def _named(entry: Entry, zone: ZoneInfo) -> str:
    """An entry as its author knows it: by when it was, on the practice's clock."""
    if entry.start is not None:
        return f"The entry of {entry.start.astimezone(zone):%d %b %H:%M}"
    return "An entry without a day" if entry.on is None else f"The entry of {entry.on:%d %b}"
