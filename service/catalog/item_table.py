"""Item states as one array in memory, safe to change while rankings read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.catalog import lookup
from service.catalog.id_index import IdIndex
from service.catalog.lookup import MISSING, Rows

TILE_ROWS = 64  # the scorer multiplies whole tiles of states
# Memory of an item beyond its state: id, entries in lists and index, flags. Measured with ids of
# 13 letters.
OVERHEAD_BYTES = 160
_EVICTED_SHARE = 64  # at least 1 / 64 of the items are evicted at a time

Flags = NDArray[np.bool_]
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Pool:
    """The items that one request ranks: N places, each with an id, a state and a cold flag.

    ``states`` is (N', S), where N' >= N is a whole number of tiles. A place is empty where
    ``held`` (N,) is False; None means that all places hold an item. ``missing`` are the requested
    ids without a state.
    """

    item_ids: Sequence[str]
    states: Array
    cold: Flags
    held: Flags | None = None
    missing: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The number N of places."""
        return len(self.cold)

    @property
    def count(self) -> int:
        """The number of places that hold an item."""
        return self.size if self.held is None else int(self.held.sum())


class ItemTable:
    """Rows of item states and traces.

    Beyond ``max_bytes`` the least recently used items are evicted. Traces are apart: no score reads
    them. ``trace_dim`` is 0 where known users do not move.
    """

    def __init__(self, state_dim: int, max_bytes: int, trace_dim: int = 0) -> None:
        self.max_items = max(1, max_bytes // (4 * (state_dim + trace_dim) + OVERHEAD_BYTES))
        self.evicts = False  # True once not all items fit
        self._index = IdIndex()
        self._states = np.zeros((0, state_dim), np.float32)
        self._traces = np.zeros((0, trace_dim), np.float32)
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
        """Bytes in use, ids included. Rows that were never written do not count."""
        rows = len(self._index.ids)
        values = self._states.shape[1] + self._traces.shape[1]
        return rows * (4 * values + 80) + self._index.nbytes

    def reserve(self, count: int) -> None:
        """Make room for ``count`` items and a quarter more; unwritten rows cost nothing."""
        self.evicts |= count > self.max_items
        count = min(count, self.max_items)
        self._index.reserve(count)
        self._grow(count + count // 4)

    def rows(self, item_ids: Sequence[str]) -> Rows:
        """Return the row of each id (N,), ``MISSING`` if unknown, and mark the items as used."""
        rows = self._index.rows(item_ids)
        if self.evicts:
            self._tick += 1
            self._used[rows[rows != MISSING]] = self._tick
        return rows

    def put(
        self, item_ids: Sequence[str], states: Array, cold: Flags, traces: Array | None = None
    ) -> Rows:
        """Store states (N, S) and traces (N, H) of distinct ids.

        Return their rows (N,), ``MISSING`` if refused.
        """
        if self._scans:  # a scan reads the old rows: changed items move to other rows
            self.drop(item_ids)
        new = int((self._index.rows(item_ids) == MISSING).sum())
        if (excess := len(self) + new - self.max_items) > 0:
            self._evict(excess)
        rows = self._index.add(item_ids)
        self._grow(len(self._index.ids))
        accepted = rows != MISSING
        target = rows[accepted]
        self._states[target], self._cold[target] = states[accepted], cold[accepted]
        if traces is not None:
            self._traces[target] = traces[accepted]
        self._held[target], self._fresh[target] = True, True
        self._used[target] = self._tick
        return rows

    def drop(self, item_ids: Sequence[str]) -> None:
        """Remove ids; unknown ones are ignored."""
        rows = self._index.remove(item_ids)
        self._held[rows] = False
        if self._scans:
            self._parked.extend(rows.tolist())
        else:
            self._index.release(rows.tolist())

    def gather(self, item_ids: Sequence[str], rows: Rows) -> Pool:
        """Return a pool of the distinct items with copies of the states of ``rows`` (N,).

        Ids whose row is ``MISSING`` go to ``Pool.missing``.
        """
        states, missing = self._tiles(len(rows)), []
        if not lookup.copy_rows(self._states, rows, states):  # an item repeats or is missing
            distinct = list(dict.fromkeys(item_ids))
            rows = self._index.rows(distinct)
            present = rows != MISSING
            missing = [distinct[n] for n in np.flatnonzero(~present).tolist()]
            item_ids = [distinct[n] for n in np.flatnonzero(present).tolist()]
            rows = rows[present]
            states = self._tiles(len(rows))
            lookup.copy_rows(self._states, rows, states)
        return Pool(item_ids, states, self._cold.take(rows), None, missing)

    def states(self, rows: Rows) -> Array:
        """Return copies of the states (N, S) of ``rows``, none of them ``MISSING``."""
        return self._states[rows]

    def traces(self, rows: Rows) -> Array:
        """Return copies of the traces (N, H) of ``rows``, none of them ``MISSING``."""
        return self._traces[rows]

    def held_ids(self) -> list[str]:
        """Return the ids of all items."""
        return self._ids(self._held)

    def begin_reading(self) -> None:
        """Mark all items as stale; ``put`` makes an item fresh."""
        self._fresh[:] = False

    def stale(self, item_ids: Sequence[str]) -> list[str]:
        """Return those of the distinct ids that are unknown or stale."""
        rows = self._index.rows(item_ids)
        fresh = self._fresh[rows] & (rows != MISSING)
        return [item_ids[n] for n in np.flatnonzero(~fresh).tolist()]

    def stale_ids(self) -> list[str]:
        """Return the ids of the items that were not put since ``begin_reading``."""
        return self._ids(self._held & ~self._fresh)

    def _tiles(self, count: int) -> Array:
        """Return room for the states of ``count`` items, in whole tiles."""
        rows = -(-count // TILE_ROWS) * TILE_ROWS
        return np.empty((rows, self._states.shape[1]), np.float32)

    def _ids(self, chosen: Flags) -> list[str]:
        return [self._index.ids[row] for row in np.flatnonzero(chosen).tolist()]

    def begin_scan(self, excluded: Sequence[str]) -> Pool:
        """Return a pool of all items except ``excluded``, without a copy of their states.

        The pool does not change until ``end_scan``.
        """
        self._scans += 1
        held = self._held[: len(self._index.ids)].copy()
        rows = self._index.rows(excluded)
        held[rows[rows != MISSING]] = False
        size = len(held)
        states = self._states[: -(-size // TILE_ROWS) * TILE_ROWS]
        return Pool(self._index.ids, states, self._cold[:size], held)

    def end_scan(self) -> None:
        """End a scan; after the last one, rows of items removed meanwhile may be reused."""
        self._scans -= 1
        if not self._scans:
            self._index.release(self._parked)
            self._parked = []

    def _evict(self, count: int) -> None:
        """Drop at least ``count`` items, the least recently used ones."""
        self.evicts = True
        rows = np.flatnonzero(self._held)
        count = min(len(rows), max(count, len(rows) // _EVICTED_SHARE))
        if count:
            oldest = rows[np.argpartition(self._used[rows], count - 1)[:count]]
            self.drop([self._index.ids[row] for row in oldest.tolist()])

    def _grow(self, count: int) -> None:
        """Make at least ``count`` rows, in whole tiles; the first write to a row takes memory."""
        if count <= len(self._states):
            return
        capacity = -(-max(count, len(self._states) * 5 // 4, 1024) // TILE_ROWS) * TILE_ROWS
        for name in ("_states", "_traces", "_cold", "_held", "_used", "_fresh"):
            old = getattr(self, name)
            new = np.zeros((capacity, *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)
