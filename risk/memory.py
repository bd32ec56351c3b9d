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

LAYOUT = 1
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
)
GLUCOSE = Shape(
    kind=Kind.GLUCOSE,
    quantities=("glucose",),
    slots_a_day=4,
    starts_at=4,
    slot_names=("morning", "midday", "evening", "night"),
    slots=256,
    scale=600.0,  # of ln(mg/dL)
    tallies=("low", "very_low", "low_risk"),
)
SHAPES: dict[Kind, Shape] = {Kind.BLOOD_PRESSURE: PRESSURE, Kind.GLUCOSE: GLUCOSE}
DTYPES: dict[Kind, np.dtype[np.void]] = {kind: shape.dtype for kind, shape in SHAPES.items()}


class MemoryRefused(ValueError):
    """A stored block of another layout: rebuild it from the log, never guess."""


def empty(shape: Shape) -> bytes:
    """The memory of somebody never seen.

    >>> len(empty(PRESSURE)) < 4096, len(empty(GLUCOSE)) < 4096
    (True, True)
    """
    block = np.zeros(1, DTYPES[shape.kind])
    block["layout"] = LAYOUT
    return block.tobytes()


def unpack(memories: list[bytes], shape: Shape) -> Block:
    """The blocks of many patients as one array, one row each."""
    size = DTYPES[shape.kind].itemsize
    for memory in memories:
        if len(memory) != size or memory[0] != LAYOUT:
            raise MemoryRefused(
                f"a {shape.kind} memory of {len(memory)} bytes, layout {memory[:1].hex()}; wanted {size}, {LAYOUT:02x}"
            )
    return np.frombuffer(bytearray(b"".join(memories)), DTYPES[shape.kind])


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
    where: Bools,
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
    fresh = where & (block["latest"] == 0)
    block["newest"][fresh] = slot[fresh]
    block["first"][fresh] = slot[fresh]
    _forget(block, where & (reset > block["reset"]), reset)
    ahead = np.nonzero(where & (slot > block["newest"]))[0]
    if len(ahead):
        _advance(block, shape, ahead, slot[ahead])
    block["first"][where] = np.minimum(block["first"], slot)[where]
    inside = np.nonzero(where & (slot > block["newest"] - shape.slots))[0]
    place = slot[inside] % shape.slots
    count = block["count"][inside, place]
    heard = ~np.isnan(stored[inside]) & (count < COUNT_MOST)
    block["count"][inside, place] = count + heard
    whole = np.where(heard, np.rint(np.nan_to_num(stored[inside]) * shape.scale), 0).astype(np.uint16)
    block["total"][inside, place] += whole
    for name, amount in tallies.items():
        block[name][inside, place] += np.where(heard[:, 0], amount[inside], 0).astype(np.uint16)
    _remember(block, np.nonzero(where)[0], at, values)
    block["latest"][where] = np.maximum(block["latest"], at)[where]


def unlearn(
    block: Block,
    shape: Shape,
    *,
    slot: int,
    at: int,
    values: Floats,
    stored: Floats,
    tallies: dict[str, Floats],
) -> bool:
    """Take one reading out of one memory again, changing the block; whether it was there.

    1. It leaves the last readings, which close up behind it.
    2. Its slot loses what it added. A slot that was full may have ignored it, and what already left the window has
       melted into a level that forty slots share: there it stays, a fortieth at most.
    3. Nothing left at all is a patient never seen; else later readings are late only after what is left.
    """
    known = _drop(block, shape, at, values)
    if block["newest"][0] - shape.slots < slot <= block["newest"][0] and block["latest"][0]:
        place = slot % shape.slots
        count, total = block["count"][0, place], block["total"][0, place]
        heard = ~np.isnan(stored) & (count > 0)
        known = known or bool(heard.any())
        whole = np.where(heard, np.rint(np.nan_to_num(stored) * shape.scale), 0).astype(np.int64)
        block["count"][0, place] = count - heard
        rest = np.where(block["count"][0, place] > 0, np.maximum(total.astype(np.int64) - whole, 0), 0)
        block["total"][0, place] = rest.astype(np.uint16)
        for name, amount in tallies.items():
            less = int(amount[0]) if heard[0] else 0
            block[name][0, place] = max(0, int(block[name][0, place]) - less)
    if not block["count"].any() and not block["trust"].any() and not block["recent_at"].any():
        block[:] = np.frombuffer(empty(shape), block.dtype)
    elif block["latest"][0]:
        block["latest"][0] = max(1, int(block["recent_at"][0].max()))
    return known


def _drop(block: Block, shape: Shape, at: int, values: Floats) -> bool:
    """Take one reading out of the rising list of last readings."""
    whole = np.rint(np.nan_to_num(values) * 16).astype(np.uint16)
    there = (block["recent_at"][0] == at) & (block["recent"][0] == whole).all(axis=1)
    if not there.any():
        return False
    place = int(np.nonzero(there)[0][-1])
    for name, nothing in (
        ("recent_at", np.zeros(1, np.int64)),
        ("recent", np.zeros((1, len(shape.quantities)), np.uint16)),
    ):
        block[name][0, : place + 1] = np.concatenate([nothing, block[name][0, :place]])
    return True


