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


def add_counts(feed: Feed, rows: pl.LazyFrame, events: pl.LazyFrame) -> pl.LazyFrame:
    """Add the proxies as of each row's ``time_ms``; ``rows`` also has ``item_id``.

    Costs one sort of the distinct pairs of item and bucket, whatever the windows.
    """
    if not feed.proxies:
        return rows
    bucket = pl.col("time_ms") // feed.bucket
    asked = rows.select("item_id", bucket=bucket).unique().sort("bucket").collect().lazy()
    buckets = (
        countable(feed, events, feed.counted)
        .group_by(EVENT)
        .agg(pl.col("arrived_ms").min())
        .group_by("kind", "item_id", bucket=pl.col("arrived_ms") // feed.bucket)
        .agg(events=pl.len().cast(pl.Int64))
        .sort("bucket")
        .with_columns(total=pl.col("events").cum_sum().over("kind", "item_id"))
        .collect()
    )
    table = asked
    for proxy in feed.proxies:
        totals = buckets.lazy().filter(kind=proxy.count).select("item_id", "bucket", "total")
        first = pl.col("bucket") - proxy.window // feed.bucket
        until, before = pl.col("bucket") - 1, first - 1
        ends = [
            asked.with_columns(at=at)
            .join_asof(
                totals, left_on="at", right_on="bucket", by="item_id", check_sortedness=False
            )
            .select(pl.col("total").fill_null(0))
            for at in (until, before)
        ]
        counts = pl.concat([ends[0], ends[1].rename({"total": "earlier"})], how="horizontal")
        count = counts.select((pl.col("total") - pl.col("earlier")).alias(proxy.name))
        table = pl.concat([table, count], how="horizontal")
    return (
        rows.with_columns(bucket=bucket)
        .join(table, on=["item_id", "bucket"], how="left", maintain_order="left")
        .drop("bucket")
    )


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
        for (kind, bucket), part in counted.group_by("kind", "bucket"):
            rows = self._rows_of(part["item_id"].to_list())
            numbers = part["events"].to_numpy()
            self._events[str(kind)][int(str(bucket))].append((rows, numbers))
            for column, proxy in enumerate(self._feed.proxies):
                if proxy.count == kind and int(str(bucket)) in self._window(column):
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
