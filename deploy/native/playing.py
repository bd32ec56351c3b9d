"""How far the demo's diaries are, from what its gateways wrote down: which day they play, and when they are done."""

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ingest.gateway.outbox import peek
from ingest.gateway.player import BEGUN, Progress, Start

SOON = 100  # readings on their way at any time: no backlog


def outbox(folder: Path, gateway_id: str) -> Path:
    """Where a gateway of the demo keeps what it has to send."""
    return folder / "gateways" / f"{gateway_id}.sqlite"


def look(folder: Path, gateways: Iterable[str]) -> dict[str, Any] | None:
    """What these play now, the last to be done among them; None where nothing plays (yet)."""
    found: list[Progress] = []
    waiting, now = 0, datetime.now(UTC)
    for gateway_id in gateways:
        with suppress(sqlite3.Error, msgspec.MsgspecError):
            unsent, begun = peek(outbox(folder, gateway_id), BEGUN)
            if begun is not None:
                found.append(msgspec.json.decode(begun, type=Start).progress(now))
                waiting += unsent
    if not found:
        return None
    last = max(found, key=lambda one: one.caught_up_at)
    return {
        "day": last.day,
        "of": last.of,
        "last_day_in_s": _seconds(last.last_day_at, now),
        "done_in_s": _seconds(last.caught_up_at, now),
        "waiting": waiting,
    }


def words(demo: dict[str, Any]) -> list[str]:
    """In a line or two.

    >>> at = {"day": 3, "of": 14, "last_day_in_s": 42, "done_in_s": 1850, "waiting": 7}
    >>> words(at)
    ['the demo plays day 3 of 14; the last begins in 42 s and takes 30 min']
    >>> words(at | {"day": 14, "last_day_in_s": 0, "waiting": 4321})
    ['the demo plays its last day, done in 31 min', '4,321 of its readings wait to be taken']
    >>> words(at | {"day": 14, "last_day_in_s": 0, "done_in_s": 0})
    ['the demo has played; what its diaries still hold comes as time goes by']
    """
    if not demo["done_in_s"]:
        said = "the demo has played; what its diaries still hold comes as time goes by"
    elif not demo["last_day_in_s"]:
        said = f"the demo plays its last day, done in {_time(demo['done_in_s'])}"
    else:
        begins, takes = demo["last_day_in_s"], demo["done_in_s"] - demo["last_day_in_s"]
        said = (
            f"the demo plays day {demo['day']} of {demo['of']};"
            f" the last begins in {_time(begins)} and takes {_time(takes)}"
        )
    many = [f"{demo['waiting']:,} of its readings wait to be taken"] if demo["waiting"] >= SOON else []
    return [said, *many]


def _seconds(then: datetime, now: datetime) -> int:
    return max(0, round((then - now).total_seconds()))


def _time(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} min"  # noqa: PLR2004 - two minutes