def _forget(block: Block, rows: Bools, reset: Ints) -> None:
    block["reset"][rows] = reset[rows]
    block["anchor"][rows] = 0
    block["trust"][rows] = 0


def _advance(block: Block, shape: Shape, rows: Ints, slot: Ints) -> None:
    """Move windows on, slot by slot: what drops out is folded into the anchor, whoever else is in the batch."""
    ahead = np.minimum(slot - block["newest"][rows], shape.slots)
    for step in range(int(ahead.max())):
        on = rows[ahead > step]
        gone = block["newest"][on] + 1 + step - shape.slots
        _fold(block, shape, on, gone.astype(np.int64))
    block["newest"][rows] = slot


def _fold(block: Block, shape: Shape, rows: Ints, gone: Ints) -> None:
    place = gone % shape.slots
    count = block["count"][rows, place]
    if count.any():
        counts = (count > 0) & (gone >= block["reset"][rows])[:, None]
        mean = block["total"][rows, place] / np.maximum(count, 1) / shape.scale
        trust = block["trust"][rows].astype(np.float64)
        level = (block["anchor"][rows] * trust + mean) / (trust + 1.0)
        block["anchor"][rows] = np.where(counts, level, block["anchor"][rows])
        block["trust"][rows] = np.minimum(trust + counts, ANCHOR_MOST)
        block["count"][rows, place] = 0
        block["total"][rows, place] = 0
    for name in shape.tallies:
        block[name][rows, place] = 0


def _remember(block: Block, rows: Ints, at: Ints, values: Floats) -> None:
    """Insert into the rising list of last readings; the oldest (or an empty place) drops out at the front."""
    times, held = block["recent_at"][rows], block["recent"][rows]
    now = at[rows][:, None]
    place = (times <= now).sum(axis=1)[:, None] - 1  # after the front has dropped out
    order = np.arange(RECENT)
    source = np.where(order < place, order + 1, order)
    times, held = np.take_along_axis(times, source, 1), np.take_along_axis(held, source[:, :, None], 1)
    here = order == place
    whole = np.rint(np.nan_to_num(values[rows]) * 16).astype(np.uint16)
    block["recent_at"][rows] = np.where(here, now, times)
    block["recent"][rows] = np.where(here[:, :, None], whole[:, None, :], held)


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


def look_back(block: Block, shape: Shape, slot: Ints, reset: Ints) -> Past:
    """What the windows say up to and including one slot per row; later readings stay out of sight."""
    known = _sight(block, shape, slot, reset)
    count = _unrolled(block["count"], shape, slot)
    count *= known[:, None, :]
    total = _unrolled(block["total"], shape, slot)
    count, total = count.reshape(-1, shape.slots), total.reshape(-1, shape.slots)
    there = count > 0
    total *= there
    total /= np.maximum(count, np.float32(1.0)) * np.float32(shape.scale)
    trust = np.where((reset > block["reset"])[:, None], 0.0, block["trust"])
    return Past(
        total, count, there, block["anchor"].astype(np.float64).ravel(), trust.astype(np.float64).ravel()
    )


def tally(block: Block, shape: Shape, name: str, slot: Ints, reset: Ints) -> Floats:
    """A per-slot sum of whole numbers, oldest slot first, as `look_back` sees it."""
    seen = _unrolled(block[name][:, :, None], shape, slot)[:, 0, :]
    return seen.astype(np.float64) * _sight(block, shape, slot, reset)


def _unrolled(ring: npt.NDArray[Any], shape: Shape, slot: Ints) -> Shorts:
    """Rings (rows, slots, quantities) as windows (rows, quantities, slots) that end with each row's own slot."""
    window = np.empty((len(ring), ring.shape[2], shape.slots), np.float32)
    start = (slot + 1) % shape.slots
    for first in np.unique(start).tolist():  # few: people measure at the same times
        rows = np.nonzero(start == first)[0]
        told = ring[rows].transpose(0, 2, 1)
        window[rows, :, : shape.slots - first] = told[:, :, first:]
        window[rows, :, shape.slots - first :] = told[:, :, :first]
    return window


def _sight(block: Block, shape: Shape, slot: Ints, reset: Ints) -> Bools:
    """Which slots of the windows are remembered: not older than the ring, not after the newest, not before a reset."""
    numbers = slot[:, None] + np.arange(1 - shape.slots, 1)
    newest = block["newest"].astype(np.int64)[:, None]
    known: Bools = (numbers > newest - shape.slots) & (numbers <= newest) & (numbers >= reset[:, None])
    return known


def seconds(instant: datetime) -> int:
    """Unix seconds of an aware instant."""
    return int(instant.timestamp())


def field(block: Block, name: str) -> Any:
    """One header field of all rows, as whole numbers wide enough to reckon with."""
    return block[name].astype(np.int64)
