"""What is remembered of one patient: a fixed block of bytes holding 64 days of slot means and the last readings.

The block is the whole state of the scorer. It holds whole numbers in event order, so two histories with the same
readings have the same block, and a crash, a move or a replay cannot make them differ. No I/O here.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.events import Kind

RECENT = 24
"""Readings kept with their exact time, for sittings and "five of the last six"."""
COUNT_MOST = 14
"""Readings of one slot that are learnt; a patient who measures twenty times in an hour is heard fourteen times."""
ANCHOR_MOST = 40.0
"""Slots' worth of trust in the level of the days that left the window."""
SITTING = 30 * 60
Floats = npt.NDArray[np.float64]
Shorts = npt.NDArray[np.float32]
"""Whole windows: seven digits are enough for a mean pressure, and half the memory is twice the speed."""
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Block = npt.NDArray[np.void]


@dataclass(frozen=True)
class Shape:
    """How one kind of reading is laid out in time: which quantities, and how a day is cut into slots."""

    kind: Kind
    quantities: tuple[str, ...]
    slots_a_day: int
    starts_at: int  # hour of local time at which the first slot of a day begins
    slot_names: tuple[str, ...]
    slots: int  # slots kept: 64 days
    scale: float  # stored whole number per unit of a slot total
    layout: int
    tallies: tuple[str, ...] = ()  # further whole numbers summed per slot

    @property
    def seconds(self) -> int:
        return 86400 // self.slots_a_day

    @property
    def dtype(self) -> np.dtype[np.void]:
        many = len(self.quantities)
        return np.dtype(
            [
                ("layout", "u1"),
                ("latest", "<i8"),  # unix seconds of the newest reading learnt; 0: none yet
                ("newest", "<i4"),  # number of the newest slot
                ("first", "<i4"),  # number of the first slot ever learnt
                ("reset", "<i4"),  # the baseline forgets what lies before this slot
                ("anchor", "<f4", (many,)),  # level of the days that left the window
                ("trust", "<f4", (many,)),  # how many slots that level is worth
                ("recent_at", "<i8", (RECENT,)),  # unix seconds, rising; 0: empty
                ("recent", "<u2", (RECENT, many)),  # value x 16; 0: absent
                ("count", "u1", (self.slots, many)),
                ("total", "<u2", (self.slots, many)),
                *[(name, "<u2", (self.slots,)) for name in self.tallies],
            ]
        )

    def slot_of(self, at: int, offset_minutes: int | None) -> int:
        """The number of the slot an instant falls into, on the patient's own clock."""
        return (at + (offset_minutes or 0) * 60 - self.starts_at * 3600) // self.seconds

    def slot_name(self, slot: int) -> str:
        return self.slot_names[slot % self.slots_a_day]


PRESSURE = Shape(
    kind=Kind.BLOOD_PRESSURE,
    quantities=("systolic", "diastolic", "pulse"),
    slots_a_day=2,
    starts_at=3,
    slot_names=("morning", "evening"),
    slots=128,
    scale=16.0,
    layout=1,
)
GLUCOSE = Shape(
    kind=Kind.GLUCOSE,
    quantities=("glucose",),
    slots_a_day=4,
    starts_at=4,
    slot_names=("morning", "midday", "evening", "night"),
    slots=256,
    scale=600.0,  # of ln(mg/dL)
    layout=2,
    tallies=("low", "very_low", "low_risk", "after_meal", "after_meal_total"),
)
KNEW_NO_MEALS = 1, GLUCOSE.dtype.itemsize - 2 * 2 * GLUCOSE.slots
"""Layout and size of a glucose memory of before meals were remembered: the same, without the last two tallies."""
SHAPES: dict[Kind, Shape] = {Kind.BLOOD_PRESSURE: PRESSURE, Kind.GLUCOSE: GLUCOSE}
DTYPES: dict[Kind, np.dtype[np.void]] = {kind: shape.dtype for kind, shape in SHAPES.items()}


class MemoryRefused(ValueError):
    """A stored block of an unknown layout: rebuild it from the log, never guess."""


def empty(shape: Shape) -> bytes:
    """The memory of somebody never seen.

    >>> len(empty(PRESSURE)) < 4096, len(empty(GLUCOSE)) < 4096
    (True, True)
    """
    return blank(shape, 1).tobytes()


def blank(shape: Shape, many: int) -> Block:
    """The memories of so many people never seen."""
    block = np.zeros(many, DTYPES[shape.kind])
    block["layout"] = shape.layout
    return block


