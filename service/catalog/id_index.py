"""Item ids to rows, many at a time: open addressing over 64-bit hashes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

MISSING = -1
_REMOVED = -2
_SLOTS_PER_ID = 4  # at least: fuller tables need several probes an id

Rows = NDArray[np.int64]


class IdIndex:
    """Which row each id has; a row that was freed is given out again once it is released.

    A dict of a million strings misses the cache several times an id, which costs more than
    ranking does. Here a lookup is a few array operations whatever the size, because the strings
    held are never read: an id is known by its 64-bit hash, which Python keys anew in every
    process. Of two ids with one hash the second is refused (some 3e-8 likely among a million).
    """

    def __init__(self) -> None:
        self.ids: list[str] = []  # by row; a free row keeps the id it had
        self._count = 0
        self._free: list[int] = []
        self._hash = np.zeros(0, np.int64)  # by slot
        self._row = np.zeros(0, np.int32)
        self._slots_used = 0
        self._resize(256)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes of the table, the ids not included."""
        return self._hash.nbytes + self._row.nbytes

    def reserve(self, count: int) -> None:
        """Make room for ``count`` ids in all at once."""
        if _SLOTS_PER_ID * count > len(self._row):
            self._resize(count)

    def rows(self, item_ids: Sequence[str]) -> Rows:
        """Return the row of each id (N,), ``MISSING`` where it is not held."""
        row = self._row[self._slots(_hashes(item_ids))]
        return row.astype(np.int64)

    def add(self, item_ids: Sequence[str]) -> Rows:
        """Return a row for each of distinct ids (N,), ``MISSING`` for a refused one."""
        hashes = _hashes(item_ids)
        rows = self._row[self._slots(hashes)].astype(np.int64)
        for n in np.flatnonzero(rows >= 0).tolist():
            if self.ids[rows[n]] != item_ids[n]:
                rows[n] = _REMOVED
        _, first = np.unique(hashes, return_index=True)
        new = np.sort(first[rows[first] == MISSING])
        for n in new.tolist():
            rows[n] = self._allot(item_ids[n])
        if _SLOTS_PER_ID * (self._slots_used + len(new)) > len(self._row):
            self._resize(2 * (self._count + len(new)))
        self._insert(hashes[new], rows[new])
        self._count += len(new)
        rows[rows < 0] = MISSING
        return rows

    def remove(self, item_ids: Sequence[str]) -> Rows:
        """Forget ids and return the rows (<= N,) they had; those wait to be released."""
        slots = self._slots(_hashes(list(dict.fromkeys(item_ids))))
        slots = slots[self._row[slots] >= 0]
        rows = self._row[slots].astype(np.int64)
        self._row[slots], self._hash[slots] = _REMOVED, 0
        self._count -= len(rows)
        return rows

    def release(self, rows: Iterable[int]) -> None:
        """Let removed rows be given out again."""
        self._free.extend(rows)

    def _allot(self, item_id: str) -> int:
        if self._free:
            row = self._free.pop()
            self.ids[row] = item_id
            return row
        self.ids.append(item_id)
        return len(self.ids) - 1

    def _slots(self, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where each hash (N,) lies, or the empty slot that ends its search."""
        last = len(self._row) - 1
        slots = hashes & last
        lost = (self._hash[slots] != hashes).nonzero()[0]
        while lost.size:
            lost = lost[self._row[slots[lost]] != MISSING]
            slots[lost] = (slots[lost] + 1) & last
            lost = lost[self._hash[slots[lost]] != hashes[lost]]
        return slots

    def _insert(self, hashes: NDArray[np.int64], rows: Rows) -> None:
        """Put distinct hashes (N,) that are not held into empty slots."""
        self._slots_used += len(hashes)
        last = len(self._row) - 1
        slots, todo = hashes & last, np.arange(len(hashes))
        while todo.size:
            wanted = slots[todo]
            empty = self._row[wanted] == MISSING
            self._row[wanted[empty]] = rows[todo[empty]]  # of two that want one slot, one gets it
            won = self._row[wanted] == rows[todo]
            self._hash[wanted[won]] = hashes[todo[won]]
            todo = todo[~won]
            slots[todo] = (slots[todo] + 1) & last

    def _resize(self, count: int) -> None:
        """Build the table anew with room for ``count`` ids."""
        held = self._row >= 0
        hashes, rows = self._hash[held], self._row[held].astype(np.int64)
        size = 1 << (_SLOTS_PER_ID * count - 1).bit_length()
        self._hash, self._row = np.zeros(size, np.int64), np.full(size, MISSING, np.int32)
        self._slots_used = 0
        self._insert(hashes, rows)


def _hashes(item_ids: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter(map(hash, item_ids), np.int64, len(item_ids))
