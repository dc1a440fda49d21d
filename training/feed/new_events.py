"""The counted events that have come into the files: what live counting reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.data import parquet
from training.feed.counts import COLUMNS, EVENT, countable
from training.feed.log_files import EVENTS, EntryId, LogFolder, current
from training.feed.specification import Feed


class NewEvents:
    """Reads each distinct event of the counted kinds once, whichever worker wrote it.

    Equal events have the same time, so copies are looked for within a partition alone. A partition
    keeps 64-bit hashes of its events. They also tell what a compacted file has that is new.
    """

    def __init__(self, log: LogFolder, feed: Feed) -> None:
        self._log, self._feed = log, feed
        self._read: dict[tuple[Path, int], EntryId] = {}  # partition, shard -> its last entry read
        self._hashes: dict[Path, NDArray[np.uint64]] = {}  # partition -> hashes, sorted

    def read(self, now_ms: int) -> pl.DataFrame:
        """Return what came since the last call of all that a window may hold now."""
        since_ms = now_ms - self._feed.longest_ms - self._feed.bucket - self._feed.late
        folders = [folder for _, folder in self._log.partitions(EVENTS, since_ms)]
        for old in self._hashes.keys() - set(folders):
            del self._hashes[old]
        parts = [part for folder in folders if len(part := self._partition(folder))]
        return pl.concat(parts) if parts else pl.DataFrame(schema=dict.fromkeys(COLUMNS, pl.Null))

    def _partition(self, folder: Path) -> pl.DataFrame:
        new = [
            file
            for file in current(folder)
            if file.last > self._read.get((folder, file.shard), (-1, 0))
        ]
        if not new:
            return pl.DataFrame()
        table = parquet.scan(*(file.path for file in new))
        try:
            rows = countable(self._feed, table, self._feed.counted).select(COLUMNS).collect()
        except FileNotFoundError:  # compacted meanwhile: the next call reads it
            return pl.DataFrame()
        for file in new:
            self._read[folder, file.shard] = file.last
        if not len(rows):
            return rows
        rows = rows.sort("arrived_ms").unique(EVENT, keep="first", maintain_order=True)
        hashes = rows.select(EVENT).hash_rows().to_numpy()
        known = self._hashes.get(folder, np.zeros(0, np.uint64))
        fresh = ~np.isin(hashes, known)
        self._hashes[folder] = np.union1d(known, hashes)
        return rows.filter(fresh)
