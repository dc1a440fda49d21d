"""The two steps that a ranking takes for all its items at once: ids to rows, rows to states.

``_lookup.c`` has both compiled. Where no compiler was at hand they run in NumPy, at several times
the cost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

MISSING = -1

Hashes = NDArray[np.int64]
Slots = NDArray[np.int32]
Rows = NDArray[np.int64]
Array = NDArray[np.float32]


def hashes_of(item_ids: Sequence[str]) -> Hashes:
    """Return the hash (N,) of each id."""
    return np.fromiter(map(hash, item_ids), np.int64, len(item_ids))


def slots_of(hashes: Hashes, slot_hashes: Hashes, slot_rows: Slots) -> NDArray[np.int64]:
    """Return the slot (N,) of each hash (N,), or the empty slot that ends its search.

    The table has a power of 2 of slots. Slot n has ``slot_hashes[n]`` and ``slot_rows[n]``, which
    is ``MISSING`` for an empty slot. A search begins at the hash, modulo the slots, and goes on to
    the next slot.
    """
    last = len(slot_rows) - 1
    slots = hashes & last
    pending = (slot_hashes[slots] != hashes).nonzero()[0]
    while pending.size:
        pending = pending[slot_rows[slots[pending]] != MISSING]
        slots[pending] = (slots[pending] + 1) & last
        pending = pending[slot_hashes[slots[pending]] != hashes[pending]]
    return slots


def find_in_numpy(
    item_ids: Sequence[str], slot_hashes: Hashes, slot_rows: Slots, rows: Rows
) -> None:
    """Write the row of each id's slot, as ``slots_of`` finds it, to ``rows`` (N,)."""
    rows[:] = slot_rows[slots_of(hashes_of(item_ids), slot_hashes, slot_rows)]


def copy_rows_in_numpy(table: Array, rows: Rows, out: Array) -> bool:
    """Copy ``rows`` (N,) of ``table`` (R, S) to ``out`` (M, S), M >= N, followed by zeros.

    Copies nothing and returns False unless the rows are distinct and none is ``MISSING``.
    """
    ascending = rows.copy()
    ascending.sort()
    if len(rows) and (ascending[0] < 0 or (ascending[1:] == ascending[:-1]).any()):
        return False
    table.take(rows, axis=0, out=out[: len(rows)], mode="clip")  # "raise" copies once more
    out[len(rows) :] = 0.0
    return True


find: Callable[[Sequence[str], Hashes, Slots, Rows], None] = find_in_numpy
copy_rows: Callable[[Array, Rows, Array], bool] = copy_rows_in_numpy
COMPILED = False
with contextlib.suppress(ImportError):
    from service.catalog import _lookup

    find, copy_rows, COMPILED = _lookup.find, _lookup.copy_rows, True