def unpack(memories: list[bytes], shape: Shape) -> Block:
    """The blocks of many patients as one array, one row each."""
    size = DTYPES[shape.kind].itemsize
    whole = [
        memory if len(memory) == size and memory[0] == shape.layout else _renewed(memory, shape)
        for memory in memories
    ]
    return np.frombuffer(bytearray(b"".join(whole)), DTYPES[shape.kind])


def _renewed(memory: bytes, shape: Shape) -> bytes:
    """A memory that knew no meals, in today's layout: what it learnt was not told to be after one, as it was heard."""
    size = DTYPES[shape.kind].itemsize
    if shape is GLUCOSE and (*memory[:1], len(memory)) == KNEW_NO_MEALS:
        return bytes([shape.layout]) + memory[1:] + bytes(size - len(memory))
    raise MemoryRefused(
        f"a {shape.kind} memory of {len(memory)} bytes, layout {memory[:1].hex()}; wanted {size}, {shape.layout:02x}"
    )


def pack(block: Block) -> list[bytes]:
    """The reverse of `unpack`."""
    size, whole = block.dtype.itemsize, block.tobytes()
    return [whole[place : place + size] for place in range(0, len(whole), size)]


def learn(
    block: Block,
    shape: Shape,
    *,
    slot: Ints,
    at: Ints,
    values: Floats,
    stored: Floats,
    tallies: dict[str, Floats],
    reset: Ints,
) -> None:
    """Put one reading per row into its place in event time, changing the block.

    `values` (rows, quantities) are the readings as shown, `stored` the same as the window sums them (ln for
    glucose), NaN where missing. Order matters:

    1. A clinician's reset empties the anchor before anything is folded into it.
    2. A newer slot moves the window on: what drops out at the far end is folded into the anchor.
    3. The reading is added to its slot, unless the slot has already left the window.
    4. The reading joins the last readings, at its place in time.
    """
    fresh = block["latest"] == 0
    if fresh.any():
        block["newest"][fresh] = block["first"][fresh] = slot[fresh]
    forgets = reset > block["reset"]
    if forgets.any():
        _forget(block, forgets, reset)
    ahead = (slot > block["newest"]).nonzero()[0]
    if len(ahead):
        _advance(block, shape, ahead, slot[ahead])
    np.minimum(block["first"], slot, out=block["first"], casting="unsafe")
    inside = (slot > block["newest"] - shape.slots).nonzero()[0]
    here = (inside, slot[inside] % shape.slots)
    count, told = block["count"][here], stored[inside]
    heard = ~np.isnan(told) & (count < COUNT_MOST)
    block["count"][here] = count + heard
    block["total"][here] += np.rint(np.where(heard, told, 0.0) * shape.scale).astype(np.uint16)
    for name, amount in tallies.items():
        block[name][here] += np.where(heard[:, 0], amount[inside], 0).astype(np.uint16)
    _remember(block, at, values)
    np.maximum(block["latest"], at, out=block["latest"])


def _forget(block: Block, rows: Bools, reset: Ints) -> None:
    block["reset"][rows] = reset[rows]
    block["anchor"][rows] = 0
    block["trust"][rows] = 0


def _advance(block: Block, shape: Shape, rows: Ints, slot: Ints) -> None:
    """Move windows on: what drops out is folded into the anchor slot by slot, whoever else is in the batch."""
    newest = block["newest"][rows].astype(np.int64)
    ahead = np.minimum(slot - newest, shape.slots)
    step = np.arange(ahead.max())
    gone = newest[:, None] + (1 - shape.slots) + step
    leaves, here = step < ahead[:, None], (rows[:, None], gone % shape.slots)
    count = block["count"][here] * leaves[:, :, None]
    if count.any():
        count, total = count.astype(np.int64), block["total"][here].astype(np.int64)
        if "after_meal" in shape.tallies:  # the level is that of readings that no meal has lifted
            count -= (block["after_meal"][here] * leaves)[:, :, None]
            total -= block["after_meal_total"][here][:, :, None]
        _fold(block, shape, rows, gone, count, total)
        here = (rows[:, None].repeat(len(step), axis=1)[leaves], here[1][leaves])
        for name in ("count", "total", *shape.tallies):
            block[name][here] = 0
    block["newest"][rows] = slot


