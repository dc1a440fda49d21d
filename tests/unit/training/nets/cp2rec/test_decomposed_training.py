from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.training.nets.cp2rec.decomposed_by_hand import (
    FULL,
    batch_of,
    logged,
    make_net,
    scores,
)
from training.data.dataset import Dataset
from training.fitting.batches import training_tables
from training.nets.base import Slates
from training.nets.cp2rec.decomposed import Cp2recDecomposed

MakeDataset = Callable[..., Dataset]


def test_padding_changes_nothing(dataset: Dataset) -> None:
    net = make_net(dataset, FULL)
    batch = batch_of(dataset, slate=7, slates=12)
    assert not batch.valid.all()

    def widened(rows: Tensor) -> Tensor:
        """Rows (B, 7) with two more of another slate behind each."""
        rows = rows.view(12, 7)
        return torch.cat([rows, rows.roll(1, 0)[:, :2]], 1).flatten()

    per_row = {f.name for f in fields(batch)} - {"user", "slate"}
    padded = replace(
        batch,
        slate=torch.arange(12).repeat_interleave(9),
        **{name: getattr(batch, name)[widened(torch.arange(84))] for name in per_row},
    )
    padded.valid.view(12, 9)[:, 7:] = False

    def value_and_gradients(batch: Slates) -> list[Tensor]:
        net.zero_grad()
        value = net.loss(batch)
        value.backward()
        gradients = (p.grad.to_dense() for p in net.parameters() if p.grad is not None)
        return [value.detach(), *gradients]

    for one, other in zip(value_and_gradients(batch), value_and_gradients(padded), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


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
