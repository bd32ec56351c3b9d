"""How likely is a low glucose in the next day and week: calibrated chances from what the fingersticks have shown."""

from dataclasses import dataclass

from risk.memory import Floats


@dataclass(frozen=True)
class Forecast:
    """A trained forecast, with its version."""

    version: str

    def chances(self, count: Floats, total: Floats, tallies: dict[str, Floats]) -> tuple[Floats, Floats]:
        raise NotImplementedError
