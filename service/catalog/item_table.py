"""Item states as one array in memory: rows come, change and go while rankings read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.catalog.id_index import MISSING, IdIndex, Rows

TILE_ROWS = 64  # states are held in whole tiles, which the scorer multiplies
# Python string, its place in lists and in the index, flags: measured with ids of 13 letters.
_BYTES_BESIDE_STATE = 160
_EVICTED_SHARE = 64

Flags = NDArray[np.bool_]
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Pool:
    """What one request ranks: N places, each with an id, a state and whether the item is cold.

    ``states`` is (N', S) and N' >= N a whole number of tiles; where ``held`` (N,) is given and
    False, there is no item. ``missing`` are ids that were asked for and have no state.
    """

    item_ids: Sequence[str]
    states: Array
    cold: Flags
    held: Flags | None = None
    missing: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """N."""
        return len(self.cold)

    @property
    def count(self) -> int:
        """How many places hold an item."""
        return self.size if self.held is None else int(self.held.sum())


class ItemTable:
    """Rows of states; at most ``max_bytes`` of them, beside which the least used are evicted."""

    def __init__(self, state_dim: int, max_bytes: int) -> None:
        self.max_items = max(1, max_bytes // (4 * state_dim + _BYTES_BESIDE_STATE))
        self.evicts = False  # True once the items have not all fitted
        self._index = IdIndex()
        self._states = np.zeros((0, state_dim), np.float32)
        self._cold = np.zeros(0, np.bool_)
        self._held = np.zeros(0, np.bool_)
        self._used = np.zeros(0, np.int64)
        self._fresh = np.zeros(0, np.bool_)
        self._tick = 0
        self._scans = 0
        self._parked: list[int] = []

    def __len__(self) -> int:
        return len(self._index)

    @property
    def nbytes(self) -> int:
        """Bytes in use, ids included; rows never touched take no memory and do not count."""
        rows = len(self._index.ids)
        return rows * (4 * self._states.shape[1] + 80) + self._index.nbytes

    def reserve(self, count: int) -> None:
        """Make room for ``count`` items and some more: what is not touched costs nothing."""
        self.evicts |= count > self.max_items
        count = min(count, self.max_items)
        self._index.reserve(count)
        self._grow(count + count // 4)

    def rows(self, item_ids: Sequence[str]) -> Rows:
        """Return the row of each id (N,), ``MISSING`` if not held; notes their use."""
        rows = self._index.rows(item_ids)
        if self.evicts:
            self._tick += 1
            self._used[rows[rows != MISSING]] = self._tick
        return rows

    def put(self, item_ids: Sequence[str], states: Array, cold: Flags) -> Rows:
        """Hold states (N, S) of distinct ids; return their rows (N,), ``MISSING`` if refused."""
        if self._scans:  # what a scan reads stays as it is: changed items move to other rows
            self.drop(item_ids)
        new = int((self._index.rows(item_ids) == MISSING).sum())
        if (over := len(self) + new - self.max_items) > 0:
            self._evict(over)
        rows = self._index.add(item_ids)
        self._grow(len(self._index.ids))
        fine = rows != MISSING
        kept = rows[fine]
        self._states[kept], self._cold[kept], self._held[kept] = states[fine], cold[fine], True
        self._used[kept], self._fresh[kept] = self._tick, True
        return rows

    def drop(self, item_ids: Sequence[str]) -> None:
        """Forget ids; unknown ones are fine."""
        rows = self._index.remove(item_ids)
        self._held[rows] = False
        if self._scans:
            self._parked.extend(rows.tolist())
        else:
            self._index.release(rows.tolist())

    def gather(self, item_ids: Sequence[str], rows: Rows) -> Pool:
        """Return copies of the states of ``rows`` (N,), those that are there."""
        found = rows != MISSING
        missing: list[str] = []
        if not found.all():
            missing = [item_ids[n] for n in np.flatnonzero(~found).tolist()]
            item_ids = [item_ids[n] for n in np.flatnonzero(found).tolist()]
            rows = rows[found]
        tiles = np.zeros(-(-len(rows) // TILE_ROWS) * TILE_ROWS, np.int64)  # the rest: any row
        tiles[: len(rows)] = rows
        return Pool(item_ids, self._states.take(tiles, axis=0), self._cold[rows], None, missing)

    def states(self, rows: Rows) -> Array:
        """Return copies of the states (N, S) of ``rows``, none of them ``MISSING``."""
        return self._states[rows]

    def held_ids(self) -> list[str]:
        """Return the ids of all items."""
        return self._ids(self._held)

    def begin_reading(self) -> None:
        """From here on an item is stale until it is put again."""
        self._fresh[:] = False

    def stale(self, item_ids: Sequence[str]) -> list[str]:
        """Return which distinct ids are not held or stale."""
        rows = self._index.rows(item_ids)
        fresh = self._fresh[rows] & (rows != MISSING)
        return [item_ids[n] for n in np.flatnonzero(~fresh).tolist()]

    def drop_stale(self) -> None:
        """Forget what was not put since the reading began."""
        self.drop(self._ids(self._held & ~self._fresh))

    def _ids(self, chosen: Flags) -> list[str]:
        return [self._index.ids[row] for row in np.flatnonzero(chosen).tolist()]

    def begin_scan(self, excluded: Sequence[str]) -> Pool:
        """Return all items less ``excluded``, without a copy; nothing of it moves until the end."""
        self._scans += 1
        held = self._held[: len(self._index.ids)].copy()
        rows = self._index.rows(excluded)
        held[rows[rows != MISSING]] = False
        size = len(held)
        states = self._states[: -(-size // TILE_ROWS) * TILE_ROWS]
        return Pool(self._index.ids, states, self._cold[:size], held)

    def end_scan(self) -> None:
        """Give the rows free that a scan had kept."""
        self._scans -= 1
        if not self._scans:
            self._index.release(self._parked)
            self._parked = []

    def _evict(self, count: int) -> None:
        """Drop the ``count`` or more items that were used least lately."""
        self.evicts = True
        rows = np.flatnonzero(self._held)
        count = min(len(rows), max(count, len(rows) // _EVICTED_SHARE))
        if count:
            oldest = rows[np.argpartition(self._used[rows], count - 1)[:count]]
            self.drop([self._index.ids[row] for row in oldest.tolist()])

    def _grow(self, count: int) -> None:
        """Have at least ``count`` rows, a whole number of tiles; pages come with first use."""
        if count <= len(self._states):
            return
        capacity = -(-max(count, len(self._states) * 5 // 4, 1024) // TILE_ROWS) * TILE_ROWS
        for name in ("_states", "_cold", "_held", "_used", "_fresh"):
            old = getattr(self, name)
            new = np.zeros((capacity, *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)
