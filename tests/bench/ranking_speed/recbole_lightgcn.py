"""Variant ``recbole``: RecBole's LightGCN and trainer, on RecBole's files."""

from __future__ import annotations

import os
from typing import Any

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.general_recommender.lightgcn import (
    LightGCN,
)
from recbole.trainer import Trainer
from recbole.utils import init_seed
from scipy.sparse import dok_matrix

from tests.bench.ranking_speed.protocol import Meter, Task, read_task

_LR = 5e-3  # the best on validation of those tried: docs/results.md
_EPOCHS = 200
_PATIENCE = 20  # epochs

# RecBole fills its graph with a private method that newer scipy no longer has.
dok_matrix._update = lambda matrix, cells: matrix._dict.update(cells)


class MeteredTrainer(Trainer):  # type: ignore[misc]  # untyped
    """RecBole's trainer with metered epochs."""

    meter: Meter

    def _train_epoch(self, *args: Any, **kwargs: Any) -> Any:
        self.meter.start_epoch()
        loss = super()._train_epoch(*args, **kwargs)
        self.meter.end_epoch()
        return loss


def main() -> None:
    """Train and print the answer."""
    task = read_task()
    torch.set_num_threads(1)
    os.chdir(task.scratch)  # RecBole writes logs and checkpoints there
    config = Config(model="LightGCN", dataset="clicks", config_dict=_settings(task))
    init_seed(task.seed, reproducibility=True)
    dataset = create_dataset(config)
    meter = Meter()
    training, validation, _ = data_preparation(config, dataset)
    trainer = MeteredTrainer(config, LightGCN(config, training.dataset))
    trainer.meter = meter
    recall: list[float] = []
    trainer.fit(
        training,
        validation,
        saved=False,
        verbose=False,
        callback_fn=lambda _epoch, score: recall.append(float(score)),
    )
    meter.answer("recbole", recall)


def _settings(task: Task) -> dict[str, Any]:
    return {
        "data_path": task.recbole,
        "benchmark_filename": ["train", "validation", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "eval_args": {"mode": "full", "group_by": "user", "order": "RO", "split": {"RS": [1]}},
        "metrics": ["Recall"],
        "topk": [20],
        "valid_metric": "Recall@20",
        "metric_decimal_place": 6,
        "embedding_size": task.dim,
        "n_layers": task.layers,
        "reg_weight": 1e-4,
        "learning_rate": _LR,
        "epochs": _EPOCHS,
        "stopping_step": _PATIENCE,
        "train_batch_size": task.batch_rows,
        "eval_batch_size": 4_000_000,
        "use_gpu": False,
        "worker": 0,
        "seed": task.seed,
        "state": "ERROR",
    }


if __name__ == "__main__":
    main()
