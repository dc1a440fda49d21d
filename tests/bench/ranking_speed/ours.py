"""Variant ``ours``: the packaged PaInvRL, with the trainer of the command ``train``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from tests.bench.ranking_speed.config import bench_batches, bench_config
from tests.bench.ranking_speed.protocol import Meter, read_task
from training.data.dataset import open_dataset
from training.data.split import split_rows
from training.fitting.batches import SlateBatches, warm_items
from training.fitting.checkpoint import Checkpoint
from training.fitting.fitted_net import FittedNet
from training.fitting.selection import selection_rule
from training.fitting.trainer import fit
from training.nets.registry import build_net


class MeteredBatches(SlateBatches):
    """Meters each epoch from before its first batch until validation begins."""

    meter: Meter

    def deal(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the batches of an epoch."""
        self.meter.start_epoch()
        yield from super().deal(generator)


def main() -> None:
    """Train and print the answer."""
    task = read_task()
    torch.set_num_threads(1)
    config = bench_config()
    dataset = open_dataset(Path(task.data))
    split = split_rows(
        dataset, validation=config.split.validation, test=config.split.test, seed=config.seed
    )
    meter = Meter()
    batches = bench_batches(dataset, split, config, MeteredBatches)
    batches.meter = meter
    torch.manual_seed(task.seed)
    net = build_net(config.net, batches.tables)
    scratch = Path(task.scratch)
    net.prepare(task.seed, Checkpoint(scratch / "prepared.pt"))
    recall = selection_rule(FittedNet(net, dataset, split, warm_items(batches.tables)))

    def validate() -> float:
        meter.end_epoch()
        return recall()

    history = fit(
        net, batches, validate, config.train, seed=task.seed, checkpoint=scratch / "checkpoint.pt"
    )
    meter.answer("paretorank", list(history.history))


if __name__ == "__main__":
    main()
