"""Variant ``ours``: CP2Rec's DCN with one BCE head, with the trainer of the command ``train``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.bench.training_speed.config import bench_config
from tests.bench.training_speed.data import read_log
from tests.bench.training_speed.protocol import Meter, read_task
from training.data.split import split_rows
from training.fitting.batches import SlateBatches, warm_items
from training.fitting.fitted_net import FittedNet
from training.fitting.trainer import fit
from training.metrics.auc import auc
from training.nets.cp2rec.interaction import Cp2recInteraction


class MeteredBatches(SlateBatches):
    """Meters each epoch from before its first batch until validation begins."""

    meter: Meter

    def deal(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the batches of an epoch."""
        self.meter.start_epoch()
        yield from super().deal(generator)

    def validate(self) -> float:
        """Stop the clocks; return a growing number, so that ``fit`` keeps the last weights."""
        self.meter.end_epoch()
        return float(self.meter.epochs())


def main() -> None:
    """Train and print the answer."""
    task = read_task()
    torch.set_num_threads(1)
    config, options = bench_config()
    meter = Meter()
    dataset = read_log(task)
    split = split_rows(
        dataset, validation=config.split.validation, test=config.split.test, seed=config.seed
    )
    batches = MeteredBatches(
        dataset,
        split.train,
        slate=config.train.slate,
        batch_slates=config.train.batch_slates,
    )
    batches.meter = meter
    torch.manual_seed(task.seed)
    net = Cp2recInteraction(batches.tables, options)
    meter.prepared()
    schedule = config.train.model_copy(
        update={"epochs": task.epochs, "evaluations": 1, "patience": task.epochs}
    )
    checkpoint = Path(task.scratch) / "checkpoint.pt"
    fit(net, batches, batches.validate, schedule, seed=task.seed, checkpoint=checkpoint)
    fitted = FittedNet(net, dataset, split, warm_items(batches.tables))
    logit = fitted.score_rows(split.test, np.array([1.0]))[0]
    meter.answer("paretorank", batches.rows, auc(dataset.impressions.label[split.test], logit))


if __name__ == "__main__":
    main()