def _fold(block: Block, shape: Shape, rows: Ints, gone: Ints, count: Ints, total: Ints) -> None:
    """Fold slots (rows, steps, quantities) into the level of what left the window, the oldest first."""
    counts = (count > 0) & (gone >= block["reset"][rows][:, None])[:, :, None]
    mean = total / np.maximum(count, 1) / shape.scale
    anchor, trust = block["anchor"][rows], block["trust"][rows]
    for step in range(gone.shape[1]):
        told, weight = counts[:, step], trust.astype(np.float64)
        level = (anchor * weight + mean[:, step]) / (weight + 1.0)
        anchor = np.where(told, level, anchor).astype(np.float32)
        trust = np.minimum(trust + told, np.float32(ANCHOR_MOST))
    block["anchor"][rows], block["trust"][rows] = anchor, trust


def _remember(block: Block, at: Ints, values: Floats) -> None:
    """Insert into the rising list of last readings; the oldest (or an empty place) drops out at the front."""
    times, held, now = block["recent_at"], block["recent"], at[:, None]
    whole = sixteenths(values)
    if (at >= times[:, -1]).all():  # nobody is late: everything moves up by one
        times[:, :-1], held[:, :-1] = times[:, 1:], held[:, 1:]
        times[:, -1], held[:, -1] = at, whole
        return
    place = (times <= now).sum(axis=1)[:, None] - 1  # after the front has dropped out
    order = np.arange(RECENT)
    source = np.where(order < place, order + 1, order)
    here = order == place
    block["recent_at"] = np.where(here, now, np.take_along_axis(times, source, 1))
    moved = np.take_along_axis(held, source[:, :, None], 1)
    block["recent"] = np.where(here[:, :, None], whole[:, None, :], moved)


def sixteenths(values: Floats) -> npt.NDArray[np.uint16]:
    """Values as the list of last readings keeps them: sixteenths, 0 where missing."""
    whole: npt.NDArray[np.uint16] = np.rint(np.where(np.isnan(values), 0.0, values) * 16).astype(np.uint16)
    return whole


@dataclass(frozen=True, slots=True)
class Past:
    """The windows as seen from each reading: oldest slot first, the reading's own slot last.

    Rows are stacked: all quantities of the first reading, then all of the second.
    """

    mean: Shorts  # (rows * quantities, slots); 0 where nothing was measured
    count: Shorts
    there: Bools
    anchor: Floats
    trust: Floats
    tallies: tuple[Shorts, ...]  # (rows, slots), in the order of `Shape.tallies`


def look_back(block: Block, shape: Shape, slot: Ints, reset: Ints) -> Past:
    """What the windows say up to and including one slot per row; later readings stay out of sight."""
    rings = [block["count"], block["total"], *(block[name][:, :, None] for name in shape.tallies)]
    windows = _unrolled(rings, shape, (slot + 1) % shape.slots)
    known = _sight(block, shape, slot, reset)
    if not known.all():
        windows = [window * known[:, None, :] for window in windows]
    count, total = (window.reshape(-1, shape.slots) for window in windows[:2])
    there = count > 0
    total /= np.maximum(count, np.float32(1.0)) * np.float32(shape.scale)
    trust = np.where((reset > block["reset"])[:, None], 0.0, block["trust"])
    return Past(
        mean=total,
        count=count,
        there=there,
        anchor=block["anchor"].astype(np.float64).ravel(),
        trust=trust.astype(np.float64).ravel(),
        tallies=tuple(window[:, 0, :] for window in windows[2:]),
    )


def _unrolled(rings: list[npt.NDArray[Any]], shape: Shape, start: Ints) -> list[Shorts]:
    """Rings (rows, slots, quantities) as windows (rows, quantities, slots) that begin at each row's start."""
    windows = [np.empty((len(ring), ring.shape[2], shape.slots), np.float32) for ring in rings]
    firsts = set(start.tolist())  # few: people measure at the same times
    for first in firsts:
        rows = slice(None) if len(firsts) == 1 else (start == first).nonzero()[0]
        for ring, window in zip(rings, windows, strict=True):
            told = ring[rows].transpose(0, 2, 1)
            window[rows, :, : shape.slots - first] = told[:, :, first:]
            window[rows, :, shape.slots - first :] = told[:, :, :first]
    return windows


def _sight(block: Block, shape: Shape, slot: Ints, reset: Ints) -> Bools:
    """Which slots of the windows are remembered: not older than the ring, not after the newest, not before a reset."""
    newest, first = block["newest"], slot - shape.slots + 1
    oldest = np.maximum(newest - (shape.slots - 1), reset) - first
    order = np.arange(shape.slots)
    known: Bools = (order >= oldest[:, None]) & (order <= (newest - first)[:, None])
    return known


def seconds(instant: datetime) -> int:
    """Unix seconds of an aware instant."""
    return int(instant.timestamp())
