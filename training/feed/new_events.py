"""The counted events that have come into the files: what live counting reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.data import parquet
from training.feed.counts import COLUMNS, EVENT, countable
from training.feed.log_files import EVENTS, EntryId, LogFile, LogFolder, current
from training.feed.specification import Feed


class NewEvents:
    """Reads each distinct event of the counted kinds once, whichever worker wrote it.

    Equal events have the same time, so copies are looked for within a partition alone. A partition
    keeps 64-bit hashes of its events.
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
        try:
            rows = pl.concat([self._rows(folder, file) for file in new]) if new else pl.DataFrame()
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

    def _rows(self, folder: Path, file: LogFile) -> pl.DataFrame:
        rows = countable(self._feed, parquet.scan(file.path), self._feed.counted)
        last = self._read.get((folder, file.shard))
        if last is not None and file.first <= last:  # it replaces files that were read
            millis, sequence = pl.col("arrived_ms"), pl.col("sequence")
            rows = rows.filter((millis > last[0]) | ((millis == last[0]) & (sequence > last[1])))
        return rows.select(COLUMNS).collect()
