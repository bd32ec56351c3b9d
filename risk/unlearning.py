"""A reading that a person took back leaves the memory again, as far as it can still be found there. No I/O here."""

import numpy as np

from risk.memory import Block, Floats, Shape, empty, sixteenths


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
            less, left = int(amount[0]) if heard[0] else 0, block["count"][0, place].any()
            block[name][0, place] = max(0, int(block[name][0, place]) - less) if left else 0
    if not block["count"].any() and not block["trust"].any() and not block["recent_at"].any():
        block[:] = np.frombuffer(empty(shape), block.dtype)
    elif block["latest"][0]:
        block["latest"][0] = max(1, int(block["recent_at"][0].max()))
    return known


def _drop(block: Block, shape: Shape, at: int, values: Floats) -> bool:
    """Take one reading out of the rising list of last readings."""
    whole = sixteenths(values)
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
