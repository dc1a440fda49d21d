"""Days of a feed that learns from what it shows: serve, click, collect, train, promote."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import redis
from pydantic import TypeAdapter
from tqdm import tqdm

from service.contract.artifact import Artifact, open_artifact
from service.contract.files import check_folder, write_atomically
from training.data.dataset import open_dataset
from training.data.simulate.worlds import toy_world
from training.demo.local_redis import private_redis
from training.demo.loop.at_random import show_at_random
from training.demo.loop.crowd import PLACES, Crowd
from training.demo.loop.feed import Feed
from training.demo.loop.figures import Day, Shown, Truth, item_id, unbiased_aucs, user_id
from training.demo.loop.place import MODEL, NAMESPACE, Place, items_table
from training.demo.service import HOST, random_port, serving
from training.errors import TrainingError

GRID = {0.0: 0.34, 0.5: 0.33, 1.0: 0.33}  # of the drawn tradeoffs: their probabilities
_SLOT_PLACES = 10  # of which one may be the uniform slot
_SWAP_S = 60.0
_BATCH = 500  # items of one request

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arm:
    """A way to serve: at one tradeoff, or at randomised ones."""

    name: str
    tradeoff: float | None


ARMS = (Arm("w = 1", 1.0), Arm("w = 0.5", 0.5), Arm("w = 0", 0.0), Arm("w drawn", None))


@dataclass(frozen=True)
class Options:
    """What a loop simulates; ``slot_share`` of the rankings have a uniform slot."""

    days: int
    users: int
    slot_share: float


_DAYS = TypeAdapter(tuple[Day, ...])

Results = dict[str, list[tuple[Day, ...]]]  # by the arm's name: the days of each seed


def run_loop(out: Path, options: Options, arms: Sequence[Arm], seeds: Iterable[int]) -> Results:
    """Run every arm with every seed in ``out``.

    What an earlier call with the same options finished is not run again. The log, the models and
    the last dataset of each arm's feed stay in a folder.
    """
    check_folder(out)
    results: Results = {arm.name: [] for arm in arms}
    for seed in seeds:
        folder = out / f"{options.users}x{options.days}-{options.slot_share:g}" / f"seed-{seed}"
        for arm in arms:
            place = folder / f"{_folder(arm)}.json"
            if place.exists():
                days = _DAYS.validate_json(place.read_bytes())
            else:
                log.info("seed %d, %s", seed, arm.name)
                days = _run(folder, options, arm, seed)
                write_atomically(place, _DAYS.dump_json(days, indent=1))
            results[arm.name].append(days)
    return results


def _run(folder: Path, options: Options, arm: Arm, seed: int) -> tuple[Day, ...]:
    crowd, rng = _crowd(options, seed)
    with private_redis() as url:
        first = _first_feed(folder / "first", crowd, rng, url)
        place = Place(folder / _folder(arm), url)
        shutil.rmtree(place.root, ignore_errors=True)
        shutil.copytree(first.root, place.root)
        artifact = open_artifact(place.repository.path(MODEL, 1))
        place.publish(artifact, open_dataset(place.root / "data"))
        with (
            serving(
                place.repository.root,
                url,
                port := random_port(),
                RANK_NAMESPACE=NAMESPACE,
                RANK_MODELS_POLL_S="0.5",
                RANK_DECISIONS="1",
                RANK_FEEDBACK_ENTRIES="10000000",
                RANK_EXPLORE_SLOT_SHARE=str(options.slot_share),
                RANK_EXPLORE_PLACES=str(_SLOT_PLACES),
                RANK_EXPLORE_TRADEOFF_SHARE="1",  # of requests that name no tradeoff
                RANK_EXPLORE_TRADEOFFS=",".join(f"{w:g}:{chance}" for w, chance in GRID.items()),
            ),
        ):
            days = _days(place, port, crowd, rng, options, arm)
    shutil.rmtree(place.root / "training")
    return days


def _folder(arm: Arm) -> str:
    """Return the name of the folder of an arm's feed."""
    return arm.name.replace(" ", "")


