"""Open Bandit Dataset (Saito et al., NeurIPS 2021 Datasets and Benchmarks; arXiv 2008.07146).

Fashion items at three places of a page, chosen by a uniformly random policy and by Bernoulli
Thompson sampling. Format: the owners' README and reader (github.com/st-tech/zr-obp, ``obd/`` and
``obp/dataset/real.py``) and their sample: ``{random,bts}/{all,men,women}/`` with
``<campaign>.csv`` (or ``.csv.gz``) and ``item_context.csv``. The README's ``action_prob`` is the
column ``propensity_score`` of the files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from training.data.columns import Floats
from training.data.convert.tables import (
    IMPRESSIONS,
    POPULARITY,
    POSITIVE_RATE,
    STATISTICS,
    Columns,
    current_statistics,
    missing,
    one_hot,
    read_csv,
    refuse,
    refuse_repeated,
    refuse_unknown,
    with_statistics,
)
from training.data.writer import refuse_existing, write_dataset
from training.errors import DatasetError

POLICIES = {"bts": "logged", "random": "uniform"}
CAMPAIGNS = ("all", "men", "women")
CONTEXT = "item_context.csv"
POSITIONS = (1, 2, 3)
USER_FEATURES = tuple(f"user_feature_{number}" for number in range(4))
ITEM_NUMBER = "item_feature_0"
ITEM_FEATURES = tuple(f"item_feature_{number}" for number in range(1, 4))
TIMESTAMP = "%Y-%m-%d %H:%M:%S%.f%:z"
MOST_VALUES = 64
HASH_CHARS = 8


def prepare_open_bandit(source: Path, out: Path) -> None:
    """Convert the campaigns in ``source`` into one dataset folder ``out``.

    Logged rows were chosen by ``bts``, uniform ones by ``random``. Label: ``click``; ``position``
    counts from 0 = left (1 in the files); ``propensity`` is ``propensity_score``, the probability
    of the item at its position; timestamps are unix seconds.

    All campaigns in ``source`` are converted; item ids are ``<campaign>-<item_id>``. For one
    campaign, use a folder that holds it alone. The dataset has no user ids: a user here is a
    distinct tuple of the four hashed user features (some hundreds), and its id is the first 8
    characters of each; many people share one user. Features with up to 64 values are one-hot
    ``user_attributes``; the converter ignores the user-item affinities.

    Modality ``attributes``: ``item_feature_0`` and the three hashed features one-hot, from the
    folder of ``bts`` (``random`` hashes the same groups to other texts). Proxies: an item's
    ``popularity`` and ``positive_rate`` under ``bts`` up to the previous day (UTC). Raises
    DatasetError naming the file and column that is missing or malformed.
    """
    refuse_existing(out)
    campaigns = _campaigns(source)
    contexts = {name: _context(source / "bts" / name / CONTEXT) for name in campaigns}
    rows = with_statistics(
        pl.concat(
            [
                _log(source / policy / name, exposure, contexts[name])
                for policy, exposure in POLICIES.items()
                for name in campaigns
            ]
        )
    )
    items, flags = _items(contexts)
    users = _users(rows)
    write_dataset(
        out,
        name="open-bandit",
        impressions=rows.select(*IMPRESSIONS, "position", "propensity", POPULARITY, POSITIVE_RATE),
        items=current_statistics(items, rows),
        users=users,
        embeddings={"attributes": (flags, items["item_id"].to_list())},
        proxies=STATISTICS,
        title="title",
        user_attributes=tuple(users.columns[1:]),
        unbiased_kind="uniformly random policy",
    )


def _campaigns(source: Path) -> list[str]:
    """Return the campaigns of ``source``; raises DatasetError where one policy lacks one."""
    by_policy = {
        policy: [c for c in CAMPAIGNS if (source / policy / c).is_dir()] for policy in POLICIES
    }
    campaigns = [name for name in CAMPAIGNS if any(name in names for names in by_policy.values())]
    for policy, names in by_policy.items():
        for name in campaigns or ["all"]:
            if name not in names:
                problem = "is missing; a campaign needs its folder under bts and under random"
                raise DatasetError(source / policy / name, problem)
    return campaigns


def _context(path: Path) -> pl.DataFrame:
    texts = dict.fromkeys(ITEM_FEATURES, pl.String)
    columns: Columns = {"item_id": pl.Int64, ITEM_NUMBER: pl.Float64, **texts}
    table = read_csv(path, columns)
    refuse_repeated(table, path, "item_id")
    return table


def _log(folder: Path, exposure: str, context: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of one policy and campaign."""
    plain = folder / f"{folder.name}.csv"
    path = next((path for path in (plain, plain.with_suffix(".csv.gz")) if path.exists()), None)
    if path is None:
        raise missing(plain)
    columns: Columns = {
        "propensity_score": pl.Float64,
        **dict.fromkeys(("item_id", "position", "click"), pl.Int64),
        **dict.fromkeys(("timestamp", *USER_FEATURES), pl.String),
    }
    table = read_csv(path, columns)
    propensity, position = pl.col("propensity_score"), pl.col("position")
    user = [pl.col(name).str.head(HASH_CHARS) for name in USER_FEATURES]
    time = pl.col("timestamp").str.to_datetime(TIMESTAMP, time_unit="us", strict=False)
    refuse(table, path, "click", ~pl.col("click").is_in([0, 1]), "{value!r} is not 0 or 1")
    refuse(table, path, "position", ~position.is_in(POSITIONS), "{value!r} is not 1, 2 or 3")
    outside = ~propensity.is_between(0, 1, closed="right")
    refuse(table, path, "propensity_score", outside, "{value!r} is not in (0, 1]")
    example = "2019-11-24 00:03:13.44+00:00"
    refuse(table, path, "timestamp", time.is_null(), "{value!r} is not a time such as " + example)
    context_path = folder.parent.parent / "bts" / folder.name / CONTEXT
    refuse_unknown(table, path, "item_id", context["item_id"], context_path)
    return table.select(
        pl.concat_str(user, separator="-").alias("user_id"),
        pl.format("{}-{}", pl.lit(folder.name), "item_id").alias("item_id"),
        pl.col("click").cast(pl.Int8).alias("label"),
        (time.dt.timestamp("us") / 1e6).alias("timestamp"),
        pl.lit(exposure).alias("exposure"),
        (position - 1).alias("position"),
        propensity.alias("propensity"),
        time.dt.date().alias("day"),
        *USER_FEATURES,
    )


def _items(contexts: dict[str, pl.DataFrame]) -> tuple[pl.DataFrame, Floats]:
    """Return item_id and title, and attributes (items, D)."""
    table = pl.concat(
        [context.with_columns(campaign=pl.lit(name)) for name, context in contexts.items()]
    )
    items = table.select(
        pl.format("{}-{}", "campaign", "item_id").alias("item_id"),
        pl.format("{} item {}", pl.col("campaign").str.to_titlecase(), "item_id").alias("title"),
    )
    groups = one_hot(table.select(ITEM_FEATURES), most=len(table))
    attributes = table.select(pl.col(ITEM_NUMBER).cast(pl.Float32)).hstack(groups)
    return items, attributes.to_numpy().astype(np.float32)


def _users(rows: pl.DataFrame) -> pl.DataFrame:
    users = rows.select("user_id", *USER_FEATURES).unique().sort("user_id")
    return users.select("user_id").hstack(one_hot(users.select(USER_FEATURES), most=MOST_VALUES))
