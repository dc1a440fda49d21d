"""A simulated feed as tables, and measures of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from training.data.dataset import Dataset, open_dataset

DAYS, SLATE, DAY_S = 20, 16, 86_400
IMPRESSIONS = 64_000  # 200 users
USERS = IMPRESSIONS // (DAYS * SLATE)


@dataclass(frozen=True)
class Feed:
    """A simulated folder: its dataset, its items, and all rows with day and truth as columns."""

    folder: Path
    dataset: Dataset
    rows: pl.DataFrame
    items: pl.DataFrame

    @property
    def logged(self) -> pl.DataFrame:
        return self.rows.filter(exposure="logged")

    @property
    def uniform(self) -> pl.DataFrame:
        return self.rows.filter(exposure="uniform")


def load(folder: Path) -> Feed:
    impressions = pl.read_parquet(folder / "impressions.parquet", glob=False)
    oracle = pl.read_parquet(folder / "oracle.parquet", glob=False)
    assert len(impressions) == len(oracle)
    rows = pl.concat([impressions, oracle], how="horizontal")
    seconds = pl.col("timestamp") // DAY_S
    rows = rows.with_columns(day=seconds - seconds.min())
    return Feed(
        folder, open_dataset(folder), rows, pl.read_parquet(folder / "items.parquet", glob=False)
    )


def files(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def arrival_days(feed: Feed) -> pl.DataFrame:
    return feed.items.select("item_id", arrival=DAYS - pl.col("age_days").cast(pl.Int64))


def auc(rows: pl.DataFrame, score: str) -> float:
    return float(roc_auc_score(rows["label"], rows[score]))


def tiktok_file(folder: Path, *, users: int = 30, items: int = 60, per_user: int = 8) -> Path:
    """Write a small ``tiktok.npz`` whose users like one of two kinds of items."""
    rng = np.random.default_rng(0)
    kind = np.arange(items) % 2
    pairs = [
        (user, item)
        for user in range(users)
        for item in rng.permutation(np.flatnonzero(kind == user % 2))[:per_user]
    ]
    content = (2 * kind - 1)[:, None] + 0.5 * rng.standard_normal((items, 4))
    folder.mkdir(exist_ok=True)
    np.savez(
        folder / "tiktok.npz",
        trn=np.array(pairs, np.int16),
        val=np.array([[0, 1]], np.int16),
        tst=np.array([[1, 0]], np.int16),
        image=content.astype(np.float16),
        audio=rng.standard_normal((items, 3)).astype(np.float16),
    )
    return folder
