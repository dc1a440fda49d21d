"""From the files of the log to a dataset folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from service.contract.feedback import VIEW
from training.data import parquet
from training.data.raw_log.on_polars import PART_ROWS, PolarsEngine
from training.data.schema import DESCRIPTION, Description
from training.errors import ConfigError, DatasetError
from training.feed.counts import COLUMNS, add_counts, countable
from training.feed.items import Items, read_items
from training.feed.log_files import DECISIONS, EVENTS, LogFolder
from training.feed.records import SCHEMAS
from training.feed.specification import Feed

Period = tuple[int | None, int | None]

_PAIR = ["request_id", "item_id"]
_CONTROL = r"[\x00-\x1f\x7f]"


@dataclass(frozen=True)
class Prepared:
    """The numbers of impressions written, decisions read, and rows left out, by reason."""

    impressions: int
    decisions: int
    clicks: int
    uniform: int
    repeated: int
    degraded: int
    unknown: int

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
    still be clicked. Raises DatasetError.
    """
    log = LogFolder(logs)
    known = read_items(items)
    with PolarsEngine().staged(str(out)) as staged, _scanned(log, feed, period) as scan:
        folder = Path(staged)
        decisions, events, until_ms = scan
        rows, prepared = _rows(feed, decisions, events, known)
        impressions = add_counts(feed, rows, _after_their_decision(feed, events, decisions))
        names = [proxy.name for proxy in feed.proxies]
        columns = ["user_id", "item_id", "label", "timestamp", "exposure", "position", "propensity"]
        time = pl.from_epoch("time_ms", "ms").dt.replace_time_zone("UTC")
        ordered = impressions.with_columns(timestamp=time).sort("time_ms", "request_id", "position")
        parquet.write_parts(ordered.select(*columns, *names), folder / "impressions", PART_ROWS)
        users = rows.select("user_id").unique().sort("user_id").collect()
        parquet.write(known.with_attributes(users), folder / "users.parquet")
        end = known.table.lazy().select("item_id", time_ms=pl.lit(until_ms))
        current = add_counts(feed, end, events).drop("time_ms").collect()
        table = known.table.join(current, on="item_id", how="left", maintain_order="left")
        parquet.write(table, folder / "items.parquet")
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


Scan = tuple[pl.LazyFrame, pl.LazyFrame, int]


@contextlib.contextmanager
def _scanned(log: LogFolder, feed: Feed, period: Period) -> Iterator[Scan]:
    """Yield the decisions of the period, the events that may matter for them, and its end."""
    since_ms, until_ms = period
    begin = None if since_ms is None else since_ms - feed.longest_ms - feed.bucket - feed.late
    end = None if until_ms is None else until_ms + feed.labels.window + feed.late
    with contextlib.ExitStack() as stack:
        while True:
            decisions = log.current(DECISIONS, since_ms, until_ms)
            events = log.current(EVENTS, begin, end)
            try:
                paths = [stack.enter_context(log.pinned(files)) for files in (decisions, events)]
                break
            except FileNotFoundError:  # compacted meanwhile
                continue
        if not decisions:
            problem = "has no decisions of that period; `collect` writes them there"
            raise DatasetError(log.root, problem)
        shown, done = _scan(DECISIONS, paths[0]), _scan(EVENTS, paths[1])
        if until_ms is None:
            last = pl.concat([shown.select("arrived_ms"), done.select("arrived_ms")]).max()
            until_ms = int(last.collect().item()) - feed.labels.window
        within = pl.col("time_ms") < until_ms
        if since_ms is not None:
            within &= pl.col("time_ms") >= since_ms
        yield shown.filter(within), done, until_ms


def _scan(table: str, paths: list[Path]) -> pl.LazyFrame:
    return parquet.scan(*paths) if paths else pl.LazyFrame(schema=SCHEMAS[table])


def _rows(
    feed: Feed, decisions: pl.LazyFrame, events: pl.LazyFrame, items: Items
) -> tuple[pl.LazyFrame, Prepared]:
    """Return one row for each impression with its label; and the counts."""
    read = decisions.collect()
    first = read.unique("request_id", keep="first", maintain_order=True)
    kept = first
    if feed.impressions.degraded == "drop":
        kept = first.filter(pl.col("degraded").list.len() == 0)
    places = kept.lazy().select(
        "request_id",
        "user_id",
        "time_ms",
        "slot",
        item_id="item_ids",
        propensity="propensities",
        position=pl.int_ranges(pl.col("item_ids").list.len()),
    )
    rows = places.explode("item_id", "propensity", "position", empty_as_null=True)
    if feed.impressions.places == "viewed":
        views = countable(feed, events, [VIEW]).select(_PAIR)
        rows = rows.join(views, on=_PAIR, how="semi")
    known = rows.join(items.table.lazy().select("item_id"), on="item_id", how="semi")
    outcomes = countable(feed, events, feed.labels.kinds)
    if feed.labels.at_least is not None:
        outcomes = outcomes.filter(pl.col("value") >= feed.labels.at_least)
    outcomes = outcomes.group_by(_PAIR).agg(outcome_ms=pl.col("time_ms").min())
    clicked = pl.col("outcome_ms") <= pl.col("time_ms") + feed.labels.window
    uniform = pl.col("position") == pl.col("slot")
    labelled = (
        known.join(outcomes, on=_PAIR, how="left")
        .with_columns(
            label=clicked.fill_null(False).cast(pl.Int8),
            exposure=pl.when(uniform).then(pl.lit("uniform")).otherwise(pl.lit("logged")),
        )
        .drop("slot", "outcome_ms")
        .collect()
    )
    shown = rows.select(pl.len()).collect().item()
    if not len(labelled):
        problem = (
            f"no impression is left of {len(read):,} decisions: wait until the window of labels "
            "has ended, name --until, or look at --items and [impressions] of feed.toml"
        )
        raise DatasetError(items.path, problem)
    prepared = Prepared(
        impressions=len(labelled),
        decisions=len(read),
        clicks=int(labelled["label"].sum()),
        uniform=int((labelled["exposure"] == "uniform").sum()),
        repeated=len(read) - len(first),
        degraded=len(first) - len(kept),
        unknown=shown - len(labelled),
    )
    return labelled.lazy(), prepared


def _after_their_decision(
    feed: Feed, events: pl.LazyFrame, decisions: pl.LazyFrame
) -> pl.LazyFrame:
    """Let no event arrive before its decision, though clocks differ: it is a row's own outcome."""
    shown = decisions.group_by("request_id").agg(shown_ms=pl.col("time_ms").min())
    counted = events.filter(pl.col("kind").is_in(feed.counted)).select(*COLUMNS)
    arrived = pl.max_horizontal("arrived_ms", "shown_ms")
    return counted.join(shown, on="request_id", how="left").select(
        *(name for name in COLUMNS if name != "arrived_ms"), arrived_ms=arrived
    )


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