def _crowd(options: Options, seed: int) -> tuple[Crowd, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return Crowd.of(toy_world(rng, options.users), rng, options.days + 1), rng


def _first_feed(root: Path, crowd: Crowd, rng: np.random.Generator, url: str) -> Place:
    """Return the folder of a feed of random items, with a first model of them.

    It is made once for all arms of a seed. The crowd has visited the feed afterwards.
    """
    place = Place(root, url)
    if (root / "done").exists():
        show_at_random(crowd, rng, None)
        return place
    shutil.rmtree(root, ignore_errors=True)
    with redis.Redis.from_url(url) as client:
        show_at_random(crowd, rng, client)
    place.collect()
    place.train(place.prepare(crowd, 0))
    (root / "done").touch()
    return place


def _days(
    place: Place,
    port: int,
    crowd: Crowd,
    rng: np.random.Generator,
    options: Options,
    arm: Arm,
) -> tuple[Day, ...]:
    truth, days = Truth(), list[Day]()
    for number in range(1, options.days + 1):
        crowd.begin_day(number)
        before = crowd.clicks.copy()
        with contextlib.closing(Feed(HOST, port)) as feed:  # no training waits with it
            _add_arriving(feed, crowd, number)
            begun = time.monotonic()
            shown = _visits(feed, crowd, rng, arm, number, truth)
            seconds = time.monotonic() - begun
        day = shown.day(crowd, number, before, seconds)
        place.collect()
        dataset = place.prepare(crowd, number)
        artifact, fitted = place.train(dataset)
        front = artifact.manifest.front
        true = truth.aucs(fitted, np.array([point.tradeoff for point in front.points]))
        days.append(day.model_copy(update={"unbiased": unbiased_aucs(front, true)}))
        for failure in place.publish(artifact, dataset):
            log.info("day %d: promoted although the gate says: %s", number, failure)
        _wait_for(port, artifact)
        log.info("%s: %s", arm.name, days[-1])
    return tuple(days)


def _visits(
    feed: Feed, crowd: Crowd, rng: np.random.Generator, arm: Arm, day: int, truth: Truth
) -> Shown:
    """Let every user visit the feed once, in random order."""
    shown = Shown()
    users = rng.permutation(crowd.world.users).tolist()
    for user in tqdm(users, desc=f"{arm.name}, day {day}", unit=" visits", leave=False):
        truth.draw(crowd, rng, user, day, _SLOT_PLACES)
        known = [item_id(item) for item in np.flatnonzero(crowd.clicked[user]).tolist()]
        answer = feed.rank(user_id(user), PLACES, known, arm.tradeoff)
        if arm.tradeoff is None:
            for tradeoff in GRID:
                unseen = feed.preview(user_id(user), PLACES, known, tradeoff).rows
                shown.add_unseen(tradeoff, crowd.click_probability(user, unseen, np.arange(PLACES)))
        items = answer.rows
        liking = float(crowd.liking(user, items).mean())
        clicked = items[crowd.visit(rng, user, items, answer.slot)]
        shown.add(items, liking, explored=answer.slot is not None, clicks=len(clicked))
        clicks = [item_id(item) for item in clicked.tolist()]
        feed.report(answer.request_id, user_id(user), clicks)
    feed.flush()
    return shown


def _add_arriving(feed: Feed, crowd: Crowd, day: int) -> None:
    """Put the items of a day into the feed, while it runs."""
    rows = items_table(crowd, crowd.arriving(day)).to_dicts()
    modalities = crowd.world.embeddings
    for start in range(0, len(rows), _BATCH):
        feed.put_items([_item(row, modalities) for row in rows[start : start + _BATCH]])


def _item(row: dict[str, Any], modalities: Iterable[str]) -> dict[str, Any]:
    vectors = {name: row[name] for name in modalities if row[name] is not None}
    return {"item_id": row["item_id"], "title": row["title"], "vectors": vectors}


def _wait_for(port: int, artifact: Artifact) -> None:
    """Wait until the service ranks by a version; raises TrainingError if it does not."""
    end = time.monotonic() + _SWAP_S
    with contextlib.closing(Feed(HOST, port)) as feed:
        while feed.serving() != artifact.version:
            if time.monotonic() > end:
                raise TrainingError(
                    f"the service does not follow to {artifact.label}; look at its log"
                )
            time.sleep(0.1)
