"""The same simulated impressions in the formats of all variants, split alike."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tests.bench.training_speed.config import bench_config
from training.data.dataset import Dataset, open_dataset
from training.data.simulate.simulate import simulate
from training.data.split import split_rows

RECBOLE_NAME = "feed"


def prepare(folder: Path, impressions: int, *, for_peers: bool) -> None:
    """Fill ``folder`` with ``dataset/``, ``recbole/`` and ``fuxictr/``; does nothing where it is.

    Peers get user and item ids, the two proxies (popularity and age) and the items' content.
    """
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        made = Path(name) / folder.name
        simulate(made / "dataset", impressions=impressions)
        if for_peers:
            _write_for_peers(made)
        made.rename(folder)


def _write_for_peers(folder: Path) -> None:
    dataset = open_dataset(folder / "dataset")
    config, _ = bench_config()
    split = split_rows(
        dataset, validation=config.split.validation, test=config.split.test, seed=config.seed
    )
    recbole, fuxictr = folder / "recbole" / RECBOLE_NAME, folder / "fuxictr"
    for path in (recbole, fuxictr):
        path.mkdir(parents=True)
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    for part, rows in parts.items():
        table = _table(dataset, rows)
        table.write_parquet(fuxictr / f"{part}.parquet")
        # RecBole's atomic files: tab-separated, a column's type in its name.
        kinds = {name: "token" if name.endswith("_id") else "float" for name in table.columns}
        table.rename({name: f"{name}:{kind}" for name, kind in kinds.items()}).write_csv(
            recbole / f"{RECBOLE_NAME}.{part}.inter", separator="\t"
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
