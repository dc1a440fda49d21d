"""Variant ``fuxictr``: the DCN of FuxiCTR's layers, its training loop and its loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.torch_utils import seed_everything

from tests.bench.gpu.protocol import Meter, Task, columns, read_task
from tests.bench.training_speed.fuxictr_dcn import DCN

WORKERS = 4  # processes that collate rows


class Measured(Exception):  # noqa: N818  # no error
    """All steps are measured."""


class MeteredDcn(DCN):
    """The DCN with metered steps."""

    steps: Meter

    def train_step(self, batch_data: dict[str, torch.Tensor]) -> torch.Tensor:
        """Take a step."""
        loss: torch.Tensor = super().train_step(batch_data)
        if self.steps.done(len(batch_data["label"])):
            raise Measured
        return loss

    def train_epoch(self, data_generator: Any) -> None:
        """Train an epoch by FuxiCTR's loop."""
        super(DCN, self).train_epoch(data_generator)


def main() -> None:
    """Train and print the answer."""
    task = read_task()
    seed_everything(task.seed)
    feature_map = _features(task)
    path = Path(task.scratch) / "train.parquet"
    pl.DataFrame(columns(task)).write_parquet(path)
    training, _ = RankDataLoader(
        feature_map,
        stage="train",
        train_data=str(path),
        batch_size=task.batch_rows,
        data_format="parquet",
        num_workers=WORKERS if task.device == "cuda" else 0,
    ).make_iterator()
    model = MeteredDcn(feature_map, task, gpu=0 if task.device == "cuda" else -1)
    model.steps = meter = Meter(task)
    try:
        model.fit(training, epochs=1_000_000)
    except Measured:
        meter.answer("fuxictr")


def _features(task: Task) -> FeatureMap:
    """Return the features as FuxiCTR's preprocessing describes them; ids are numbers already."""
    feature_map = FeatureMap("feed", task.scratch)
    sizes = {"user": task.users, "item": task.items}
    for name, size in sizes.items():
        feature_map.features[name] = {
            "source": "", "type": "categorical", "vocab_size": size + 1, "padding_idx": size
        }  # fmt: skip
    for name in ("popularity", "age_days"):
        feature_map.features[name] = {"source": "", "type": "numeric"}
    feature_map.labels = ["label"]
    feature_map.default_emb_dim = task.dim
    feature_map.total_features = int(np.sum([size + 1 for size in sizes.values()])) + 2
    feature_map.num_fields = feature_map.get_num_fields()
    feature_map.set_column_index()
    return feature_map


if __name__ == "__main__":
    main()
