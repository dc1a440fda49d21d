"""Variants ``ours-...``: a net of the packaged configurations, with the trainer of ``train``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from service.contract.manifest import Modality, Proxy
from service.contract.titles import ItemTitle
from tests.bench.gpu.protocol import CONTENT_DIM, SLATE, Meter, Task, columns, content, read_task
from tests.bench.training_speed.config import bench_config
from training.config import Config, load_config
from training.data.dataset import Dataset, Impressions
from training.data.schema import Description, Embedding
from training.fitting.batches import SlateBatches
from training.fitting.trainer import fit
from training.nets.registry import build_net

PROXIES = ("popularity", "age_days")


class Measured(Exception):  # noqa: N818  # no error
    """All steps are measured."""


class MeteredBatches(SlateBatches):
    """Deals epochs until the meter has all its steps."""

    meter: Meter

    def deal(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the batches of as many epochs as it takes."""
        while True:
            for numbers in super().deal(generator):
                yield numbers
                if self.meter.done(self.rows_in(numbers)):
                    raise Measured


def main() -> None:
    """Train and print the answer."""
    task = read_task()
    config = _config(task)
    dataset = _dataset(task)
    batches = MeteredBatches(
        dataset,
        np.arange(len(dataset.impressions)),
        slate=SLATE,
        batch_slates=task.batch_rows // SLATE,
    )
    batches.meter = meter = Meter(task)
    torch.manual_seed(task.seed)
    net = build_net(config.net.alternatives()[-1], batches.tables).to(task.device)
    checkpoint = Path(task.scratch) / "checkpoint.pt"
    try:
        fit(net, batches, lambda: 0.0, config.train, seed=task.seed, checkpoint=checkpoint)
    except Measured:
        meter.answer("paretorank")


def _config(task: Task) -> Config:
    config = bench_config()[0] if task.model == "dcn" else load_config(task.model)
    precise = {"precision": task.precision, "evaluations": 1}
    return config.model_copy(update={"train": config.train.model_copy(update=precise)})


def _dataset(task: Task) -> Dataset:
    rows = columns(task)
    proxies = np.stack([rows[name] for name in PROXIES], 1)
    impressions = Impressions(
        user=rows["user"],
        item=rows["item"],
        label=rows["label"],
        timestamp=np.arange(len(proxies), dtype=np.float64),
        proxies=proxies,
        uniform=np.zeros(len(proxies), np.bool_),
        position=rows["position"],
        propensity=None,
        split=None,
    )
    fields = tuple(Proxy(name=name) for name in PROXIES)
    return Dataset(
        path=Path("memory"),
        description=Description(
            name="memory", proxies=fields, embeddings={"content": Embedding(values="v", ids="i")}
        ),
        fingerprint="0" * 64,
        user_ids=[""] * task.users,  # only their number matters
        item_ids=[""] * task.items,
        shown=[ItemTitle("")] * task.items,
        modalities=(Modality(name="content", dim=CONTENT_DIM),),
        embedding=content(task),
        modality_mask=np.ones((task.items, 1), np.bool_),
        proxies=np.zeros((task.items, len(PROXIES)), np.float32),
        user_attributes=np.zeros((task.users, 0), np.float32),
        impressions=impressions,
    )


if __name__ == "__main__":
    main()
