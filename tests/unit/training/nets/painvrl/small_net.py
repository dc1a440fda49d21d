"""A small net away from where training starts, its batch and its scores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from training.data.dataset import Dataset
from training.fitting.batches import SlateBatches, training_tables
from training.nets.base import Slates, with_learned
from training.nets.painvrl.environments import Clicks
from training.nets.painvrl.modules import PainvrlOptions
from training.nets.painvrl.net import Painvrl

ROWS = np.arange(180)
SMALL = PainvrlOptions(
    dim=4, layers=2, temperature=0.15, gates="half", rounds=1, mask_steps=3, new_share=0.0, kept=0.0
)
BASES = ("lightgcn", "ultragcn")


def net_of(dataset: Dataset, seed: int = 0, **options: Any) -> Painvrl:
    """Return a net whose parameters all differ from their initial values."""
    torch.manual_seed(seed)
    net = Painvrl(training_tables(dataset, ROWS), replace(SMALL, **options))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return net


def clicks_of(dataset: Dataset) -> Clicks:
    """Return the clicks of the training rows."""
    return Clicks.of(training_tables(dataset, ROWS))


def batch_of(dataset: Dataset) -> Slates:
    """Return all training rows as one batch."""
    batches = SlateBatches(dataset, ROWS, slate=16, batch_slates=100)
    (batch,) = batches.epoch(torch.Generator().manual_seed(0))
    return batch


@torch.no_grad()
def states(net: Painvrl, dataset: Dataset) -> torch.Tensor:
    """Return the states (I, S) of all items, none of them cold."""
    inputs = with_learned(
        torch.from_numpy(dataset.embedding),
        torch.from_numpy(dataset.modality_mask).float(),
        net.learned_items(),
        torch.ones(len(dataset.item_ids), dtype=torch.bool),
    )
    state: torch.Tensor = net.item_encoder(*inputs, torch.from_numpy(dataset.proxies))
    return state


@torch.no_grad()
def scores(net: Painvrl, dataset: Dataset, t: float) -> torch.Tensor:
    """Return the logits (U, I) at tradeoff ``t``, as the service computes them."""
    return net.ranker.all_pairs(net.user_vectors(), states(net, dataset), torch.tensor([t]))


def half_open(net: Painvrl) -> None:
    """Shut every other gate."""
    net.item_encoder.gates[::2] = 0.0
