"""What people said of alerts, as labels: for reports and for choosing a budget, never for anything that learns by itself.

The alerts room owns the word (a disposition); it arrives here through a port (`Labels`), asked when a page or a
report is made. Nothing of it reaches the scorer: a label can move a limit or a budget only by way of a person.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID


class Said(StrEnum):
    """What an alert turned out to be."""

    USEFUL = "useful"
    TECHNIQUE = "technique"  # measuring technique, device or data
    KNOWN = "known"
    NOISE = "noise"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One episode's call and what somebody said it was; `drift_score` if a trend raised it."""

    patient_id: UUID
    concern: str
    rule: str
    at: datetime  # of the reading that called
    said: Said
    drift_score: float | None = None


class Labels(Protocol):
    """Where dispositions come from: the alerts room's tables, by way of whoever may read both."""

    async def settled(
        self, conn: Any, *, since: datetime, patients: Collection[UUID] | None = None
    ) -> Sequence[Label]:
        """Settled calls since an instant, of some patients or of everybody the transaction may see, oldest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How often each word was said of some alerts.

    >>> Tally.of([Said.USEFUL, Said.NOISE, Said.USEFUL]).sentence()
    '2 useful, 1 noise'
    """

    counts: tuple[tuple[Said, int], ...]

    @classmethod
    def of(cls, words: Iterable[Said]) -> "Tally":
        told = list(words)
        return cls(counts=tuple((said, told.count(said)) for said in Said if said in told))

    @property
    def total(self) -> int:
        return sum(many for _, many in self.counts)

    @property
    def useful_share(self) -> float | None:
        """Share of use; None, never zero, where nobody said anything."""
        return dict(self.counts).get(Said.USEFUL, 0) / self.total if self.total else None

    def sentence(self) -> str:
        return ", ".join(f"{many} {said.value}" for said, many in self.counts)


def by_rule(labels: Iterable[Label]) -> list[tuple[str, Tally]]:
    """What was said of each rule's alerts, the most often settled rule first."""
    rules: dict[str, list[Said]] = {}
    for label in labels:
        rules.setdefault(label.rule, []).append(label.said)
    tallies = [(rule, Tally.of(words)) for rule, words in rules.items()]
    return sorted(tallies, key=lambda told: (-told[1].total, told[0]))


BUDGETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0)


def by_budget(labels: Sequence[Label], present: float) -> list[tuple[float, Tally]]:
    """Of the settled trend alerts, those that a budget would still have raised, and what was said of them.

    Only what was raised can be judged: nothing is said of budgets above the present one.
    """
    trends = [(label.drift_score, label.said) for label in labels if label.drift_score is not None]
    budgets = sorted({present, *(budget for budget in BUDGETS if budget < present)})
    return [
        (budget, Tally.of(said for score, said in trends if score * budget >= 1.0))
        for budget in budgets
        if trends
    ]
