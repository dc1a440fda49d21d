"""From the files of the log to a dataset folder."""

from __future__ import annotations

import operator
from dataclasses import astuple, dataclass
from pathlib import Path

import polars as pl

from service.contract.feedback import VIEW
from training.data import parquet
from training.data.raw_log.on_polars import PolarsEngine
from training.data.schema import DESCRIPTION, Description
from training.errors import DatasetError
from training.feed.counts import add_counts, count_buckets, countable, without_own
from training.feed.items import ItemTables, read_item_tables
from training.feed.log_files import EVENTS, LogFolder
from training.feed.log_rows import PAIR, Period, days, outcomes, pinned, scan, settled_ms
from training.feed.specification import Feed


@dataclass(frozen=True)
class Prepared:
    """The numbers of impressions written, decisions read, and rows left out, by reason."""

    impressions: int = 0
    decisions: int = 0
    clicks: int = 0
    uniform: int = 0
    repeated: int = 0
    degraded: int = 0
    unknown: int = 0

    def __add__(self, other: Prepared) -> Prepared:
        """Return the sums."""
        return Prepared(*map(operator.add, astuple(self), astuple(other)))

    def __str__(self) -> str:
        """Return a sentence for people."""
        return (
            f"{self.impressions:,} impressions of {self.decisions:,} decisions, with "
            f"{self.clicks:,} clicks, {self.uniform:,} of uniform exposure; left out were "
            f"{self.repeated:,} decisions whose request had one before, {self.degraded:,} degraded "
            f"ones, and {self.unknown:,} rows of items that --items lacks"
        )


def prepare_feed(
    feed: Feed,
    logs: Path,
    items: Path,
    out: Path,
    period: Period = (None, None),
) -> Prepared:
    """Write the dataset folder ``out``, all of it or nothing.

    One row is one place of a decision with since <= time < until: the ``period`` in Unix
    milliseconds. Without its end that is the last arrival less the window of labels: later rows may
    still be clicked. A day at a time is in memory. Raises DatasetError.
    """
    known = read_item_tables(items)
    with (
        PolarsEngine().staged(str(out)) as staged,
        pinned(LogFolder(logs), feed, period) as (decisions, events),
    ):
        folder = Path(staged)
        since_ms, until_ms = period
        if until_ms is None:
            until_ms = settled_ms(feed, decisions, events)
        buckets = count_buckets(feed, scan(EVENTS, events))
        prepared, users = Prepared(), pl.DataFrame(schema={"user_id": pl.String})
        (folder / "impressions").mkdir()
        for shown, done in days(feed, decisions, events, (since_ms, until_ms)):
            rows, counts = _rows(feed, shown, done, known)
            prepared += counts
            users = pl.concat([users, rows.select("user_id")]).unique()
            _write_day(feed, without_own(feed, add_counts(feed, rows, buckets), done), folder)
        if not prepared.impressions:
            problem = (
                f"no impression is left of {prepared.decisions:,} decisions: wait until the window "
                "of labels has ended, name --until, or look at --items and [impressions] of "
                "feed.toml"
            )
            raise DatasetError(logs, problem)
        parquet.write(known.with_attributes(users.sort("user_id")), folder / "users.parquet")
        now = known.table.with_columns(time_ms=pl.lit(until_ms))
        parquet.write(add_counts(feed, now, buckets).drop("time_ms"), folder / "items.parquet")
        description = Description(
            name=feed.name,
            impressions="impressions",
            title=known.description.title,
            picture=known.description.picture,
            link=known.description.link,
            user_attributes=known.description.user_attributes,
            item_attributes=known.description.item_attributes,
            proxies=feed.proxy_fields,
            embeddings=known.link_embeddings(folder),
        )
        (folder / DESCRIPTION).write_text(description.to_toml(), encoding="utf-8")
    return prepared


def _rows(
    feed: Feed, decisions: pl.LazyFrame, events: pl.LazyFrame, items: ItemTables
) -> tuple[pl.DataFrame, Prepared]:
    """Return one row for each impression with its label; and the counts."""
    read = decisions.select(
        "request_id", "user_id", "time_ms", "slot", "degraded", "item_ids", "propensities"
    ).collect()
    first = read.unique("request_id", keep="first", maintain_order=True)
    kept = first
    if feed.impressions.degraded == "drop":
        kept = first.filter(pl.col("degraded").list.len() == 0)
    places = kept.select(
        "request_id",
        "user_id",
        "time_ms",
        "slot",
        item_id="item_ids",
        propensity="propensities",
        position=pl.int_ranges(pl.col("item_ids").list.len()),
    )
    shown = places.explode("item_id", "propensity", "position", empty_as_null=True)
    if feed.impressions.places == "viewed":
        views = countable(feed, events, [VIEW]).select(PAIR).collect()
        shown = shown.join(views, on=PAIR, how="semi")
    known = shown.join(items.table.select("item_id"), on="item_id", how="semi")
    outcome = (
        outcomes(feed, events, feed.labels.kinds, feed.labels.at_least)
        .group_by(PAIR)
        .agg(outcome_ms=pl.col("time_ms").min())
        .collect()
    )
    clicked = pl.col("outcome_ms") <= pl.col("time_ms") + feed.labels.window
    uniform = (pl.col("position") == pl.col("slot")).fill_null(False)
    rows = known.join(outcome, on=PAIR, how="left").with_columns(
        label=clicked.fill_null(False).cast(pl.Int8),
        exposure=pl.when(uniform).then(pl.lit("uniform")).otherwise(pl.lit("logged")),
    )
    return rows.drop("slot", "outcome_ms"), Prepared(
        impressions=len(rows),
        decisions=len(read),
        clicks=int(rows["label"].sum()),
        uniform=int((rows["exposure"] == "uniform").sum()),
        repeated=len(read) - len(first),
        degraded=len(first) - len(kept),
        unknown=len(shown) - len(rows),
    )


def _write_day(feed: Feed, rows: pl.DataFrame, folder: Path) -> None:
    """Write a day's impressions as the next part, in the order of time."""
    if not len(rows):
        return
    part = len(list((folder / "impressions").iterdir()))
    names = [proxy.name for proxy in feed.proxies]
    columns = ["user_id", "item_id", "label", "timestamp", "exposure", "position", "propensity"]
    time = pl.from_epoch("time_ms", "ms").dt.replace_time_zone("UTC")
    rows = rows.sort("time_ms", "request_id", "position").with_columns(timestamp=time)
    path = folder / "impressions" / f"part-{part:05}{parquet.SUFFIX}"
    parquet.write(rows.select(*columns, *names), path)
