"""Encoded item states in memory: id -> row, filled from the store, kept fresh by its changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from service.contract.keys import Keys
from service.contract.records import decode, mask_matrix
from service.errors import StoreError, StoreTimeoutError
from service.scorer import Scorer
from service.store import RedisStore
from service.telemetry import Telemetry

MISSING = -1
_MAX_ABSENT = 100_000
_RETRY_S = 0.5

log = logging.getLogger(__name__)

Rows = NDArray[np.int64]


class Catalog:
    """The items of one model. All methods run on the event loop; arrays are never handed out.

    An item is encoded when its record is read: at preload, when the change stream names it, or
    when a request names an item not held. Reads take turns, so an old one never overwrites a new.
    """

    def __init__(
        self, store: RedisStore, scorer: Scorer, keys: Keys, telemetry: Telemetry, chunk: int
    ) -> None:
        self._store = store
        self._scorer = scorer
        self._keys = keys
        self._telemetry = telemetry
        self._chunk = chunk
        self._manifest = scorer.artifact.manifest
        self._label = scorer.artifact.label
        self._row: dict[str, int] = {}
        self._free: list[int] = []
        self._states = np.zeros((0, self._manifest.state_dim), np.float32)
        self._cold = np.zeros(0, np.bool_)
        self._absent: set[str] = set()
        self._everything: tuple[list[str], Rows] | None = None
        self._reading = asyncio.Lock()
        self._position = ("0-0", "0-0")

    def __len__(self) -> int:
        return len(self._row)

    async def preload(self) -> None:
        """Read and encode the whole catalogue; drop what the store holds no longer.

        A store that suddenly holds nothing has lost its data: what is in memory is kept.
        """
        position = await self._store.change_position(self._keys)
        total = await self._store.catalog_size(self._keys)
        if not total and self._row:
            log.error("%s: the store lost all items, ranking from memory", self._label)
            self._position = position
            return
        gone = set(self._row)
        self._absent.clear()
        async for item_ids in self._store.catalog_ids(self._keys, self._chunk):
            await self._read(item_ids)
            gone.difference_update(item_ids)
            log.info("%s: %d of %d items encoded", self._label, len(self), total)
        self._forget(gone)
        self._position = position  # only now: a read that failed half way is begun again

    async def follow(self) -> None:
        """Re-read what the change stream names, for ever; after a gap, everything."""
        while True:
            try:
                changes = await self._store.changes(self._keys, self._position)
                if changes.gap:  # position moves once everything was read
                    log.warning("%s: changes were lost, reading all items again", self._label)
                    await self.preload()
                    self._telemetry.catalog_changes.labels(self._label, "gap").inc(len(self))
                    continue
                if changes.item_ids:
                    for start in range(0, len(changes.item_ids), self._chunk):
                        await self._read(changes.item_ids[start : start + self._chunk])
                    count = len(changes.item_ids)
                    self._telemetry.catalog_changes.labels(self._label, "change").inc(count)
                self._position = changes.position
            except StoreError as error:
                log.warning("%s: not following changes: %s", self._label, error)
                await asyncio.sleep(_RETRY_S)
            except Exception:
                log.exception("%s: reading changes failed, trying again", self._label)
                await asyncio.sleep(_RETRY_S)

    async def rows(self, item_ids: Sequence[str], timeout_s: float) -> Rows:
        """Return the row of each id (N,), ``MISSING`` where the store has none.

        Only ids not held are asked of the store, and those it lacked before are not asked again
        until a change names them. Raises StoreError if it does not answer in ``timeout_s``,
        waiting for other reads included.
        """
        unheld = [i for i in item_ids if i not in self._row and i not in self._absent]
        if unheld:
            await self._read(unheld, timeout_s)
        return self.held_rows(item_ids)

    def held_rows(self, item_ids: Sequence[str]) -> Rows:
        """Return the row of each id (N,) without asking the store; ``MISSING`` if not held."""
        row = self._row
        return np.fromiter((row.get(i, MISSING) for i in item_ids), np.int64, len(item_ids))

    def everything(self) -> tuple[list[str], Rows]:
        """Return all ids held and their rows (N,)."""
        if self._everything is None:
            rows = np.fromiter(self._row.values(), np.int64, len(self._row))
            self._everything = (list(self._row), rows)
        return self._everything

    def states(self, rows: Rows) -> NDArray[np.float32]:
        """Return a copy of the states (N, S) of ``rows``, none of them ``MISSING``."""
        return self._states[rows]

    def cold(self, rows: Rows) -> NDArray[np.bool_]:
        """Return whether the items (N,) lack what the model learned per item id."""
        return self._cold[rows]

    async def _read(self, item_ids: Sequence[str], timeout_s: float | None = None) -> None:
        try:
            async with asyncio.timeout(timeout_s), self._reading:
                records, proxies = await self._store.items(self._keys, item_ids)
        except TimeoutError as error:
            raise StoreTimeoutError("the store did not answer before the deadline") from error
        self._take(item_ids, records, proxies)

    def _take(
        self,
        item_ids: Sequence[str],
        records: Sequence[bytes | None],
        proxy_records: Sequence[bytes | None],
    ) -> None:
        """Decode, encode and hold what was read; forget what is gone or does not hold."""
        manifest = self._manifest
        items = decode(records, manifest.embedding_dim)
        proxies = decode(proxy_records, len(manifest.proxies), allow_nan=True)
        unknown = ~proxies.present | proxies.corrupt
        proxies.values[unknown] = np.nan
        fine = items.present & ~items.corrupt
        mask = mask_matrix(items.mask[fine], len(manifest.modalities))
        states = self._scorer.encode_items(items.values[fine], mask, proxies.values[fine])
        # One row that is not finite would spoil the order of all others.
        finite = np.isfinite(states).all(axis=1)
        states = states[finite]
        fine[fine] = finite
        for what, refused in (("item", items.present & ~fine), ("proxy", proxies.corrupt)):
            if refused.any():
                self._telemetry.corrupt_records.labels(what).inc(int(refused.sum()))
                first = item_ids[int(refused.argmax())]
                log.warning("%s: refused the %s record of %r", self._label, what, first)
        kept = np.flatnonzero(fine).tolist()
        rows = self._allot([item_ids[index] for index in kept])
        self._states[rows] = states
        self._cold[rows] = (items.mask[kept] & np.uint64(manifest.learned_mask)) == 0
        self._forget(item_ids[index] for index in np.flatnonzero(~fine).tolist())

    def _allot(self, item_ids: Sequence[str]) -> Rows:
        """Return a row for each id, new ones for those not held."""
        for item_id in item_ids:
            if item_id not in self._row:
                self._row[item_id] = self._free.pop() if self._free else len(self._row)
                self._everything = None
        self._absent.difference_update(item_ids)
        if len(self._row) + len(self._free) > len(self._states):
            capacity = max(1024, 2 * (len(self._row) + len(self._free)))
            states = np.zeros((capacity, self._states.shape[1]), np.float32)
            cold = np.zeros(capacity, np.bool_)
            states[: len(self._states)], cold[: len(self._cold)] = self._states, self._cold
            self._states, self._cold = states, cold
        return np.fromiter((self._row[i] for i in item_ids), np.int64, len(item_ids))

    def _forget(self, item_ids: Iterable[str]) -> None:
        for item_id in item_ids:
            if (row := self._row.pop(item_id, None)) is not None:
                self._free.append(row)
                self._everything = None
            if len(self._absent) >= _MAX_ABSENT:
                self._absent.clear()
            self._absent.add(item_id)
        self._telemetry.catalog_items.labels(self._label).set(len(self))
