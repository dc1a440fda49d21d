"""A short training on a small dataset, its checkpoint in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.config import TrainOptions
from training.data.dataset import Dataset
from training.data.split import Split
from training.fitting.batches import SlateBatches, warm_items
from training.fitting.fitted_net import FittedNet
from training.fitting.trainer import Fit, fit
from training.metrics.auc import auc
from training.nets.base import FrontNet
from training.nets.cp2rec.decomposed import Cp2recDecomposed, Cp2recOptions

OPTIONS = TrainOptions(
    epochs=3,
    evaluations=2,
    patience=100,
    batch_slates=6,
    epoch_steps=1,
    slate=4,
    lr=0.02,
    lr_final=0.0004,
)
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class SmallRun:
    """A training run on the small dataset, from a net that ``init`` seeds."""

    dataset: Dataset
    checkpoint: Path

    def batches(self) -> SlateBatches:
        """Return 150 training rows in slates of up to 4, 6 slates a batch."""
        return SlateBatches(self.dataset, self._split().train, slate=4, batch_slates=6)

    def net(self, init: int = 0) -> Cp2recDecomposed:
        """Return an untrained net that draws random numbers while it trains."""
        torch.manual_seed(init)
        options = Cp2recOptions(dim=4, proxy_bins=4, proxy_dropout=0.3)
        return Cp2recDecomposed(self.batches().tables, options)

    def validation_auc(self, net: FrontNet) -> float:
        """Return the AUC at w = 1 of the 30 logged rows that do not train."""
        rows = self._split().validation
        fitting = FittedNet(net, self.dataset, self._split(), warm_items(self.batches().tables))
        return auc(
            self.dataset.impressions.label[rows], fitting.score_rows(rows, np.array([1.0]))[0]
        )

    def fit(
        self,
        net: FrontNet,
        validate: Callable[[FrontNet], float] | None = None,
        options: TrainOptions = OPTIONS,
        **more: Any,
    ) -> Fit:
        """Train ``net``; ``more`` replaces arguments of ``trainer.fit``."""
        value_of = validate or self.validation_auc
        arguments = {"seed": 0, "checkpoint": self.checkpoint, **more}
        return fit(net, self.batches(), lambda: value_of(net), options, **arguments)

    def _split(self) -> Split:
        logged = np.flatnonzero(~self.dataset.impressions.uniform)
        return Split(logged[:150], logged[150:], logged[:0], logged[:0])


def weights(net: torch.nn.Module) -> Weights:
    """Return a copy of all weights of ``net``."""
    return {name: value.clone() for name, value in net.state_dict().items()}


def equal(one: Weights, other: Weights) -> bool:
    """Return whether all weights are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Script:
    """A validation that plays ``values`` in order and remembers the weights that it saw."""

    def __init__(self, *values: float) -> None:
        self._values: Iterator[float] = iter(values)
        self.seen: list[Weights] = []

    def __call__(self, net: FrontNet) -> float:
        self.seen.append(weights(net))
        return next(self._values)
