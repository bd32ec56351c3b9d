"""How likely is a low glucose in the next day and week: calibrated chances from what the fingersticks have shown."""

from dataclasses import dataclass

from risk.memory import Block, Floats, Ints, Past


@dataclass(frozen=True)
class Forecast:
    """A trained forecast, with its version."""

    version: str

    def chances(self, block: Block, slot: Ints, reset: Ints, at: Ints, past: Past) -> tuple[Floats, Floats]:
        """Chance of a glucose below 70 mg/dL within a day and within a week, per row."""
        raise NotImplementedError
