"""The simulator: a feed whose truth is known, on generated items or on real TikTok content.

What is shown depends on popularity and freshness (and, by ``policy_weight``, on the truth), and
what is clicked depends on them too: accuracy on the log and on uniform exposure part ways.
"""

from __future__ import annotations

import itertools
import logging
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from service.contract.manifest import Proxy
from training.data.simulate.log import DAYS, SLATE, Columns, Exposure, simulate_log
from training.data.simulate.report import oracle_aucs, plot_simulation
from training.data.simulate.worlds import MAX_TASTE_DIM, TASTE_DIM, tiktok_world, toy_world
from training.data.writer import refuse_existing, write_dataset
from training.errors import ConfigError

TOY_IMPRESSIONS = 200_000
TIKTOK_IMPRESSIONS = 3_500 * DAYS * SLATE
UNIFORM_SHARE = 5 / 28  # 200,000 uniform rows beside TikTok's 1,120,000 logged ones

ORACLE = ("truth_logit", "click_probability", "served_logit")

logger = logging.getLogger(__name__)


def simulate(
    out: Path,
    *,
    source: Path | None = None,
    seed: int = 0,
    impressions: int | None = None,
    policy_weight: float = 0.8,
    taste_dim: int | None = None,
) -> None:
    """Write the dataset folder ``out``; the same arguments give the same bytes.

    The truth, and the specification: r = -1.3 + 1.4 clip(z(S), +-3) + .5 q is the logit that a
    user likes an item, S their preference and q the item's quality. On each of 20 days a user is
    shown one slate of 16: of 200 candidates drawn by (1 + clicks)^.5 e^a, the top 16 by
    ``policy_weight`` r + .6 h + 1.5 a + Gumbel noise, none that the user has been shown before. h
    is z(log(1 + clicks)) over arrived items at the start of the day, a = exp(-age / 3 days).
    P(click at position k) is (k + 1)^-.4 sigmoid(r + g_u (h - 1.5) + .8 a) with log-normal
    conformity g_u. 60 % of items exist at the start, the rest arrive on days 1 to 18. Our choices
    are marked in ``worlds`` and ``log``.

    ``impressions`` has 320 logged rows a user (20 days x 16): ``timestamp`` in unix seconds,
    ``position`` 0 to 15, ``propensity`` the probability in (0, 1] of being in the slate given the
    noise of the other items, proxies ``popularity`` (= h) and ``age_days`` as of the row's day.
    Then come 5 / 28 as many rows with exposure ``uniform``, from the last two days: one random
    arrived item, propensity 1 / arrived items, position 0, label from sigmoid(r). The items table
    holds the proxies as of the end of the log. ``oracle.parquet``, row by row beside
    ``impressions``: ``truth_logit`` = r, ``click_probability`` of the row as exposed, and
    ``served_logit`` = r + g_u (h - 1.5) + .8 a, which leaves the position out. ``simulation.png``
    shows what was made: the long tail of clicks, clicks by position against (k + 1)^-.4, exposure
    by age, and clicks against truth by popularity. The AUCs of the oracle are logged.

    Rows are streamed through part files in a hidden folder beside ``out``, so 100 million take no
    more memory than their users. All of ``out`` appears at the end or nothing does.

    Args:
        out: A folder that does not exist or is empty.
        source: The folder with ``tiktok.npz``, for its users, items and embeddings; without it
            800 generated items with modalities ``image`` and ``audio``.
        seed: Of everything random.
        impressions: Logged rows wanted, rounded to whole users; 200,000, or 1,120,000 for TikTok.
        policy_weight: In [0, 10]: how much the logging policy knows of the truth. The
            specification's three worlds have .8, .4 and 0.
        taste_dim: Dimensions of the real users' tastes, 1 to 64; 32 unless told. The fewer, the
            more a user's clicks tell of what else they like.

    Raises:
        DatasetError: ``out`` is not empty, or ``source`` is missing or malformed.
        ConfigError: An argument is out of range.

    """
    refuse_existing(out)
    if impressions is None:
        impressions = TOY_IMPRESSIONS if source is None else TIKTOK_IMPRESSIONS
    if impressions < DAYS * SLATE:
        raise ConfigError(f"impressions: {impressions} is below one user's {DAYS * SLATE}")
    if not 0 <= policy_weight <= 10:
        raise ConfigError(f"policy_weight: {policy_weight} is not in [0, 10]")
    if taste_dim is not None and source is None:
        raise ConfigError("taste_dim: generated users have tastes of their own; give a source")
    if taste_dim is not None and not 1 <= taste_dim <= MAX_TASTE_DIM:
        raise ConfigError(f"taste_dim: {taste_dim} is not in [1, {MAX_TASTE_DIM}]")
    if seed < 0:
        raise ConfigError(f"seed: {seed} is negative")
    rng = np.random.default_rng(seed)
    users = round(impressions / (DAYS * SLATE))
    if source is None:
        world = toy_world(rng, users)
    else:
        world = tiktok_world(rng, source, users, taste_dim or TASTE_DIM)
    logged_rows = users * DAYS * SLATE
    uniform_rows = round(UNIFORM_SHARE * logged_rows)
    logger.info("world %s: %d users, %d items", world.name, world.users, world.items)
    logger.info("simulating %d logged impressions, %d uniform", logged_rows, uniform_rows)

    user_ids = pl.Series("user_id", [f"u{row:04d}" for row in range(world.users)])
    item_ids = pl.Series("item_id", [f"i{row:04d}" for row in range(world.items)])
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".simulate-", dir=out.parent) as parts:
        number = itertools.count()

        def emit(exposure: Exposure, rows: Columns) -> None:
            table = _table(rows, exposure, user_ids, item_ids)
            table.write_parquet(Path(parts) / f"{exposure}-{next(number):06d}.parquet")

        popularity, age_days = simulate_log(
            world, rng, emit, policy_weight=policy_weight, uniform_rows=uniform_rows
        )
        logged = pl.scan_parquet(sorted(Path(parts).glob("logged-*")))
        uniform = pl.scan_parquet(sorted(Path(parts).glob("uniform-*")))
        for what, value in oracle_aucs(logged, uniform).items():
            logger.info("oracle AUC, %s: %.4f", what, value)
        title = (
            f"{world.name}, seed {seed}, policy weight {policy_weight:g}: "
            f"{logged_rows:,} logged and {uniform_rows:,} uniform impressions"
        )
        both = pl.concat([logged, uniform])
        titles = pl.Series("title", world.titles)
        items = pl.DataFrame([item_ids, titles]).with_columns(
            popularity=popularity, age_days=age_days
        )
        write_dataset(
            out,
            name=world.name,
            impressions=both.drop(ORACLE),
            items=items,
            users=user_ids.to_frame(),
            embeddings={
                name: (values, item_ids[rows].to_list())
                for name, (values, rows) in world.embeddings.items()
            },
            proxies=(Proxy(name="popularity"), Proxy(name="age_days")),
            title="title",
            extra={"oracle": both.select(ORACLE)},
            files={"simulation.png": plot_simulation(logged, uniform, age_days, title=title)},
        )
    logger.info("wrote %s", out)


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
