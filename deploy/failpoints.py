"""Named places where a test may end the process at once. Unarmed (always, outside fault tests) they do nothing."""

import os

_armed: dict[str, int] = {}


def arm(spec: str) -> None:
    """Arm from "name:countdown[,name:countdown]": the process ends, as by kill -9, at the countdown-th hit."""
    for part in filter(None, spec.split(",")):
        name, _, countdown = part.partition(":")
        _armed[name] = int(countdown or 1)


def hit(name: str) -> None:
    if not _armed or name not in _armed:
        return
    _armed[name] -= 1
    if _armed[name] <= 0:
        os._exit(137)
