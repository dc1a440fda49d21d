"""One pass of a worker: from the streams to the files, each entry once whatever dies when.

An entry is acknowledged after its file is on disk. Entries that were read and not acknowledged are
read again, and what files hold of them already is left out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from training.feed.forgotten import (
    GRACE_MS,
    Forgotten,
    finish_forgetting,
    read_forgotten,
    rewrite,
    without,
)
from training.feed.log_files import REJECTED, LogFolder, compact
from training.feed.metrics import Metrics
from training.feed.records import Entry, tables
from training.feed.streams import Standing, Stream, streams
from training.release.store import Client

BATCH = 10_000  # entries of a file at most, before compaction


def unix_ms() -> int:
    """Return the time in Unix milliseconds."""
    return int(time.time() * 1000)


class Collector:
    """Collects the streams of a namespace into a folder; workers of one folder take turns."""

    def __init__(
        self,
        log: LogFolder,
        client: Client,
        namespace: str,
        *,
        metrics: Metrics,
        stop: threading.Event,
        now_ms: Callable[[], int] = unix_ms,
    ) -> None:
        self._log, self._client, self._namespace = log, client, namespace
        self._metrics, self._stop, self._now_ms = metrics, stop, now_ms
        self._recovered: set[int] = set()

    def run(self, batch: int = BATCH) -> int:
        """Collect what the streams hold, in files of up to ``batch`` entries; return their number.

        Shards that another worker holds are left to it. ``stop`` ends the pass after a file.
        """
        forgotten = read_forgotten(self._client, self._namespace)
        present = streams(self._client, self._namespace)
        standings = {stream.key: stream.join() for stream in present}
        self._report(present, standings)
        self._metrics.dropped.inc(sum(standing.dropped for standing in standings.values()))
        collected = 0
        for shard in sorted({stream.shard for stream in present}):
            with self._log.try_shard(shard) as held:
                if held:
                    mine = [stream for stream in present if stream.shard == shard]
                    collected += self._shard(shard, mine, forgotten, batch)
        standings = {stream.key: stream.join() for stream in present}
        self._report(present, standings)
        self._forget(forgotten, list(standings.values()))
        self._metrics.passed.set(self._now_ms() / 1000)
        return collected

    def behind(self) -> int:
        """Return the number of entries that files do not hold yet."""
        return sum(stream.join().entries for stream in streams(self._client, self._namespace))

    def _shard(self, shard: int, mine: Sequence[Stream], forgotten: Forgotten, batch: int) -> int:
        if shard not in self._recovered:
            self._log.recover(shard)
            self._recovered.add(shard)
        collected = 0
        for stream in mine:
            folders: set[Path] = set()
            for read, again in ((stream.pending, True), (stream.new, False)):
                while not self._stop.is_set():
                    entries, ids = read(batch)
                    if not ids:
                        break
                    self._metrics.dropped.inc(len(ids) - len(entries))
                    folders |= self._write(stream, entries, forgotten, again=again)
                    stream.acknowledge(ids)
                    collected += len(entries)
            for folder in folders:
                compact(folder, shard)
            self._metrics.trimmed.inc(stream.trim())
        return collected

    def _write(
        self, stream: Stream, entries: Sequence[Entry], forgotten: Forgotten, *, again: bool
    ) -> set[Path]:
        """Write entries; return the partitions."""
        if not entries:
            return set()
        rows, rejected = tables(stream.kind, entries)
        rows = without(rows, forgotten)
        files = self._log.write(stream.kind, stream.shard, rows, again=again)
        place = f"{REJECTED}/{stream.kind}"
        files += self._log.write(place, stream.shard, rejected, again=again)
        self._metrics.files.inc(len(files))
        self._metrics.records.labels(stream.kind).inc(len(rows))
        self._metrics.rejected.labels(stream.kind).inc(len(rejected))
        return {file.path.parent for file in files}

    def _report(self, present: Sequence[Stream], standings: dict[str, Standing]) -> None:
        now_ms = self._now_ms()
        for kind in {stream.kind for stream in present}:
            mine = [standings[stream.key] for stream in present if stream.kind == kind]
            ages = [now_ms - standing.oldest[0] for standing in mine if standing.oldest]
            self._metrics.lag.labels(kind).set(sum(standing.entries for standing in mine))
            self._metrics.lag_seconds.labels(kind).set(max(0, *ages) / 1000 if ages else 0)

    def _forget(self, forgotten: Forgotten, standings: Sequence[Standing]) -> None:
        """Remove users from the files, once no stream holds anything that they did."""
        waiting = [standing.oldest[0] for standing in standings if standing.oldest]
        until_ms = min([self._now_ms(), *waiting]) - GRACE_MS
        ripe = {user: left for user, left in forgotten.items() if left <= until_ms}
        if ripe:
            rewrite(self._log, ripe)
            finish_forgetting(self._client, self._namespace, until_ms)
