from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.training.nets.cp2rec.decomposed_by_hand import (
    FULL,
    batch_of,
    logged,
    make_net,
    scores,
)
from training.data.dataset import Dataset
from training.fitting.batches import training_tables
from training.nets.cp2rec.decomposed import Cp2recDecomposed

MakeDataset = Callable[..., Dataset]


def test_gradients_reach_every_parameter(dataset: Dataset) -> None:
    net = make_net(dataset, replace(FULL, proxy_bins=2, new_share=0.5)).train()

    net.loss(batch_of(dataset, slates=1000)).backward()

    still = [
        name
        for name, parameter in net.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert still == []


def test_a_fresh_net_starts_to_learn_in_two_steps(dataset: Dataset) -> None:
    torch.manual_seed(0)
    tables = training_tables(dataset, logged(dataset))
    net = Cp2recDecomposed(tables, replace(FULL, proxy_dropout=0.1, new_share=0.5))
    start = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    batch = batch_of(dataset, slates=1000)
    for _ in range(2):
        optimizer.zero_grad()
        net.loss(batch).backward()
        optimizer.step()

    assert [name for name, p in net.named_parameters() if torch.equal(p, start[name])] == []


def test_a_fresh_net_predicts_the_click_rate(dataset: Dataset) -> None:
    rows = logged(dataset)
    net = Cp2recDecomposed(training_tables(dataset, rows), FULL)

    rate = float(dataset.impressions.label[rows].mean())
    assert torch.sigmoid(net.mu).item() == pytest.approx(rate, abs=1e-6)


def test_a_dataset_without_positions_attributes_and_proxies_trains(
    make_dataset: MakeDataset,
) -> None:
    bare = make_dataset(position=None, proxies=np.empty((240, 0), np.float32))
    bare = replace(
        bare,
        proxies=np.empty((10, 0), np.float32),
        user_attributes=np.empty((12, 0), np.float32),
    )
    net = make_net(bare, FULL)

    value = net.loss(batch_of(bare))
    value.backward()

    assert torch.isfinite(value)
    assert torch.equal(scores(net, bare, 0.0), scores(net, bare, 1.0))
