"""The users of an experiment in the log of a feed, each with sums over a fixed time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from service.contract.experiments import Experiment
from training.errors import DatasetError
from training.evaluation.experiment.analysis import Users
from training.feed.log_files import LogFolder
from training.feed.log_rows import Period, days, pinned, settled_ms
from training.feed.rankings import Outcome, item_outcomes
from training.feed.specification import Feed

_SUMS = ("rankings", "outcome", "places", "tail")


@dataclass(frozen=True)
class ExperimentLog:
    """The users of an experiment as of ``until_ms``.

    ``rankings`` of the log name an arm; ``misplaced`` of them another one than their user's hash.
    """

    users: Users
    until_ms: int
    rankings: int
    misplaced: int


def read_experiment(
    feed: Feed,
    logs: Path,
    experiment: Experiment,
    outcome: Outcome,
    window_ms: int,
    *,
    until_ms: int | None = None,
    head: Collection[str] | None = None,
) -> ExperimentLog:
    """Return the users of ``experiment`` with sums over ``window_ms`` from their first ranking on.

    Rankings count from its start to its stop, or before ``until_ms``, by default the last time
    whose clicks are all in. Items of ``head`` are not of the tail; None: the tail is not known.
    Raises DatasetError if there are no rankings of its arms.
    """
    period = _period(experiment, until_ms)
    arms = {arm.name: number for number, arm in enumerate(experiment.arms)}
    entered, sums, rankings, misplaced = _NOBODY, [], 0, 0
    with pinned(LogFolder(logs), feed, period) as (decisions, events):
        end_ms = settled_ms(feed, decisions, events)
        end_ms = end_ms if period[1] is None else min(end_ms, period[1])
        for shown, done in days(feed, decisions, events, (period[0], end_ms)):
            rows = (
                shown.filter(pl.col("arm").is_in(list(arms)))
                .select("request_id", "user_id", "time_ms", "arm", "item_ids")
                .collect()
                .unique("request_id", keep="first", maintain_order=True)
            )
            first = rows.group_by("user_id").agg(pl.col("time_ms").min().alias("entered_ms"))
            new = first.join(entered, on="user_id", how="anti")
            entered = pl.concat([entered, _assigned(new, experiment, arms)])
            placed = rows.join(entered, on="user_id")
            rankings += len(rows)
            own = pl.col("arm").replace_strict(arms, return_dtype=pl.Int64) == pl.col("number")
            misplaced += len(rows) - len(placed.filter(own))
            counted = placed.filter(pl.col("time_ms") < pl.col("entered_ms") + window_ms)
            sums.append(_by_user(_with_outcome(feed, counted, done, outcome), head))
    if not rankings:
        problem = f"has no decision of an arm of {experiment.name} in the time that counts"
        raise DatasetError(logs, problem)
    users = pl.concat(sums).group_by("user_id").agg(pl.col(*_SUMS).sum())
    table = entered.filter(pl.col("number") >= 0).join(users, on="user_id")
    return ExperimentLog(_users(table, window_ms, end_ms, len(arms)), end_ms, rankings, misplaced)


_NOBODY = pl.DataFrame(schema={"user_id": pl.String, "entered_ms": pl.Int64, "number": pl.Int64})


def _period(experiment: Experiment, until_ms: int | None) -> Period:
    since_ms = int(experiment.started.timestamp() * 1000)
    if experiment.stopped is None:
        return since_ms, until_ms
    stopped_ms = int(experiment.stopped.timestamp() * 1000)
    return since_ms, stopped_ms if until_ms is None else min(stopped_ms, until_ms)


def _assigned(users: pl.DataFrame, experiment: Experiment, arms: dict[str, int]) -> pl.DataFrame:
    """Add the number of each user's arm by its hash, -1 for one in no arm."""
    found = [experiment.arm(user_id) for user_id in users["user_id"]]
    numbers = [-1 if arm is None else arms[arm.name] for arm in found]
    return users.with_columns(number=pl.Series(numbers, dtype=pl.Int64))


def _with_outcome(
    feed: Feed, rankings: pl.DataFrame, events: pl.LazyFrame, outcome: Outcome
) -> pl.DataFrame:
    """Add the outcome of each ranking: the sum over its items."""
    came = item_outcomes(feed, rankings, events, outcome)
    of_ranking = came.group_by("request_id").agg(pl.col("outcome").sum())
    joined = rankings.join(of_ranking, on="request_id", how="left")
    return joined.with_columns(pl.col("outcome").fill_null(0.0))


def _by_user(rankings: pl.DataFrame, head: Collection[str] | None) -> pl.DataFrame:
    """Return the sums of each user's rankings."""
    places, tail = pl.lit(0), pl.lit(0)
    if head is not None:
        popular = pl.Series(sorted(head), dtype=pl.String).implode()
        places = pl.col("item_ids").list.len()
        tail = places - pl.col("item_ids").list.eval(pl.element().is_in(popular)).list.sum()
    return (
        rankings.with_columns(places=places.cast(pl.Int64), tail=tail.cast(pl.Int64))
        .group_by("user_id")
        .agg(pl.len().cast(pl.Int64).alias("rankings"), pl.col("outcome", "places", "tail").sum())
    )


def _users(table: pl.DataFrame, window_ms: int, end_ms: int, arms: int) -> Users:
    """Return those who count; all rankings before ``end_ms`` have their clicks."""
    entered = np.bincount(table["number"].to_numpy(), minlength=arms)
    table = table.with_columns(counted_ms=pl.col("entered_ms") + window_ms)
    table = table.filter(pl.col("counted_ms") <= end_ms).sort("counted_ms", "user_id")
    columns = {name: table[name].cast(pl.Float64).to_numpy() for name in _SUMS}
    return Users(
        arm=table["number"].to_numpy(),
        counted_ms=table["counted_ms"].to_numpy(),
        entered=entered,
        **columns,
    )
