"""The items of one model, encoded in memory: filled from the store, kept fresh by its changes."""

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
_INLINE_ITEMS = 256  # more are encoded off the event loop

log = logging.getLogger(__name__)


class Catalog:
    """Fills an ``ItemTable``. All methods run on the event loop.

    An item is encoded when its record is read: at preload, when the change stream names it, or
    when a request names an item not held. Reads take turns, so an old one never overwrites a new.
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
        self._position = ("0-0", "0-0")
        self._lookups = telemetry.catalog_lookups.labels(self._label)
        self._misses = telemetry.catalog_misses.labels(self._label)
        self._changes = {
            cause: telemetry.catalog_changes.labels(self._label, cause)
            for cause in ("change", "gap")
        }
        self._lag = telemetry.catalog_lag.labels(self._label)
        self._followed = telemetry.catalog_followed.labels(self._label)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def whole(self) -> bool:
        """Whether memory holds all items of the store."""
        return not self._table.evicts

    async def preload(self) -> None:
        """Read and encode the whole catalogue, or what fits; drop what the store holds no longer.

        A store that suddenly holds nothing has lost its data: what is in memory is kept.
        """
        position = await self._store.change_position(self._keys)
        total = await self._store.catalog_size(self._keys)
        if not total and len(self):
            log.error("%s: the store lost all items, ranking from memory", self._label)
            self._position = position
            return
        self._table.reserve(total)
        self._table.begin_reading()
        self._absent.clear()
        told_s = time.monotonic()
        async for item_ids in self._listed():
            await self._read(self._table.stale(item_ids))
            if time.monotonic() - told_s >= _PROGRESS_S:
                told_s = time.monotonic()
                log.info("%s: %d of %d items encoded", self._label, len(self), total)
        self._table.drop_stale()
        self._position = position  # only now: a read that failed half way is begun again
        self._followed.set_to_current_time()
        self._report(total)

    async def follow(self) -> None:
        """Re-read what the change stream names, for ever; after a gap, everything."""
        while True:
            try:
                changes = await self._store.changes(self._keys, self._position)
                if changes.gap:  # position moves once everything was read
                    log.warning("%s: changes were lost, reading all items again", self._label)
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
        rows = self._table.rows(item_ids)
        self._lookups.inc(len(item_ids))
        if (rows == MISSING).any() and (unheld := self._unheld(item_ids)):
            self._misses.inc(len(unheld))
            await self._read(unheld, timeout_s)
            rows = self._table.rows(item_ids)
        return rows

    def held_rows(self, item_ids: Sequence[str]) -> Rows:
        """Return the row of each id (N,) without asking the store; ``MISSING`` if not held."""
        return self._table.rows(item_ids)

    def states(self, rows: Rows) -> NDArray[np.float32]:
        """Return the states (N, S) of ``rows``, none of them ``MISSING``."""
        return self._table.states(rows)

    def gather(self, item_ids: Sequence[str], rows: Rows) -> Pool:
        """Return the states of ``rows`` (N,), those that are there, to be ranked."""
        return self._table.gather(item_ids, rows)

    @contextlib.contextmanager
    def scan(self, excluded: Sequence[str]) -> Iterator[Pool]:
        """Give all items held less ``excluded``; none of it changes within the block."""
        pool = self._table.begin_scan(excluded)
        try:
            yield pool
        finally:
            self._table.end_scan()

    async def _listed(self) -> AsyncIterator[list[str]]:
        """Yield distinct ids to be read in chunks: what the store lists, as far as it fits."""
        if not self.whole and len(self):  # a gap, and more items than fit: just those held
            held = self._table.held_ids()
            for start in range(0, len(held), self._chunk):
                yield held[start : start + self._chunk]
            return
        async for item_ids in self._store.catalog_ids(self._keys, self._chunk):
            distinct = list(dict.fromkeys(item_ids))
            yield distinct if self.whole else distinct[: self._table.max_items - len(self)]
            if not self.whole and len(self) >= self._table.max_items:
                return

    def _unheld(self, item_ids: Sequence[str]) -> list[str]:
        """Return distinct ids that are not held and that the store may have."""
        rows = self._table.rows(item_ids)
        unheld = [item_ids[n] for n in np.flatnonzero(rows == MISSING).tolist()]
        return [i for i in dict.fromkeys(unheld) if i not in self._absent]

    def _held(self, item_ids: Sequence[str]) -> list[str]:
        rows = self._table.rows(item_ids)
        return [item_ids[n] for n in np.flatnonzero(rows != MISSING).tolist()]

    async def _read(self, item_ids: Sequence[str], timeout_s: float | None = None) -> None:
        """Read, encode and hold items; with a timeout only those still unheld when it is its turn.

        The timeout is for the turn and the store.
        """
        try:
            async with asyncio.timeout(timeout_s) as limit, self._reading:
                if timeout_s is not None:
                    item_ids = self._unheld(item_ids)
                if not item_ids:
                    return
                records, proxies = await self._store.items(self._keys, item_ids)
                limit.reschedule(None)
                await self._take(item_ids, records, proxies)
        except TimeoutError as error:
            raise StoreTimeoutError("the store did not answer before the deadline") from error

    async def _take(
        self,
        item_ids: Sequence[str],
        records: Sequence[bytes | None],
        proxies: Sequence[bytes | None],
    ) -> None:
        """Encode and hold what was read; forget what is gone or does not hold."""
        work = (self._encoder, self._telemetry, item_ids, records, proxies)
        if len(item_ids) > _INLINE_ITEMS:
            encoded = await asyncio.to_thread(encode_items, *work)
        else:
            encoded = encode_items(*work)
        kept = [item_ids[n] for n in np.flatnonzero(encoded.fine).tolist()]
        gone = [item_ids[n] for n in np.flatnonzero(~encoded.fine).tolist()]
        self._table.put(kept, encoded.states, encoded.cold)
        self._table.drop(gone)
        if len(self._absent) + len(gone) > _MAX_ABSENT:
            self._absent.clear()
        self._absent.update(gone)
        self._absent.difference_update(kept)
        self._telemetry.catalog_items.labels(self._label).set(len(self))
        self._telemetry.catalog_bytes.labels(self._label).set(self._table.nbytes)

    def _report(self, total: int) -> None:
        count, nbytes = len(self), self._table.nbytes
        log.info(
            "%s: %d of %d items encoded, %.1f MB, %d bytes an item",
            *(self._label, count, total, nbytes / 1e6, nbytes // max(1, count)),
        )
        if not self.whole:
            log.warning(
                "%s: RANK_CATALOG_MAX_BYTES has room for %d of %d items; the others are read "
                "when requests name them",
                *(self._label, self._table.max_items, total),
            )
