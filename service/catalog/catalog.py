"""The catalogue of one model: its items, read from the store and encoded in memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from service.catalog.encode import ItemEncoder, encode_items
from service.catalog.id_index import MISSING, Rows
from service.catalog.item_table import ItemTable, Pool
from service.contract.keys import Keys
from service.errors import StoreError, StoreTimeoutError
from service.store.records import RedisStore
from service.telemetry import Telemetry

_MAX_ABSENT = 100_000
_RETRY_S = 0.5
_PROGRESS_S = 1.0
_INLINE_ITEMS = 256  # larger batches are encoded off the event loop

log = logging.getLogger(__name__)


class Catalog:
    """Fills an ``ItemTable`` from the store. All methods run on the event loop.

    An item is read and encoded at preload, when the change stream names it, and when a request
    names it while it is not in memory. Reads take turns, so that no old record overwrites a newer
    one.
    """

    def __init__(
        self,
        store: RedisStore,
        encoder: ItemEncoder,
        keys: Keys,
        telemetry: Telemetry,
        *,
        chunk: int,
        max_bytes: int,
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._keys = keys
        self._telemetry = telemetry
        self._chunk = chunk
        self._label = encoder.artifact.label
        self._table = ItemTable(encoder.artifact.manifest.state_dim, max_bytes)
        self._absent: set[str] = set()
        self._reading = asyncio.Lock()
        self._stopped = False
        self._position = ("0-0", "0-0")
        self._lookups = telemetry.catalog_lookups.labels(self._label)
        self._misses = telemetry.catalog_misses.labels(self._label)
        self._changes = {
            cause: telemetry.catalog_changes.labels(self._label, cause)
            for cause in ("change", "gap")
        }
        self._items = telemetry.catalog_items.labels(self._label)
        self._bytes = telemetry.catalog_bytes.labels(self._label)
        self._lag = telemetry.catalog_lag.labels(self._label)
        self._followed = telemetry.catalog_followed.labels(self._label)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def whole(self) -> bool:
        """Whether all items of the store fit in memory."""
        return not self._table.evicts

    async def preload(self) -> None:
        """Read and encode the whole catalogue, or as much as fits; drop items no longer listed.

        A store that lists no item has lost its data: the items in memory stay.
        """
        position = await self._store.change_position(self._keys)
        total = await self._store.catalog_size(self._keys)
        if not total and len(self):
            log.error(
                "%s: the store has lost all items; rankings use those in memory. Publish again",
                self._label,
            )
            self._position = position
            return
        self._table.reserve(total)
        self._table.begin_reading()
        self._absent.clear()
        logged_s = time.monotonic()
        async for item_ids in self._ids_to_read():
            await self._read(self._table.stale(item_ids))
            if time.monotonic() - logged_s >= _PROGRESS_S:
                logged_s = time.monotonic()
                log.info("%s: %d of %d items encoded", self._label, len(self), total)
        self._table.drop_stale()
        self._position = position  # only now: a preload that fails in between starts again
        self._followed.set_to_current_time()
        self._report(total)

    async def follow(self) -> None:
        """Read changed items again until ``stop``; after a gap, read the whole catalogue again."""
        while not self._stopped:
            try:
                changes = await self._store.changes(self._keys, self._position)
                if changes.gap:  # the position moves once all items are read
                    log.warning("%s: changes were lost; reading all items again", self._label)
                    await self.preload()
                    self._changes["gap"].inc(len(self))
                    continue
                self._absent.difference_update(changes.item_ids)
                changed = list(changes.item_ids) if self.whole else self._held(changes.item_ids)
                for start in range(0, len(changed), self._chunk):
                    await self._read(changed[start : start + self._chunk])
                self._changes["change"].inc(len(changed))
                self._position = changes.position
                if changes.oldest_ms is not None:
                    self._lag.observe(max(0.0, time.time() - changes.oldest_ms / 1000))
                self._followed.set_to_current_time()
            except StoreError as error:
                log.warning("%s: cannot read changes: %s; trying again", self._label, error)
                await asyncio.sleep(_RETRY_S)
            except Exception:
                log.exception("%s: reading changes failed; trying again", self._label)
                await asyncio.sleep(_RETRY_S)

    def stop(self) -> None:
        """Let ``follow`` end, at the latest after the read that it waits for.

        A cancelled task keeps the catalogue in memory: its exception refers to the frames of
        ``follow``, and asyncio's timeouts in them refer to the task.
        """
        self._stopped = True

    async def rows(self, item_ids: Sequence[str], timeout_s: float) -> Rows:
        """Return the row of each id (N,), ``MISSING`` for an id without a valid record.

        Ids that are not in memory are read from the store. An id without a record is not read
        again until a change names it. Raises StoreError if the store does not answer within
        ``timeout_s`` seconds, which include the wait for other reads.
        """
        rows = self._table.rows(item_ids)
        self._lookups.inc(len(item_ids))
        if (rows == MISSING).any() and (unread := self._unread(item_ids)):
            self._misses.inc(len(unread))
            await self._read(unread, timeout_s)
            rows = self._table.rows(item_ids)
        return rows

    def held_rows(self, item_ids: Sequence[str]) -> Rows:
        """Return the row of each id (N,), ``MISSING`` if not in memory; the store is not read."""
        return self._table.rows(item_ids)

    def states(self, rows: Rows) -> NDArray[np.float32]:
        """Return the states (N, S) of ``rows``, none of them ``MISSING``."""
        return self._table.states(rows)

    def gather(self, item_ids: Sequence[str], rows: Rows) -> Pool:
        """Return a pool of the items of ``rows`` (N,); ``MISSING`` ones go to ``Pool.missing``."""
        return self._table.gather(item_ids, rows)

    @contextlib.contextmanager
    def scan(self, excluded: Sequence[str]) -> Iterator[Pool]:
        """Yield a pool of all items in memory except ``excluded``, constant within the block."""
        pool = self._table.begin_scan(excluded)
        try:
            yield pool
        finally:
            self._table.end_scan()

    async def _ids_to_read(self) -> AsyncIterator[list[str]]:
        """Yield chunks of distinct ids to read: those that the store lists, as many as fit."""
        if not self.whole and len(self):  # a gap, and not all items fit: only those in memory
            held = self._table.held_ids()
            for start in range(0, len(held), self._chunk):
                yield held[start : start + self._chunk]
            return
        async for item_ids in self._store.catalog_ids(self._keys, self._chunk):
            distinct = list(dict.fromkeys(item_ids))
            yield distinct if self.whole else distinct[: self._table.max_items - len(self)]
            if not self.whole and len(self) >= self._table.max_items:
                return

    def _unread(self, item_ids: Sequence[str]) -> list[str]:
        """Return the distinct ids that are not in memory and may be in the store."""
        rows = self._table.rows(item_ids)
        absent = [item_ids[n] for n in np.flatnonzero(rows == MISSING).tolist()]
        return [i for i in dict.fromkeys(absent) if i not in self._absent]

    def _held(self, item_ids: Sequence[str]) -> list[str]:
        rows = self._table.rows(item_ids)
        return [item_ids[n] for n in np.flatnonzero(rows != MISSING).tolist()]

    async def _read(self, item_ids: Sequence[str], timeout_s: float | None = None) -> None:
        """Read, encode and store items in memory.

        With a timeout, items that other reads have brought meanwhile are not read again. The
        timeout covers the wait for the turn and the store, not the encoding.
        """
        try:
            async with asyncio.timeout(timeout_s) as limit, self._reading:
                if timeout_s is not None:
                    item_ids = self._unread(item_ids)
                if not item_ids:
                    return
                records, proxies = await self._store.items(self._keys, item_ids)
                limit.reschedule(None)
                await self._encode(item_ids, records, proxies)
        except TimeoutError as error:
            raise StoreTimeoutError("the store did not answer before the deadline") from error

    async def _encode(
        self,
        item_ids: Sequence[str],
        records: Sequence[bytes | None],
        proxies: Sequence[bytes | None],
    ) -> None:
        """Encode records and put the states in memory; drop items without a valid record."""
        work = (self._encoder, self._telemetry, item_ids, records, proxies)
        if len(item_ids) > _INLINE_ITEMS:
            encoded = await asyncio.to_thread(encode_items, *work)
        else:
            encoded = encode_items(*work)
        valid = [item_ids[n] for n in np.flatnonzero(encoded.valid).tolist()]
        absent = [item_ids[n] for n in np.flatnonzero(~encoded.valid).tolist()]
        self._table.put(valid, encoded.states, encoded.cold)
        self._table.drop(absent)
        if len(self._absent) + len(absent) > _MAX_ABSENT:
            self._absent.clear()
        self._absent.update(absent)
        self._absent.difference_update(valid)
        self._items.set(len(self))
        self._bytes.set(self._table.nbytes)

    def _report(self, total: int) -> None:
        count, nbytes = len(self), self._table.nbytes
        log.info(
            "%s: %d of %d items encoded, %.1f MB, %d bytes an item",
            *(self._label, count, total, nbytes / 1e6, nbytes // max(1, count)),
        )
        if not self.whole:
            log.warning(
                "%s: RANK_CATALOG_MAX_BYTES has room for %d of %d items; the others are read when "
                "requests name them. Raise it if rankings of the whole catalogue must be complete",
                *(self._label, self._table.max_items, total),
            )
