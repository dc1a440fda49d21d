"""Fitted nets without a training: every parameter is moved from where it starts."""

from __future__ import annotations

import numpy as np
import torch

from service.contract.manifest import Calibration
from training.data.dataset import Dataset
from training.data.split import Split, split_rows
from training.fitting.batches import training_tables, warm_items
from training.fitting.calibration import UNCALIBRATED
from training.fitting.fitted_net import FittedNet
from training.nets.base import NetOptions
from training.nets.cp2rec.decomposed import Cp2recOptions
from training.nets.painvrl.modules import PainvrlOptions
from training.nets.painvrl.net import Painvrl
from training.nets.registry import build_net

COLD = 4  # the item without training rows


def split_in_order(dataset: Dataset) -> Split:
    """Split the logged rows in order: half of them train, a sixth validate, a third test."""
    rows, uniform = np.arange(len(dataset.impressions)), dataset.impressions.uniform
    logged = rows[~uniform]
    train, validation, test = np.split(logged, [len(logged) // 2, 2 * len(logged) // 3])
    return Split(train, validation, test, rows[uniform])


def fitted_net(
    dataset: Dataset,
    options: NetOptions | None = None,
    calibration: Calibration = UNCALIBRATED,
) -> FittedNet:
    """Return a net with random parameters, for which all items but COLD are warm.

    Without ``options`` it is a small ``cp2rec``.
    """
    options = options or Cp2recOptions(dim=4, proxy_bins=4)
    split = split_in_order(dataset)
    torch.manual_seed(0)
    net = build_net(options, training_tables(dataset, split.train))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    warm = torch.arange(len(dataset.item_ids)) != COLD
    return FittedNet(net, dataset, split, warm, calibration)


def fitted_painvrl(dataset: Dataset, seed: int = 0) -> FittedNet:
    """Return a small PaInvRL with random factors, whose tradeoff is popularity alone."""
    split = split_rows(dataset, validation=0.2, test=0.3, seed=seed)
    tables = training_tables(dataset, split.train)
    torch.manual_seed(seed)
    net = Painvrl(tables, PainvrlOptions(dim=4, popularity=1.0, kept=0.0))
    with torch.no_grad():
        net.user_factor.weight.normal_()
        net.item_factor.weight.normal_()
    return FittedNet(net, dataset, split, warm_items(tables))
