"""Rankings of the log as shown, each place with its outcome."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from service.contract.feedback import KINDS
from training.errors import ConfigError, DatasetError
from training.feed.log_files import LogFolder
from training.feed.log_rows import PAIR, Period, days, outcomes, pinned, settled_ms
from training.feed.records import SCHEMAS
from training.feed.specification import Feed

_COLUMNS = [name for name in SCHEMAS["decisions"] if name not in ("arrived_ms", "sequence", "seed")]


@dataclass(frozen=True)
class Outcome:
    """What counts at a place: whether an event of ``kinds`` came, or the sum of their values.

    ``name`` is that of the metric.
    """

    name: str
    kinds: tuple[str, ...]
    summed: bool = False
    at_least: float | None = None


@dataclass(frozen=True)
class Rankings:
    """Decisions as shown, a row each, with ``outcomes``, a value a place.

    The columns are those of the log's decisions. ``left_out`` counts other decisions by reason;
    ``read`` are all.
    """

    rows: pl.DataFrame
    read: int
    left_out: Counter[str] = field(default_factory=Counter)


def parse_metric(text: str, feed: Feed) -> Outcome:
    """Return the outcome that ``--metric`` names; raises ConfigError.

    ``clicks``: a label of feed.toml. ``value``: the values of its events. A kind of events such as
    ``like``: whether one came. ``like:value``: their values.
    """
    labels = feed.labels
    if text == "clicks":
        return Outcome(text, labels.kinds, at_least=labels.at_least)
    if text == "value":
        return Outcome(text, labels.kinds, summed=True, at_least=labels.at_least)
    kind, _, value = text.partition(":")
    if not re.fullmatch(KINDS, kind) or value not in ("", "value"):
        raise ConfigError(
            f"--metric {text!r}: is neither clicks, value, a kind of events such as like, nor "
            "like:value"
        )
    return Outcome(text, (kind,), summed=bool(value))


def read_rankings(
    feed: Feed,
    logs: Path,
    outcome: Outcome,
    model: str,
    period: Period = (None, None),
) -> Rankings:
    """Return the rankings that ``model`` (``name`` or ``name@version``) made in a period.

    Without the period's end, those whose window of labels has ended. Equal events count once, those
    within ``labels.window`` of the decision. Raises DatasetError if there are none.
    """
    tables, read, left_out = [pl.DataFrame(schema=_schema())], 0, Counter[str]()
    with pinned(LogFolder(logs), feed, period) as (decisions, events):
        since_ms, until_ms = period
        if until_ms is None:
            until_ms = settled_ms(feed, decisions, events)
        for shown, done in days(feed, decisions, events, (since_ms, until_ms)):
            rows = shown.select(_COLUMNS).collect()
            read += len(rows)
            first = rows.unique("request_id", keep="first", maintain_order=True)
            left_out["repeats of a request id"] += len(rows) - len(first)
            ours = first.filter(
                pl.col("model").str.starts_with(f"{model}@") | (pl.col("model") == model)
            )
            left_out["of other models"] += len(first) - len(ours)
            tables.append(_with_outcomes(feed, ours, done, outcome))
    table = pl.concat(tables)
    if not len(table):
        problem = (
            f"has {read:,} decisions of that period and none of {model}: name another --model, "
            "wait until the window of labels has ended, or name --until"
        )
        raise DatasetError(logs, problem)
    return Rankings(table, read, +left_out)


def _schema() -> dict[str, pl.DataType | type[pl.DataType]]:
    columns = {name: SCHEMAS["decisions"][name] for name in _COLUMNS}
    return {**columns, "outcomes": pl.List(pl.Float64)}


def item_outcomes(
    feed: Feed, rankings: pl.DataFrame, events: pl.LazyFrame, outcome: Outcome
) -> pl.DataFrame:
    """Return the ``outcome`` of each item of ``rankings`` that has one, within the window."""
    value = pl.col("value").sum() if outcome.summed else pl.lit(1.0)
    return (
        outcomes(feed, events, outcome.kinds, outcome.at_least)
        .unique([*PAIR, "kind", "time_ms"])
        .join(rankings.lazy().select("request_id", shown_ms="time_ms"), on="request_id")
        .filter(pl.col("time_ms") <= pl.col("shown_ms") + feed.labels.window)
        .group_by(PAIR)
        .agg(outcome=value)
        .collect()
    )


def _with_outcomes(
    feed: Feed, rankings: pl.DataFrame, events: pl.LazyFrame, outcome: Outcome
) -> pl.DataFrame:
    """Add the outcomes of each ranking's places, in their order."""
    came = item_outcomes(feed, rankings, events, outcome)
    places = rankings.select("request_id", item_id="item_ids").explode(
        "item_id", empty_as_null=True
    )
    by_request = (
        places.join(came, on=PAIR, how="left", maintain_order="left")
        .group_by("request_id", maintain_order=True)
        .agg(outcomes=pl.col("outcome").fill_null(0.0))
    )
    joined = rankings.join(by_request, on="request_id", how="left", maintain_order="left")
    return joined.select(list(_schema()))
