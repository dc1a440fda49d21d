"""The simulator: a feed whose truth is known: generated, on content, or on Jester's ratings.

Popularity and freshness steer both exposure and clicks; ``policy_weight`` is the weight of the
truth in exposure. A ranker that is accurate on the log therefore need not be accurate under
uniform exposure.

The truth, and the specification: r = -1.3 + 1.4 clip(z(S), +-3) + .5 q is the logit that a user
likes an item, S their preference and q the item's quality. On Jester's ratings tastes are real: r
grows with the user's own rating (``worlds.jester_world``), only exposure and clicks are simulated.

On each of 20 days a user is shown one slate of 16, or of 2 where the catalogue is Jester's 100
jokes: of 200 candidates drawn by (1 + clicks)^.5 e^a, the top ones by ``policy_weight`` r +
.6 h + 1.5 a + Gumbel noise, without those that the user was shown before. h is z(log(1 + clicks))
over arrived items at the start of the day, a = exp(-age / 3 days). P(click at position k) is
(k + 1)^-.4 sigmoid(r + g_u (h - 1.5) + .8 a) with log-normal conformity g_u. 60 % of items exist at
the start, the rest arrive on days 1 to 18. Our choices are marked in ``worlds`` and ``log``.

The folder: ``impressions`` has 20 slates a user: ``timestamp`` in unix seconds, ``position`` 0 =
top, ``propensity`` the probability in (0, 1] that the item is in the slate given the noise of the
other items, proxies ``popularity`` (= h) and ``age_days`` as of the row's day. After them, 5 / 28
as many rows have exposure ``uniform``; they lie in the last two days: one random arrived item,
propensity 1 / arrived items, position 0, label from sigmoid(r). The items table holds the proxies
as of the end of the log.

``oracle.parquet`` has the same rows in the same order as ``impressions``: ``truth_logit`` = r,
``click_probability`` of the row as exposed, and ``served_logit`` = r + g_u (h - 1.5) + .8 a, which
leaves the position out. ``simulation.png`` plots the long tail of clicks, clicks by position
against (k + 1)^-.4, exposure by age, and clicks against truth by popularity.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from service.contract.files import staged_folder
from service.contract.manifest import Proxy
from training.data import parquet
from training.data.convert import jester, tiktok
from training.data.simulate.log import Columns, Exposure, simulate_log
from training.data.simulate.options import Options, WorldName
from training.data.simulate.report import oracle_aucs, plot_simulation
from training.data.simulate.worlds import (
    TASTE_DIM,
    TextContent,
    World,
    jester_world,
    text_world,
    tiktok_world,
    toy_world,
)
from training.data.writer import refuse_existing, write_dataset
from training.errors import DatasetError

WORLDS: dict[str, WorldName] = {tiktok.FILE: "tiktok", jester.RATINGS: "jester"}
ORACLE = ("truth_logit", "click_probability", "served_logit")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Log:
    """A simulated log: lazy tables of rows with their truth, and the items after the last day."""

    logged: pl.LazyFrame
    uniform: pl.LazyFrame
    users: pl.DataFrame
    items: pl.DataFrame


def simulate(
    out: Path,
    *,
    source: Path | TextContent | None = None,
    seed: int = 0,
    impressions: int | None = None,
    policy_weight: float = 0.8,
    taste_dim: int | None = None,
) -> None:
    """Write the dataset folder ``out``; the same arguments give the same bytes.

    Rows are streamed through files in a hidden folder next to ``out``: memory grows with the users
    only. All of ``out`` appears at the end, or nothing does. The AUCs of the oracle are logged.

    Args:
        out: A folder that does not exist or is empty.
        source: The folder with ``tiktok.npz``, for its users, items and embeddings, or with the
            owners' files of Jester, for its ratings and jokes; or texts; without it 800 generated
            items with modalities ``image`` and ``audio``.
        seed: Seed of every draw.
        impressions: Logged rows, rounded to whole users; by default 200,000; 1,120,000 for TikTok;
            288,000 for Jester, one user for each of its complete rows.
        policy_weight: Weight of the truth in the logging policy's score, in [0, 10]. The
            specification's three worlds have .8, .4 and 0.
        taste_dim: Dimensions of the tastes fitted to TikTok, 1 to 64; 32 by default. With fewer, a
            user's clicks predict better which other items the user likes.

    Raises:
        DatasetError: ``out`` is not empty, or ``source`` is missing or malformed.
        ConfigError: An argument is out of range.

    """
    refuse_existing(out)
    options = Options(_world_name(source), seed, impressions, policy_weight, taste_dim)
    rng = np.random.default_rng(options.seed)
    world = _world(rng, source, options)
    logger.info("world %s: %d users, %d items", world.name, world.users, world.items)
    logger.info(
        "simulating %d logged impressions, %d uniform", options.logged_rows, options.uniform_rows
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with staged_folder(out.parent, ".simulate-") as scratch:
        log = _stream(world, rng, options, scratch)
        for rows, auc in oracle_aucs(log.logged, log.uniform).items():
            logger.info("oracle AUC, %s: %.4f", rows, auc)
        _write(out, world, options, log)
    logger.info("wrote %s", out)


def _world_name(source: Path | TextContent | None) -> WorldName:
    if source is None:
        return "toy"
    if isinstance(source, TextContent):
        return "texts"
    for file, name in WORLDS.items():
        if (source / file).exists():
            return name
    raise DatasetError(source, f"must be a folder that holds {' or '.join(WORLDS)}")


def _world(rng: np.random.Generator, source: Path | TextContent | None, options: Options) -> World:
    if source is None:
        return toy_world(rng, options.users)
    if isinstance(source, TextContent):
        return text_world(rng, source, options.users)
    if options.world == "jester":
        return jester_world(rng, source, options.users)
    return tiktok_world(rng, source, options.users, options.taste_dim or TASTE_DIM)


def _stream(world: World, rng: np.random.Generator, options: Options, scratch: Path) -> _Log:
    """Run the feed; its rows go to files in ``scratch`` block by block."""
    user_ids = pl.Series("user_id", [f"u{row:04d}" for row in range(world.users)])
    item_ids = pl.Series("item_id", [f"i{row:04d}" for row in range(world.items)])
    number = itertools.count()

    def emit(exposure: Exposure, rows: Columns) -> None:
        table = _table(rows, exposure, user_ids, item_ids)
        parquet.write(table, scratch / f"{exposure}-{next(number):06d}.parquet")

    popularity, age_days = simulate_log(
        world,
        rng,
        emit,
        policy_weight=options.policy_weight,
        slate=options.slate,
        uniform_rows=options.uniform_rows,
    )
    items = pl.DataFrame([item_ids, pl.Series("title", world.titles)])
    return _Log(
        logged=parquet.scan(*sorted(scratch.glob("logged-*"))),
        uniform=parquet.scan(*sorted(scratch.glob("uniform-*"))),
        users=user_ids.to_frame(),
        items=items.with_columns(popularity=popularity, age_days=age_days),
    )


def _table(
    rows: Columns, exposure: Exposure, user_ids: pl.Series, item_ids: pl.Series
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": user_ids.gather(rows.user),
            "item_id": item_ids.gather(rows.item),
            "label": rows.label,
            "timestamp": rows.timestamp,
            "position": rows.position,
            "propensity": rows.propensity,
            "popularity": rows.popularity,
            "age_days": rows.age_days,
            "exposure": pl.repeat(exposure, len(rows.user), eager=True),
            **{name: getattr(rows, name) for name in ORACLE},
        }
    )


def _write(out: Path, world: World, options: Options, log: _Log) -> None:
    title = (
        f"{world.name}, seed {options.seed}, policy weight {options.policy_weight:g}: "
        f"{options.logged_rows:,} logged and {options.uniform_rows:,} uniform impressions"
    )
    age_days = log.items["age_days"].to_numpy()
    plot = plot_simulation(log.logged, log.uniform, age_days, title=title)
    rows = pl.concat([log.logged, log.uniform])
    item_ids = log.items["item_id"]
    write_dataset(
        out,
        name=world.name,
        impressions=rows.drop(ORACLE),
        items=log.items,
        users=log.users,
        embeddings={
            name: (values, item_ids[item_rows].to_list())
            for name, (values, item_rows) in world.embeddings.items()
        },
        proxies=(Proxy(name="popularity"), Proxy(name="age_days")),
        title="title",
        extra={"oracle": rows.select(ORACLE)},
        files={"simulation.png": plot},
    )
