"""The definition of counted proxies, once for rows of the past and once kept up live.

``Feed`` states it. Both sides take events from ``countable``; a test compares them row by row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.feed.specification import Feed

EVENT = ("request_id", "item_id", "kind", "time_ms")  # equal ones are one event
COLUMNS = (*EVENT, "arrived_ms")


def countable(feed: Feed, events: pl.LazyFrame, kinds: Collection[str]) -> pl.LazyFrame:
    """Return the events of ``kinds`` that arrived near their own time."""
    delay = pl.col("arrived_ms") - pl.col("time_ms")
    return events.filter(
        pl.col("kind").is_in(list(kinds)) & delay.is_between(-feed.late, feed.late)
    )


def count_buckets(feed: Feed, events: pl.LazyFrame) -> pl.DataFrame:
    """Return the total of events of each kind and item up to and including each bucket.

    The columns are kind, item_id, bucket and total, sorted by bucket.
    """
    arrived = pl.col("arrived_ms")
    return (
        countable(feed, events, feed.counted)
        .group_by(EVENT)
        .agg(arrived.min())
        .group_by("kind", "item_id", bucket=arrived // feed.bucket)
        .agg(events=pl.len().cast(pl.Int64))
        .sort("bucket")
        .with_columns(total=pl.col("events").cum_sum().over("kind", "item_id"))
        .drop("events")
        .collect(engine="streaming")
    )


def add_counts(feed: Feed, rows: pl.DataFrame, buckets: pl.DataFrame) -> pl.DataFrame:
    """Add the proxies as of each row's ``time_ms``; ``rows`` also has ``item_id``.

    Costs one search for each distinct pair of item and bucket and each end of a window.
    """
    if not feed.proxies:
        return rows
    rows = rows.with_columns(bucket=pl.col("time_ms") // feed.bucket)
    asked = rows.select("item_id", "bucket").unique().sort("bucket")
    counts = []
    for proxy in feed.proxies:
        totals = buckets.filter(kind=proxy.count).select("item_id", "bucket", "total")
        last = pl.col("bucket") - 1
        until, before = (
            asked.with_columns(at=at)
            .join_asof(
                totals, left_on="at", right_on="bucket", by="item_id", check_sortedness=False
            )["total"]
            .fill_null(0)
            for at in (last, last - proxy.window // feed.bucket)
        )
        counts.append((until - before).alias(proxy.name))
    table = asked.with_columns(counts)
    joined = rows.join(table, on=["item_id", "bucket"], how="left", maintain_order="left")
    return joined.drop("bucket")


def without_own(feed: Feed, rows: pl.DataFrame, events: pl.LazyFrame) -> pl.DataFrame:
    """Take from the proxies of each row what is its own outcome.

    A row's own events arrive after its decision, unless the clock of the store is late.
    """
    pair = ["request_id", "item_id"]
    own = (
        countable(feed, events, feed.counted)
        .group_by(EVENT)
        .agg(pl.col("arrived_ms").min() // feed.bucket)
        .join(rows.lazy().select(*pair, bucket=pl.col("time_ms") // feed.bucket), on=pair)
        .with_columns(age=pl.col("bucket") - pl.col("arrived_ms"))
        .filter(pl.col("age") > 0)
        .collect(engine="streaming")
    )
    for proxy in feed.proxies if len(own) else ():
        counted = own.filter(
            pl.col("age") <= proxy.window // feed.bucket, pl.col("kind") == proxy.count
        )
        rows = (
            rows.join(counted.group_by(pair).agg(own=pl.len()), on=pair, how="left")
            .with_columns(pl.col(proxy.name) - pl.col("own").fill_null(0).cast(pl.Int64))
            .drop("own")
        )
    return rows


class LiveCounts:
    """The proxies of all items, kept up event by event and bucket by bucket."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._rows: dict[str, int] = {}
        self._ids: list[str] = []
        self._totals = np.zeros((0, len(feed.proxies)), np.int64)  # (I, P)
        self._bucket: int | None = None  # the one that runs: it does not count yet
        # kind -> bucket -> rows of items (n,), their numbers of events (n,)
        self._events: dict[str, dict[int, list[tuple[NDArray[np.int64], NDArray[np.int64]]]]]
        self._events = defaultdict(lambda: defaultdict(list))
        self._changed: set[int] = set()

    def add(self, events: pl.DataFrame) -> None:
        """Count distinct events, with the columns kind, item_id and arrived_ms."""
        counted = events.group_by(
            "kind", "item_id", bucket=pl.col("arrived_ms") // self._feed.bucket
        ).agg(events=pl.len().cast(pl.Int64))
        for part in counted.partition_by("kind", "bucket"):
            kind, bucket = part["kind"][0], part["bucket"][0]
            rows = self._rows_of(part["item_id"].to_list())
            numbers = part["events"].to_numpy()
            self._events[kind][bucket].append((rows, numbers))
            for column, proxy in enumerate(self._feed.proxies):
                if proxy.count == kind and bucket in self._window(column):
                    self._change(column, rows, numbers)

    def advance(self, bucket: int) -> None:
        """Let ``bucket`` be the one that runs: earlier ones count, those out of a window do not."""
        if self._bucket is not None and bucket <= self._bucket:
            return
        before = [self._window(column) for column in range(len(self._feed.proxies))]
        self._bucket = bucket
        for column, proxy in enumerate(self._feed.proxies):
            now, buckets = self._window(column), self._events[proxy.count]
            for one in [b for b in buckets if (b in now) != (b in before[column])]:
                for rows, numbers in buckets[one]:
                    self._change(column, rows, numbers if one in now else -numbers)
        oldest = bucket - self._feed.longest_ms // self._feed.bucket
        for buckets in self._events.values():
            for gone in [one for one in buckets if one < oldest]:
                del buckets[gone]

    def take_changed(self) -> set[str]:
        """Return the items whose proxies changed since the last call."""
        changed, self._changed = self._changed, set()
        return {self._ids[row] for row in changed}

    def values(self, item_ids: list[str]) -> NDArray[np.float32]:
        """Return the proxies (N, P) of items; 0 where nothing happened."""
        values = np.zeros((len(item_ids), len(self._feed.proxies)), np.float32)
        known = [row for row, item_id in enumerate(item_ids) if item_id in self._rows]
        values[known] = self._totals[[self._rows[item_ids[row]] for row in known]]
        return values

    def _window(self, column: int) -> range:
        if self._bucket is None:
            return range(0)
        length = self._feed.proxies[column].window // self._feed.bucket
        return range(self._bucket - length, self._bucket)

    def _change(self, column: int, rows: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
        self._totals[rows, column] += numbers  # each row is once in ``rows``
        self._changed.update(rows.tolist())

    def _rows_of(self, item_ids: list[str]) -> NDArray[np.int64]:
        new = [item_id for item_id in item_ids if item_id not in self._rows]
        self._rows.update(zip(new, range(len(self._ids), len(self._ids) + len(new)), strict=True))
        self._ids += new
        if len(self._ids) > len(self._totals):
            grown = np.zeros((2 * len(self._ids), len(self._feed.proxies)), np.int64)
            grown[: len(self._totals)] = self._totals
            self._totals = grown
        return np.array([self._rows[item_id] for item_id in item_ids], np.int64)
