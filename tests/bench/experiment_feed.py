"""One experiment from its plan to its report: a service, simulated users, and days that pass.

The model of the experiment has learned for some days from a feed at w = 1: its log is biased. Then
users enter over the days and come back. The days last seconds: the times of the log are stretched
before the report, and nothing else of it is changed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import redis
from numpy.typing import NDArray

from service.contract.experiments import read_experiments
from training.data import parquet
from training.data.simulate.worlds import toy_world
from training.demo.local_redis import private_redis
from training.demo.loop.at_random import show_at_random
from training.demo.loop.crowd import PLACES, Crowd
from training.demo.loop.feed import Feed
from training.demo.loop.figures import item_id, user_id
from training.demo.loop.place import NAMESPACE, Place
from training.demo.service import HOST, ask, random_port, serving
from training.errors import TrainingError
from training.feed.log_files import DECISIONS, EVENTS, LogFolder

PLAN = """\
name = "less-popular"
planned_users = 2000

[[arms]]
name = "logged"
share = 0.5
tradeoff = 1.0

[[arms]]
name = "debiased"
share = 0.5
tradeoff = 0.0
"""
FEED = """\
[labels]
window = "12h"  # events are sent in batches, which the stretched days make hours late
"""
_COMES_BACK = 0.4  # probability of each day after the first
_MORE = 0.7  # mean of the rankings of a visit beyond one
_DAY_MS = 86_400_000
_FOLLOWS_S = 60.0


def main() -> None:
    """Run the experiment and print its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/experiment"))
    parser.add_argument("--users", type=int, default=2500)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--learning-days", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    crowd = Crowd.of(toy_world(rng, options.users), rng, 1)
    with private_redis() as url:
        place = _published(options.out / "feed", crowd, rng, url)
        models = str(place.repository.root)
        (options.out / "plan.toml").write_text(PLAN)
        (options.out / "feed.toml").write_text(FEED)
        with serving(
            place.repository.root,
            url,
            port := random_port(),
            RANK_NAMESPACE=NAMESPACE,
            RANK_MODELS_POLL_S="0.5",
            RANK_DECISIONS="1",
            RANK_FEEDBACK_ENTRIES="10000000",
            RANK_EXPLORE_SLOT_SHARE="0.1",
            RANK_EXPLORE_PLACES="10",
        ):
            for _ in range(options.learning_days):
                _learn(place, crowd, rng, port)
            _training("experiment", "start", str(options.out / "plan.toml"), "--models", models)
            _await(port, lambda models: models["experiment"] is not None)
            begun_ms = int(time.time() * 1000)
            marks = _days(crowd, rng, port, options.days)
        place.collect()
    logs = options.out / "log"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    _stretch(LogFolder(place.root / "logs"), LogFolder(logs), begun_ms, marks)
    feed = str(options.out / "feed.toml")
    _training(
        *("experiment", "report", "--logs", str(logs), "--models", models),
        *("--feed", feed, "--out", str(options.out)),
    )
    started = read_experiments(place.repository.root).experiments[0].started
    sys.stdout.write(f"{options.days} days from {started:%Y-%m-%d %H:%M} UTC\n")


def _published(root: Path, crowd: Crowd, rng: np.random.Generator, url: str) -> Place:
    """Return a feed whose first model was trained on random items; the crowd has visited it."""
    shutil.rmtree(root, ignore_errors=True)
    place = Place(root, url)
    with redis.Redis.from_url(url) as client:
        show_at_random(crowd, rng, client)
    place.collect()
    dataset = place.prepare(crowd, 0)
    place.publish(place.train(dataset)[0], dataset)
    return place


def _learn(place: Place, crowd: Crowd, rng: np.random.Generator, port: int) -> None:
    """Let all users visit the feed at w = 1, and serve a model that has learned from it."""
    crowd.begin_day(0)
    with contextlib.closing(Feed(HOST, port)) as feed:
        for user in rng.permutation(crowd.world.users).tolist():
            _visit(feed, crowd, rng, user, 1.0)
        feed.flush()
    place.collect()
    dataset = place.prepare(crowd, 0)
    artifact, _ = place.train(dataset)
    place.publish(artifact, dataset)
    _await(port, lambda models: models["models"][-1]["version"] == artifact.version)


def _await(port: int, seen: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until ``GET /models`` shows something."""
    end = time.monotonic() + _FOLLOWS_S
    while not seen(json.loads(ask(port, "GET", "/models")[1])):
        if time.monotonic() > end:
            raise TrainingError("the service does not follow the repository; look at its log")
        time.sleep(0.2)


def _visit(
    feed: Feed, crowd: Crowd, rng: np.random.Generator, user: int, tradeoff: float | None
) -> None:
    """Rank for a user and report the clicks."""
    known = [item_id(item) for item in np.flatnonzero(crowd.clicked[user]).tolist()]
    answer = feed.rank(user_id(user), PLACES, known, tradeoff)
    items = np.array([int(name[1:]) for name in answer.items.item_ids])
    clicked = items[crowd.visit(rng, user, items, answer.slot)].tolist()
    feed.report(answer.request_id, user_id(user), [item_id(item) for item in clicked])


def _days(crowd: Crowd, rng: np.random.Generator, port: int, days: int) -> list[int]:
    """Let users enter and come back; return the Unix milliseconds at which each day ended."""
    enters = rng.integers(days, size=crowd.world.users)
    marks = []
    for day in range(days):
        crowd.begin_day(0)
        visits = rng.random(crowd.world.users) < np.where(
            enters == day, 1.0, np.where(enters < day, _COMES_BACK, 0.0)
        )
        visitors = rng.permutation(np.flatnonzero(visits))
        with contextlib.closing(Feed(HOST, port)) as feed:
            for user in np.repeat(visitors, 1 + rng.poisson(_MORE, len(visitors))).tolist():
                _visit(feed, crowd, rng, user, None)
            feed.flush()
        marks.append(int(time.time() * 1000) + 1)
        sys.stderr.write(f"day {day + 1}: {len(visitors)} visitors\n")
    return marks


def _stretch(log: LogFolder, out: LogFolder, begun_ms: int, marks: Sequence[int]) -> None:
    """Copy a log with times from the first day on so that each day lasts one."""
    real = np.array([begun_ms, *marks], np.float64)
    simulated = begun_ms + _DAY_MS * np.arange(len(real))

    def stretched(times: pl.Series) -> pl.Series:
        values: NDArray[np.float64] = np.interp(times.to_numpy(), real, simulated)
        return pl.Series(times.name, values.astype(np.int64))

    for table in (DECISIONS, EVENTS):
        rows = pl.concat([parquet.read(file.path) for file in log.current(table)])
        rows = rows.filter(pl.col("time_ms") >= begun_ms)
        rows = rows.with_columns(stretched(rows["time_ms"]), stretched(rows["arrived_ms"]))
        rows = rows.with_columns(sequence=pl.int_range(len(rows), dtype=pl.Int64))
        out.write(table, 0, rows)


def _training(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "training", *arguments], check=True)  # ours


if __name__ == "__main__":
    main()
