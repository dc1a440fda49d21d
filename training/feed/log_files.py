"""The files of the log: hive-partitioned Parquet in which each entry of a stream is once.

``decisions/date=YYYY-MM-DD/hour=HH/`` holds the records of that hour, by their own time in UTC;
``events/`` likewise; ``rejected/decisions/`` and ``rejected/events/`` what is no record, by its
arrival. A file is ``SHARD_FIRST_LAST_LEVEL.parquet``: the range of its entries and how often they
were compacted. In a partition, the ranges of a shard are disjoint, so a file that lies in the range
of a higher level was replaced by it: readers that heed this see each entry once, at any moment.

Only the holder of a shard's lock writes its files. That is never two processes.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from service.contract.files import locked, staged_folder, sync, try_locked, write_atomically
from training.data import parquet
from training.errors import DatasetError

DECISIONS, EVENTS, REJECTED = "decisions", "events", "rejected"
FAN_IN = 16  # files of one level that become one of the next
_LARGE_BYTES = 2**27  # what is not compacted any more: a compaction is in memory
HOUR_MS = 3_600_000
_NAME = re.compile(r"(\d\d)_(\d+)-(\d+)_(\d+)-(\d+)_(\d+)\.parquet")
_MARK = ".rewritten"

log = logging.getLogger(__name__)

EntryId = tuple[int, int]  # milliseconds and sequence number of a stream's entry


@dataclass(frozen=True)
class LogFile:
    """A file of the log, as its name describes it; ``first`` and ``last`` are within its range."""

    path: Path
    shard: int
    first: EntryId
    last: EntryId
    level: int

    @classmethod
    def parse(cls, path: Path) -> LogFile | None:
        """Return what the name of ``path`` says, None for another file."""
        match = _NAME.fullmatch(path.name)
        if match is None:
            return None
        shard, *ids, level = map(int, match.groups())
        return cls(path, shard, (ids[0], ids[1]), (ids[2], ids[3]), level)

    @property
    def hour_ms(self) -> int:
        """The Unix milliseconds at which the hour of its partition begins."""
        date, hour = self.path.parts[-3], self.path.parts[-2]
        return _unix_ms(f"{date[5:]}T{hour[5:]}") or 0

    def replaces(self, other: LogFile) -> bool:
        """Return whether this file holds the entries of ``other``."""
        return (
            self.shard == other.shard
            and self.level > other.level
            and self.first <= other.first
            and other.last <= self.last
        )


class LogFolder:
    """The folder of the log."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextlib.contextmanager
    def try_shard(self, shard: int) -> Iterator[bool]:
        """Hold the right to write a shard's files; yield False if another worker does."""
        with try_locked(self._lock(shard)) as held:
            yield held

    @contextlib.contextmanager
    def shard(self, shard: int) -> Iterator[None]:
        """Wait for the right to write a shard's files and hold it."""
        with locked(self._lock(shard)):
            yield

    def shards(self) -> list[int]:
        """Return the shards that have files."""
        return sorted({file.shard for table in TABLES for file in self.current(table)})

    def write(
        self, table: str, shard: int, rows: pl.DataFrame, *, again: bool = False
    ) -> list[LogFile]:
        """Write ``rows``, in the order of their entries, to the partitions of their hours.

        ``again`` leaves out what the files hold already. Returns the new files.
        """
        time = "time_ms" if "time_ms" in rows.columns else "arrived_ms"
        written = []
        rows = rows.with_columns(hour_ms=pl.col(time) // HOUR_MS * HOUR_MS)
        for part in rows.partition_by("hour_ms", maintain_order=True):
            folder = self._partition(table, part["hour_ms"][0])
            part = part.drop("hour_ms")
            files = _files(folder, shard)
            if again and files:
                part = _without(part, _current(files))
            if len(part):
                self._make(folder)
                first, last = _range_after(part, files)
                file = LogFile(_path(folder, shard, first, last, 0), shard, first, last, 0)
                write_atomically(file.path, packed(part))
                written.append(file)
        return written

    def recover(self, shard: int) -> None:
        """Remove what killed writers of the shard left; only its holder may."""
        for table in TABLES:
            for _, folder in self.partitions(table):
                for path in folder.glob(f".{shard:02}_*.tmp"):
                    path.unlink(missing_ok=True)
                compact(folder, shard)

    def current(
        self, table: str, since_ms: int | None = None, until_ms: int | None = None
    ) -> list[LogFile]:
        """Return the files of the partitions that overlap [since, until), in order of hours."""
        folders = self.partitions(table, since_ms, until_ms)
        return [file for _, folder in folders for file in current(folder)]

    def partitions(
        self, table: str, since_ms: int | None = None, until_ms: int | None = None
    ) -> Iterator[tuple[int, Path]]:
        """Yield the Unix milliseconds at which each partition's hour begins, and its folder.

        Only those that overlap [since, until).
        """
        for date in _folders(self.root / table, "date="):
            day_ms = _unix_ms(date.name[5:])
            if day_ms is None or not _overlaps(day_ms, 24 * HOUR_MS, since_ms, until_ms):
                continue
            for hour in _folders(date, "hour="):
                hour_ms = _unix_ms(f"{date.name[5:]}T{hour.name[5:]}")
                if hour_ms is not None and _overlaps(hour_ms, HOUR_MS, since_ms, until_ms):
                    yield hour_ms, hour

    @contextlib.contextmanager
    def pinned(self, files: Iterable[LogFile]) -> Iterator[list[Path]]:
        """Yield paths of ``files`` that stay although files are compacted meanwhile.

        They are links in a hidden folder of the log, and the files themselves in a log that cannot
        be written or linked. Raises FileNotFoundError if one is gone.
        """
        files = list(files)
        with contextlib.ExitStack() as stack:
            try:
                folder = stack.enter_context(staged_folder(self.root, ".pinned-"))
                paths = [folder / f"{number}{parquet.SUFFIX}" for number in range(len(files))]
                for file, path in zip(files, paths, strict=True):
                    os.link(file.path, path)
            except FileNotFoundError:
                raise
            except OSError:
                paths = [file.path for file in files]
            yield paths

    def mark_rewritten(self) -> None:
        """Note that rows have left the files."""
        write_atomically(self.root / _MARK, b"")

    def rewritten_ns(self) -> int:
        """Return when rows left the files the last time, 0 if never."""
        try:
            return (self.root / _MARK).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _partition(self, table: str, hour_ms: int) -> Path:
        hour = datetime.fromtimestamp(hour_ms // 1000, UTC)
        return self.root / table / f"date={hour:%Y-%m-%d}" / f"hour={hour:%H}"

    def _make(self, folder: Path) -> None:
        """Make a partition that survives a loss of power."""
        if not folder.exists():
            folder.mkdir(parents=True)
            for path in itertools.takewhile(lambda path: path != self.root.parent, folder.parents):
                sync(path)

    def _lock(self, shard: int) -> Path:
        return self.root / f".shard-{shard:02}"


TABLES = (DECISIONS, EVENTS, f"{REJECTED}/{DECISIONS}", f"{REJECTED}/{EVENTS}")


def current(folder: Path, shard: int | None = None) -> list[LogFile]:
    """Return the files of a partition without those that were replaced, in order of entries."""
    return _current(_files(folder, shard))


def compact(folder: Path, shard: int) -> int:
    """Join small files of a partition and remove what was replaced; return the files removed."""
    files = _files(folder, shard)
    present = _current(files)
    removed = _remove([file for file in files if file not in present])
    for level, group in itertools.groupby(present, key=lambda file: file.level):
        small = list(group)
        size = sum(file.path.stat().st_size for file in small)
        if len(small) >= FAN_IN and size <= _LARGE_BYTES:
            path = _path(folder, shard, small[0].first, small[-1].last, level + 1)
            try:
                rows = pl.concat([parquet.read(file.path) for file in small], how="diagonal")
            except DatasetError as error:
                log.warning("small files stay as they are: %s", error)
                continue
            write_atomically(path, packed(rows))
            removed += _remove(small)
    return removed


def packed(rows: pl.DataFrame) -> memoryview:
    """Return ``rows`` as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    return buffer.getbuffer()


def _current(files: list[LogFile]) -> list[LogFile]:
    present = [file for file in files if not any(other.replaces(file) for other in files)]
    return sorted(present, key=lambda file: (file.shard, file.first))


def _files(folder: Path, shard: int | None) -> list[LogFile]:
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    files = filter(None, (LogFile.parse(folder / name) for name in names))
    return [file for file in files if shard is None or file.shard == shard]


def _folders(folder: Path, prefix: str) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.name.startswith(prefix))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _path(folder: Path, shard: int, first: EntryId, last: EntryId, level: int) -> Path:
    ids = f"{first[0]}-{first[1]}_{last[0]}-{last[1]}"
    return folder / f"{shard:02}_{ids}_{level}{parquet.SUFFIX}"


def _range_after(rows: pl.DataFrame, files: list[LogFile]) -> tuple[EntryId, EntryId]:
    """Return the range of ``rows``, or one after ``files`` where it does not lie behind them.

    That is so if the store lost its streams and its clock went back.
    """
    ids = list(rows.select("arrived_ms", "sequence").iter_rows())
    first, last = min(ids), max(ids)
    end = max((file.last for file in files), default=(-1, 0))
    if first > end:
        return first, last
    shifted = (end[0], end[1] + 1)
    return shifted, max(last, shifted)


def _without(rows: pl.DataFrame, files: list[LogFile]) -> pl.DataFrame:
    """Return the rows whose entries are in none of ``files``."""
    entry = {"arrived_ms": pl.Int64, "sequence": pl.Int64}
    held = parquet.scan(*(file.path for file in files), schema=entry).collect()
    return rows.join(held, on=list(entry), how="anti", maintain_order="left")


def _unix_ms(hour: str) -> int | None:
    """Return the Unix milliseconds of an ISO date or hour in UTC, None for anything else."""
    try:
        return int(datetime.fromisoformat(hour).replace(tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        return None


def _overlaps(begin_ms: int, length_ms: int, since_ms: int | None, until_ms: int | None) -> bool:
    return (since_ms is None or begin_ms + length_ms > since_ms) and (
        until_ms is None or begin_ms < until_ms
    )


def _remove(files: list[LogFile]) -> int:
    for file in files:
        file.path.unlink(missing_ok=True)
    return len(files)
