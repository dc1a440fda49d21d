"""Variant ``recbole``: RecBole's DCN and trainer, on RecBole's files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.context_aware_recommender.dcn import DCN
from recbole.trainer import Trainer
from recbole.utils import init_seed

from tests.bench.training_speed.protocol import Meter, Task, read_task


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
    meter = Meter()
    os.chdir(task.scratch)  # RecBole writes logs and checkpoints there
    config = Config(model="DCN", dataset="feed", config_dict=_settings(task))
    init_seed(task.seed, reproducibility=True)
    dataset = create_dataset(config)
    training, _, test = data_preparation(config, dataset)
    model = DCN(config, training.dataset)
    trainer = MeteredTrainer(config, model)
    trainer.meter = meter
    meter.prepared()
    trainer.fit(training, saved=False, verbose=False, show_progress=False)
    measured = trainer.evaluate(test, load_best_model=False)
    meter.answer("recbole", len(training.dataset), float(measured["auc"]))


def _settings(task: Task) -> dict[str, Any]:
    content = {"item": ["item_id", "content"]} if task.content else {}
    return {
        "data_path": str(Path(task.data) / "recbole"),
        "benchmark_filename": ["train", "validation", "test"],
        "load_col": {
            "inter": ["user_id", "item_id", "label", "popularity", "age_days"],
            "user": ["user_id"],
            **content,
        },
        "numerical_features": ["popularity", "age_days", *(["content"] if task.content else [])],
        "normalize_field": ["popularity", "age_days"],
        "train_neg_sample_args": None,  # the log has its own negatives
        "eval_args": {"mode": "labeled", "group_by": None, "order": "RO", "split": {"RS": [1]}},
        "metrics": ["AUC"],
        "valid_metric": "AUC",
        "metric_decimal_place": 6,
        "embedding_size": task.dim,
        "mlp_hidden_size": [task.hidden, task.hidden],
        "cross_layer_num": task.cross_layers,
        "dropout_prob": 0.0,
        "learning_rate": task.lr,
        "epochs": task.epochs,
        "train_batch_size": task.batch_rows,
        "eval_batch_size": 65_536,
        "use_gpu": False,
        "worker": 0,
        "seed": task.seed,
        "state": "ERROR",
    }


if __name__ == "__main__":
    main()
