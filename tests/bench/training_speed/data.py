"""Writes the same impressions, with the same split, in the formats of all variants."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tests.bench.random_log import random_log
from tests.bench.training_speed.config import bench_config
from tests.bench.training_speed.protocol import Task
from training.data.dataset import Dataset, open_dataset
from training.data.simulate.simulate import simulate
from training.data.split import split_rows

RECBOLE_NAME = "feed"


def prepare(task: Task, *, for_peers: bool) -> None:
    """Fill ``task.data`` with ``recbole/``, ``fuxictr/`` and a simulated log, unless it exists.

    Peers get user and item ids, the two proxies (popularity and age) and item content.
    """
    folder = Path(task.data)
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        scratch = replace(task, data=str(Path(name) / folder.name))
        if task.users is None:
            simulate(Path(scratch.data) / "dataset", impressions=task.impressions)
        if for_peers:
            _write_for_peers(Path(scratch.data), read_log(scratch))
        Path(scratch.data).rename(folder)


def read_log(task: Task) -> Dataset:
    """Return the log that all variants train on."""
    if task.users is not None:
        return random_log(task.users, task.impressions)
    return open_dataset(Path(task.data) / "dataset")


def _write_for_peers(folder: Path, dataset: Dataset) -> None:
    config, _ = bench_config()
    split = split_rows(
        dataset, validation=config.split.validation, test=config.split.test, seed=config.seed
    )
    recbole, fuxictr = folder / "recbole" / RECBOLE_NAME, folder / "fuxictr"
    for path in (recbole, fuxictr):
        path.mkdir(parents=True)
    splits = {"train": split.train, "validation": split.validation, "test": split.test}
    for name, rows in splits.items():
        table = _table(dataset, rows)
        table.write_parquet(fuxictr / f"{name}.parquet")
        # RecBole's atomic files: tab-separated, with the type of a column in its name.
        types = {each: "token" if each.endswith("_id") else "float" for each in table.columns}
        table.rename({each: f"{each}:{kind}" for each, kind in types.items()}).write_csv(
            recbole / f"{RECBOLE_NAME}.{name}.inter", separator="\t"
        )
    # All users, not only those of training rows: so many has the table of their embeddings.
    pl.DataFrame({"user_id:token": dataset.user_ids}).write_csv(
        recbole / f"{RECBOLE_NAME}.user", separator="\t"
    )
    vectors = [" ".join(f"{value:.6g}" for value in row) for row in dataset.embedding]
    pl.DataFrame({"item_id:token": dataset.item_ids, "content:float_seq": vectors}).write_csv(
        recbole / f"{RECBOLE_NAME}.item", separator="\t"
    )
    np.savez(fuxictr / "content.npz", key=np.array(dataset.item_ids), value=dataset.embedding)


def _table(dataset: Dataset, rows: NDArray[np.int64]) -> pl.DataFrame:
    impressions = dataset.impressions
    proxies = {
        field.name: impressions.proxies[rows, column]
        for column, field in enumerate(dataset.proxy_fields)
    }
    return pl.DataFrame(
        {
            "user_id": np.array(dataset.user_ids)[impressions.user[rows]],
            "item_id": np.array(dataset.item_ids)[impressions.item[rows]],
            "label": impressions.label[rows],
            **proxies,
        }
    )
