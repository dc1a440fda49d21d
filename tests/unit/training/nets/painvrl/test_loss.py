from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.training.nets.painvrl.small_net import (
    BASES,
    ROWS,
    batch_of,
    clicks_of,
    half_open,
    net_of,
    scores,
)
from training.data.dataset import Dataset


@pytest.mark.parametrize("base", BASES)
def test_the_softmax_is_over_the_scores_of_the_ranker(dataset: Dataset, base: str) -> None:
    net = net_of(dataset, base=base, debiased_share=0.0)
    batch = batch_of(dataset)
    clicked = batch.valid & (batch.label > 0.5)
    user, item = batch.user[batch.slate[clicked]], batch.item[clicked]

    loss = net.loss(batch).item()

    served = scores(net, dataset, 1.0)
    if base == "lightgcn":
        log_softmax = served.log_softmax(1)
        assert loss == pytest.approx(-log_softmax[user, item].mean().item(), abs=1e-4)
    else:
        assert loss > 0


def test_at_zero_popularity_replaces_the_term_of_the_tradeoff(dataset: Dataset) -> None:
    net = net_of(dataset, debiased_share=1.0)
    batch = batch_of(dataset)
    clicked = batch.valid & (batch.label > 0.5)
    user, item = batch.user[batch.slate[clicked]], batch.item[clicked]
    clicks = torch.bincount(clicks_of(dataset).item, minlength=10) + 0.5

    logits = scores(net, dataset, 0.0) + 0.3 * torch.log(clicks / clicks.mean())

    expected = -logits.log_softmax(1)[user, item].mean().item()
    assert net.loss(batch).item() == pytest.approx(expected, abs=1e-4)


def test_a_batch_without_clicks_teaches_nothing(dataset: Dataset) -> None:
    batch = batch_of(dataset)
    silent = replace(batch, label=torch.zeros_like(batch.label))

    assert net_of(dataset).loss(silent).item() == 0.0


def test_ultragcn_s_loss_is_its_formula_by_hand(dataset: Dataset) -> None:
    net = net_of(dataset, base="ultragcn", debiased_share=0.0, negative_weight=0.0, l2=0.0)
    batch = batch_of(dataset)
    served = scores(net, dataset, 1.0).numpy()
    impressions = dataset.impressions
    clicked = ROWS[impressions.label[ROWS] > 0]
    user, item = impressions.user[clicked], impressions.item[clicked]
    of_user, of_item = np.bincount(user, minlength=12), np.bincount(item, minlength=10)
    terms = [
        np.sqrt((of_user[u] + 1) / (of_item[i] + 1)) / of_user[u] * np.log1p(np.exp(-served[u, i]))
        for u, i in zip(user, item, strict=True)
    ]

    assert net.loss(batch).item() == pytest.approx(np.mean(terms), rel=1e-4)


def test_a_sampled_softmax_is_about_the_full_one(dataset: Dataset) -> None:
    batch = batch_of(dataset)
    full = net_of(dataset, debiased_share=0.0).loss(batch).item()
    sampled = net_of(dataset, debiased_share=0.0, candidates=8)

    drawn = np.mean([sampled.loss(batch).item() for _ in range(200)])

    assert drawn == pytest.approx(full, abs=0.25)  # the sample adds each click to its own negatives
    assert drawn != full


@pytest.mark.parametrize("base", BASES)
def test_every_weight_learns(dataset: Dataset, base: str) -> None:
    net = net_of(dataset, base=base, new_share=0.4, debiased_share=0.5)
    half_open(net)

    net.loss(batch_of(dataset)).backward()

    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("base", BASES)
def test_training_ranks_clicks_above_the_rest(dataset: Dataset, base: str) -> None:
    net = net_of(dataset, base=base, debiased_share=0.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    batch = batch_of(dataset)
    before = net.loss(batch).item()
    for _ in range(80):
        optimizer.zero_grad()
        loss = net.loss(batch)
        loss.backward()
        optimizer.step()

    clicks = clicks_of(dataset)
    clicked = torch.zeros(12, 10, dtype=torch.bool)
    clicked[clicks.user, clicks.item] = True
    served = scores(net, dataset, 1.0)

    assert loss.item() < before
    assert served[clicked].mean() > served[~clicked].mean() + 0.5
