"""The rows of a period of the log, read while workers go on."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from training.data import parquet
from training.errors import ConfigError, DatasetError
from training.feed.counts import countable
from training.feed.log_files import DECISIONS, EVENTS, HOUR_MS, LogFolder
from training.feed.records import SCHEMAS
from training.feed.specification import Feed

Period = tuple[int | None, int | None]

DAY_MS = 24 * HOUR_MS
PAIR = ["request_id", "item_id"]  # of an event and its place


@dataclass(frozen=True)
class PinnedFile:
    """A file of the log and where it can be read while workers compact."""

    hour_ms: int
    path: Path


@contextlib.contextmanager
def pinned(
    log: LogFolder, feed: Feed, period: Period
) -> Iterator[tuple[list[PinnedFile], list[PinnedFile]]]:
    """Yield the files of the decisions of a period, and of the events that matter for them."""
    since_ms, until_ms = period
    begin = None if since_ms is None else since_ms - feed.longest_ms - feed.bucket - feed.late
    end = None if until_ms is None else until_ms + feed.labels.window + feed.late
    while True:
        files = (log.current(DECISIONS, since_ms, until_ms), log.current(EVENTS, begin, end))
        if not files[0]:
            problem = "has no decisions of that period; `collect` writes them there"
            raise DatasetError(log.root, problem)
        with contextlib.ExitStack() as stack:
            try:
                paths = [stack.enter_context(log.pinned(some)) for some in files]
            except FileNotFoundError:  # compacted meanwhile
                continue
            decisions, events = (
                [PinnedFile(file.hour_ms, path) for file, path in zip(some, links, strict=True)]
                for some, links in zip(files, paths, strict=True)
            )
            yield decisions, events
            return


def scan(
    table: str, files: list[PinnedFile], since_ms: int | None = None, until_ms: int | None = None
) -> pl.LazyFrame:
    """Return the rows of the partitions that overlap [since, until)."""
    paths = [
        file.path
        for file in files
        if (since_ms is None or file.hour_ms + HOUR_MS > since_ms)
        and (until_ms is None or file.hour_ms < until_ms)
    ]
    schema = SCHEMAS[table]
    return parquet.scan(*paths, schema=schema) if paths else pl.LazyFrame(schema=schema)


def days(
    feed: Feed, decisions: list[PinnedFile], events: list[PinnedFile], period: Period
) -> Iterator[tuple[pl.LazyFrame, pl.LazyFrame]]:
    """Yield the decisions of each day of a period, and the events that matter for them."""
    since_ms, until_ms = period
    for day_ms in sorted({file.hour_ms // DAY_MS * DAY_MS for file in decisions}):
        begin_ms = max(day_ms, since_ms or 0)
        end_ms = day_ms + DAY_MS if until_ms is None else min(day_ms + DAY_MS, until_ms)
        shown = scan(DECISIONS, decisions, day_ms, day_ms + DAY_MS).filter(
            pl.col("time_ms").is_between(begin_ms, end_ms, closed="left")
        )
        near = begin_ms - feed.late, end_ms + max(feed.labels.window, feed.late)
        yield shown, scan(EVENTS, events, *near)


def settled_ms(feed: Feed, decisions: list[PinnedFile], events: list[PinnedFile]) -> int:
    """Return the Unix milliseconds before which no decision can get a label any more.

    That is the last arrival less the window of labels.
    """
    scans = [scan(DECISIONS, decisions), scan(EVENTS, events)]
    arrived = [scan.select(pl.col("arrived_ms").max()).collect().item() for scan in scans]
    return int(max(last for last in arrived if last is not None)) - feed.labels.window


def outcomes(
    feed: Feed, events: pl.LazyFrame, kinds: Collection[str], at_least: float | None = None
) -> pl.LazyFrame:
    """Return the events of ``kinds`` that count, of at least a value."""
    counted = countable(feed, events, kinds)
    return counted if at_least is None else counted.filter(pl.col("value") >= at_least)


def parse_time(option: str, text: str | None) -> int | None:
    """Return an ISO date or time, in UTC unless it names a zone, as Unix milliseconds.

    Raises ConfigError, naming the ``option``, for another text.
    """
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        problem = "is no ISO date or time; write one such as 2026-10-01T12:00"
        raise ConfigError(f"{option} {text!r}: {problem}") from error
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
