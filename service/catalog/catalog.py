"""The catalogue of one model: its items, read from the store and encoded in memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import weakref
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

from service.catalog.encode import ItemEncoder, encode_items
from service.catalog.item_reads import BATCH_ITEMS, ItemReads, Records
from service.catalog.item_table import ItemTable, Pool
from service.catalog.lookup import MISSING, Rows
from service.contract.keys import Keys
from service.errors import StoreError, StoreOverloadedError
from service.store.limit import Limit
from service.store.records import RedisStore
from service.telemetry import Telemetry

_MAX_ABSENT = 100_000
_RETRY_S = 0.5
_PROGRESS_S = 1.0
_MOST_READ = 1000  # items read for one request: absent ones cost as much as others

log = logging.getLogger(__name__)


class Catalog:
    """Fills an ``ItemTable`` from the store. All methods run on the event loop.

    An item is read and encoded at preload, when the change stream names it, and when a request
    names it while it is not in memory. It leaves memory once the store neither lists it nor has a
    valid record of it. An item that the store lists without a valid record is lost, not removed:
    its state stays.
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
        read_queue: int,
        traced: bool = False,
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._keys = keys
        self._telemetry = telemetry
        self._chunk = chunk
        self._label = encoder.artifact.label
        manifest = encoder.artifact.manifest
        self._traced = traced and manifest.moves_users
        trace_dim = manifest.trace_dim if self._traced else 0
        self._table = ItemTable(manifest.state_dim, max_bytes, trace_dim)
        self._absent: set[str] = set()
        self._lost: set[str] = set()
        catalog = weakref.proxy(self)  # a cycle would keep a dropped model in memory
        self._reads = ItemReads(
            lambda item_ids: catalog._fetch(item_ids),
            lambda item_ids, records: catalog._keep(item_ids, records),
            lambda item_ids: catalog._unread(item_ids),
            read_queue,
        )
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
        self._lost_items = telemetry.catalog_lost.labels(self._label)
        self._lag = telemetry.catalog_lag.labels(self._label)
        self._followed = telemetry.catalog_followed.labels(self._label)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def whole(self) -> bool:
        """Whether all items of the store fit in memory."""
        return not self._table.evicts

    @property
    def lost(self) -> AbstractSet[str]:
        """The ids of the items that the store has lost; some have a state in memory."""
        return self._lost

    async def preload(self) -> None:
        """Read and encode the whole catalogue, or as much as fits; drop items that were removed.

        A store that lists no item has lost its data: the items in memory stay.
        """
        position = await self._store.change_position(self._keys)
        total = await self._store.catalog_size(self._keys)
        if not total and len(self):
            log.error(
                "%s: the store has lost all items; rankings use those in memory. Publish again",
                self._label,
            )
            self._lost.update(self._table.held_ids())
            self._position = position
            self._measure()
            return
        self._table.reserve(total)
        self._table.begin_reading()
        self._absent.clear()
        unsure = set(self._lost)  # whether they are still lost
        logged_s = time.monotonic()
        async for item_ids in self._ids_to_read():
            await self._reads.read(self._table.stale(item_ids))
            unsure.difference_update(item_ids)
            if time.monotonic() - logged_s >= _PROGRESS_S:
                logged_s = time.monotonic()
                log.info("%s: %d of %d items encoded", self._label, len(self), total)
        await self._read_unlisted(list({*self._table.stale_ids()} - self._lost | unsure))
        self._measure()
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
                changed = list(changes.item_ids) if self.whole else self._known(changes.item_ids)
                for start in range(0, len(changed), self._chunk):
                    await self._reads.read(changed[start : start + self._chunk])
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

    async def close(self) -> None:
        """End the read for requests that is in flight."""
        await self._reads.close()

    async def rows(self, item_ids: Sequence[str], limit: Limit) -> Rows:
        """Return the row of each id (N,), ``MISSING`` for an id without a valid record.

        Ids that are not in memory are read from the store, ``_MOST_READ`` at most. An id without a
        record is not read again until a change names it. Raises StoreError if the store does not
        answer within ``limit``, which includes the wait for other reads, and StoreOverloadedError
        if not all of them could be read.
        """
        rows = self._table.rows(item_ids)
        self._lookups.inc(len(item_ids))
        if np.count_nonzero(rows == MISSING) and (unread := self._unread(item_ids)):
            self._misses.inc(len(unread))
            try:
                await self._reads.share(unread[:_MOST_READ], limit)
                if len(unread) > _MOST_READ:
                    raise StoreOverloadedError(
                        f"{len(unread)} items are not in memory; {_MOST_READ} of them were read"
                    )
            except StoreOverloadedError:
                self._telemetry.shed["items"].inc()
                raise
            rows = self._table.rows(item_ids)
        return rows

    def held_rows(self, item_ids: Sequence[str]) -> Rows:
        """Return the row of each id (N,), ``MISSING`` if not in memory; the store is not read."""
        return self._table.rows(item_ids)

    def states(self, rows: Rows) -> NDArray[np.float32]:
        """Return the states (N, S) of ``rows``, none of them ``MISSING``."""
        return self._table.states(rows)

    def traces(self, rows: Rows) -> NDArray[np.float32]:
        """Return the traces (N, H) of ``rows``, none of them ``MISSING``."""
        return self._table.traces(rows)

    def gather(self, item_ids: Sequence[str], rows: Rows) -> Pool:
        """Return a pool of the distinct items of ``rows`` (N,), ``MISSING`` ones apart."""
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

    def _known(self, item_ids: Sequence[str]) -> list[str]:
        """Return those of the ids that are in memory or lost."""
        held = self._table.rows(item_ids) != MISSING
        return [i for i, is_held in zip(item_ids, held, strict=True) if is_held or i in self._lost]

    async def _read_unlisted(self, item_ids: Sequence[str]) -> None:
        """Read items that were in memory or lost, and that the store does not list.

        Removed ones have no record either. Those with a record are lost to the list alone.
        """
        for start in range(0, len(item_ids), self._chunk):
            chunk = item_ids[start : start + self._chunk]
            await self._reads.read(chunk)
            if known := self._known(chunk):
                listed, _ = await self._store.listed(self._keys, known)
                self._lose([i for i, is_listed in zip(known, listed, strict=True) if not is_listed])

    async def _fetch(self, item_ids: Sequence[str]) -> Records:
        return await self._store.items(self._keys, item_ids)

    async def _keep(self, item_ids: Sequence[str], records: Records) -> None:
        """Encode records and put the states in memory; drop items that were removed."""
        work = (self._encoder, self._telemetry, item_ids, *records)
        if len(item_ids) > BATCH_ITEMS:
            encoded = await asyncio.to_thread(encode_items, *work, traced=self._traced)
        else:
            encoded = encode_items(*work, traced=self._traced)
        valid = [item_ids[n] for n in np.flatnonzero(encoded.valid).tolist()]
        self._table.put(valid, encoded.states, encoded.cold, encoded.traces)
        self._absent.difference_update(valid)
        self._lost.difference_update(valid)
        if len(valid) < len(item_ids):
            await self._settle([item_ids[n] for n in np.flatnonzero(~encoded.valid).tolist()])
        self._measure()

    async def _settle(self, item_ids: Sequence[str]) -> None:
        """Note items without a valid record as lost, or drop them, as the store lists them or not.

        Where the store lists no item at all, those in memory are lost.
        """
        listed, size = await self._store.listed(self._keys, item_ids)
        held = (self._table.rows(item_ids) != MISSING).tolist()
        lost = {
            item_id
            for item_id, is_listed, is_held in zip(item_ids, listed, held, strict=True)
            if is_listed or (is_held and not size)
        }
        removed = [item_id for item_id in item_ids if item_id not in lost]
        self._lose(lost - self._lost)
        self._lost.difference_update(removed)
        self._table.drop(removed)
        if len(self._absent) + len(item_ids) > _MAX_ABSENT:
            self._absent.clear()
        self._absent.update(item_ids)

    def _lose(self, item_ids: Collection[str]) -> None:
        if item_ids and not self._lost:
            log.error(
                "%s: the store has lost items, the first is %r; rankings use what is in memory. "
                "Publish again with --fresh",
                *(self._label, min(item_ids)),
            )
        self._lost.update(item_ids)

    def _measure(self) -> None:
        self._items.set(len(self))
        self._bytes.set(self._table.nbytes)
        self._lost_items.set(len(self._lost))

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
