"""Variant ``fuxictr``: a DCN of FuxiCTR's layers, with its trainer and in-memory loader.

FuxiCTR's package has layers, loaders and the training loop, but no DCN: its repository has one as
an example. This module combines the same layers in the same way.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.preprocess import FeatureProcessor, build_dataset
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.layers import (
    CrossNet,
    FeatureEmbedding,
    MLP_Block,
)
from fuxictr.pytorch.models import BaseModel
from fuxictr.pytorch.torch_utils import seed_everything
from sklearn.metrics import roc_auc_score
from torch import nn

from tests.bench.training_speed.protocol import DcnTask, Meter, Task, read_task


class DCN(BaseModel):  # type: ignore[misc]  # untyped
    """A cross and a deep network on the embeddings of all features (Wang et al., 2017)."""

    meter: Meter

    def __init__(self, feature_map: FeatureMap, task: DcnTask, gpu: int = -1) -> None:
        super().__init__(
            feature_map,
            model_id="dcn",
            gpu=gpu,
            model_root=task.scratch,
            metrics=["AUC"],
            verbose=0,
        )
        width = feature_map.sum_emb_out_dim()
        self.embedding = FeatureEmbedding(feature_map, task.dim)
        self.deep = MLP_Block(
            input_dim=width, hidden_units=[task.hidden, task.hidden], hidden_activations="ReLU"
        )
        self.cross = CrossNet(width, task.cross_layers)
        self.out = nn.Linear(width + task.hidden, 1)
        self.compile("adam", "binary_crossentropy", task.lr)
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the click probabilities ``y_pred`` (B, 1)."""
        x = self.embedding(self.get_inputs(inputs), flatten_emb=True)  # (B, fields x dim)
        logit = self.out(torch.cat([self.cross(x), self.deep(x)], dim=1))
        return {"y_pred": self.output_activation(logit)}

    def train_epoch(self, data_generator: RankDataLoader) -> None:
        """Train a metered epoch."""
        self.meter.start_epoch()
        super().train_epoch(data_generator)
        self.meter.end_epoch()

    def eval_step(self) -> None:
        """Do nothing: the loop would validate and write a checkpoint between epochs."""

    def load_weights(self, _checkpoint: str) -> None:
        """Do nothing: there is no checkpoint, the last weights stay."""


def main() -> None:
    """Train and print the answer."""
    task = read_task()
    torch.set_num_threads(1)
    meter = Meter()
    seed_everything(task.seed)
    feature_map, loaders = _data(task)
    training, test = loaders
    model = DCN(feature_map, task)
    model.meter = meter
    meter.prepared()
    model.fit(training, epochs=task.epochs)
    label = np.concatenate([batch["label"].numpy() for batch in test])
    meter.answer("fuxictr", training.num_samples, float(roc_auc_score(label, model.predict(test))))


def _data(task: Task) -> tuple[FeatureMap, tuple[Any, Any]]:
    """Encode FuxiCTR's dataset; return its features, and the loaders of training and test rows."""
    source = Path(task.data) / "fuxictr"
    user, item = (
        {"name": name, "type": "categorical", "dtype": "str"} for name in ("user_id", "item_id")
    )
    content: dict[str, Any] = {}
    if task.content:
        content = {
            "pretrained_emb": str(source / "content.npz"),
            "pretrain_dim": np.load(source / "content.npz")["value"].shape[1],
            "pretrain_usage": "sum",
            "freeze_emb": True,
        }
    proxies = [
        {"name": name, "type": "numeric", "dtype": "float", "normalizer": "StandardScaler"}
        for name in ("popularity", "age_days")
    ]
    columns = [{"active": True, **column} for column in (user, item | content, *proxies)]
    processor = FeatureProcessor(
        feature_cols=columns,
        label_col={"name": "label", "dtype": "float"},
        dataset_id="feed",
        data_root=task.scratch,
    )
    paths = build_dataset(
        processor,
        train_data=str(source / "train.parquet"),
        test_data=str(source / "test.parquet"),
        data_format="parquet",
    )
    feature_map = FeatureMap("feed", os.path.join(task.scratch, "feed"))
    feature_map.load(processor.json_file, {"embedding_dim": task.dim})
    if task.users is not None:  # of all users, not only those of training rows
        feature_map.features["user_id"]["vocab_size"] = task.users + 2  # and padding, unknown
    training, _, test = RankDataLoader(
        feature_map,
        train_data=paths[0],
        test_data=paths[2],
        batch_size=task.batch_rows,
        data_format="parquet",
        num_workers=0,
    ).make_iterator()
    return feature_map, (training, test)


if __name__ == "__main__":
    main()
