"""Rows of item ids, looked up many at a time: open addressing over 64-bit hashes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from service.catalog import lookup
from service.catalog.lookup import MISSING, Rows, hashes_of, slots_of

_REMOVED = -2
_SLOTS_PER_ID = 4  # at least: a fuller table needs several probes an id


class IdIndex:
    """Maps each id to a row. The row of a removed id is reused once it is released.

    A dict of a million strings misses the CPU cache several times per id, which costs more than the
    ranking. Here a lookup reads no string: its key is the id's 64-bit hash, which Python salts anew
    in every process. At any size a lookup is a few array operations. Of two ids with one hash, the
    second is refused (probability about 3e-8 among a million ids).
    """

    def __init__(self) -> None:
        self.ids: list[str] = []  # by row; a free row still has its old id
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
        """Bytes of the table, without the ids."""
        return self._hash.nbytes + self._row.nbytes

    def reserve(self, count: int) -> None:
        """Make room for ``count`` ids in total."""
        if _SLOTS_PER_ID * count > len(self._row):
            self._resize(count)

    def rows(self, item_ids: Sequence[str]) -> Rows:
        """Return the row of each id (N,), ``MISSING`` for an unknown id."""
        rows = np.empty(len(item_ids), np.int64)
        lookup.find(item_ids, self._hash, self._row, rows)
        return rows

    def add(self, item_ids: Sequence[str]) -> Rows:
        """Add distinct ids and return their rows (N,), ``MISSING`` for a refused id."""
        hashes = hashes_of(item_ids)
        rows = self._row[slots_of(hashes, self._hash, self._row)].astype(np.int64)
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
        """Remove ids and return their rows, at most N; they are not reused until released."""
        hashes = hashes_of(list(dict.fromkeys(item_ids)))
        slots = slots_of(hashes, self._hash, self._row)
        slots = slots[self._row[slots] >= 0]
        rows = self._row[slots].astype(np.int64)
        self._row[slots], self._hash[slots] = _REMOVED, 0
        self._count -= len(rows)
        return rows

    def release(self, rows: Iterable[int]) -> None:
        """Let ``add`` reuse the rows of removed ids."""
        self._free.extend(rows)

    def _allot(self, item_id: str) -> int:
        if self._free:
            row = self._free.pop()
            self.ids[row] = item_id
            return row
        self.ids.append(item_id)
        return len(self.ids) - 1

    def _insert(self, hashes: NDArray[np.int64], rows: Rows) -> None:
        """Put distinct, unknown hashes (N,) into empty slots."""
        self._slots_used += len(hashes)
        last = len(self._row) - 1
        slots, pending = hashes & last, np.arange(len(hashes))
        while pending.size:
            target = slots[pending]
            empty = self._row[target] == MISSING
            self._row[target[empty]] = rows[pending[empty]]  # of two rows for a slot, one remains
            stored = self._row[target] == rows[pending]
            self._hash[target[stored]] = hashes[pending[stored]]
            pending = pending[~stored]
            slots[pending] = (slots[pending] + 1) & last

    def _resize(self, count: int) -> None:
        """Rebuild the table with room for ``count`` ids."""
        used = self._row >= 0
        hashes, rows = self._hash[used], self._row[used].astype(np.int64)
        size = 1 << (_SLOTS_PER_ID * count - 1).bit_length()
        self._hash, self._row = np.zeros(size, np.int64), np.full(size, MISSING, np.int32)
        self._slots_used = 0
        self._insert(hashes, rows)
