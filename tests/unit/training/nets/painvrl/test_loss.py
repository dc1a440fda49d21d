from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

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
from training.fitting.batches import SlateBatches
from training.nets.painvrl import losses
from training.nets.painvrl.net import Painvrl
from training.nets.painvrl.softmax import cross_entropy


@pytest.mark.parametrize("base", BASES)
def test_the_softmax_is_over_the_scores_of_the_ranker(dataset: Dataset, base: str) -> None:
    net = net_of(dataset, base=base, debiased_share=0.0)
    batch = batch_of(dataset)
    clicked = batch.label > 0.5
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
    clicked = batch.label > 0.5
    user, item = batch.user[batch.slate[clicked]], batch.item[clicked]
    clicks = torch.bincount(clicks_of(dataset).item, minlength=10) + 0.5

    logits = scores(net, dataset, 0.0) + 0.3 * torch.log(clicks / clicks.mean())

    expected = -logits.log_softmax(1)[user, item].mean().item()
    assert net.loss(batch).item() == pytest.approx(expected, abs=1e-4)


def test_a_batch_without_clicks_teaches_nothing(dataset: Dataset) -> None:
    batch = batch_of(dataset)
    silent = replace(batch, label=torch.zeros_like(batch.label))

    assert net_of(dataset).loss(silent).item() == 0.0


def ultragcn_loss_by_hand(net: Painvrl, dataset: Dataset) -> float:
    """Return the loss at w = 1 with UltraGCN's beta, with every item as a negative."""
    logits = scores(net, dataset, 1.0).numpy() + net._base_logit
    impressions = dataset.impressions
    clicked = ROWS[impressions.label[ROWS] > 0]
    user, item = impressions.user[clicked], impressions.item[clicked]
    of_user, of_item = np.bincount(user, minlength=12), np.bincount(item, minlength=10)
    losses = []
    for u, i in zip(user, item, strict=True):
        beta = np.sqrt((of_user[u] + 1) / (of_item + 1)) / of_user[u]
        negative = (beta * np.log1p(np.exp(logits[u]))).mean()
        losses.append(beta[i] * np.log1p(np.exp(-logits[u, i])) + 3.0 * negative)
    return float(np.mean(losses))


ULTRAGCN: dict[str, Any] = {
    "base": "ultragcn",
    "row_weight": "beta",
    "debiased_share": 0.0,
    "negative_weight": 3.0,
    "l2": 0.0,
}


def test_ultragcn_s_loss_is_its_formula_by_hand(dataset: Dataset) -> None:
    net = net_of(dataset, **ULTRAGCN)

    expected = ultragcn_loss_by_hand(net, dataset)

    assert net.loss(batch_of(dataset)).item() == pytest.approx(expected, rel=1e-4)


def test_ultragcn_s_negatives_are_drawn_for_each_slate(dataset: Dataset) -> None:
    net, batch = net_of(dataset, **ULTRAGCN, candidates=4), batch_of(dataset)

    losses = [net.loss(batch).item() for _ in range(300)]

    assert np.mean(losses) == pytest.approx(ultragcn_loss_by_hand(net, dataset), rel=0.02)
    # One draw for all slates would vary by .053, a draw for each by .024.
    assert 0.0 < np.std(losses) / np.mean(losses) < 0.035


def test_a_sampled_softmax_is_about_the_full_one(dataset: Dataset) -> None:
    batch = batch_of(dataset)
    full = net_of(dataset, debiased_share=0.0).loss(batch).item()
    sampled = net_of(dataset, debiased_share=0.0, candidates=8)

    drawn = np.mean([sampled.loss(batch).item() for _ in range(200)])

    assert drawn == pytest.approx(full, abs=0.25)  # the sample adds each click to its own negatives
    assert drawn != full


def test_slates_of_one_user_share_a_softmax(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = net_of(dataset, debiased_share=0.0)
    batch = batch_of(dataset)
    twice = replace(
        batch,
        user=batch.user.repeat(2),
        start=torch.cat([batch.start, batch.start + len(batch.item)]),
        slate=torch.cat([batch.slate, batch.slate + len(batch.user)]),
        item=torch.cat([batch.item, batch.item.flip(0)]),
        label=torch.cat([batch.label, batch.label.flip(0)]),
    )
    softmaxes: list[int] = []

    def counted(user: Tensor, *others: Tensor) -> Tensor:
        softmaxes.append(len(user))
        return cross_entropy(user, *others)

    monkeypatch.setattr(losses, "cross_entropy", counted)
    loss = net.loss(twice).item()

    clicked = twice.label > 0.5
    user, item = twice.user[twice.slate[clicked]], twice.item[clicked]
    log_softmax = scores(net, dataset, 1.0).log_softmax(1)
    assert loss == pytest.approx(-log_softmax[user, item].mean().item(), abs=1e-4)
    assert sum(softmaxes) == len(batch.user.unique())


def test_a_step_of_ultragcn_touches_the_items_it_drew_and_the_users_of_its_batch(
    dataset: Dataset,
) -> None:
    net = net_of(dataset, **ULTRAGCN, candidates=1, new_share=0.4)
    batches = SlateBatches(dataset, ROWS, slate=16, batch_slates=100)
    batch = batches.slates(torch.tensor([3]))  # one user, at most 16 items
    encoded: list[int] = []
    hook = net.item_factor.register_forward_pre_hook(lambda _, rows: encoded.append(len(rows[0])))

    net.loss(batch).backward()

    hook.remove()
    clicked = batch.item[batch.label > 0.5].unique()
    assert len(clicked) <= encoded[0] <= len(clicked) + 1
    touched = [
        table.weight.grad.abs().sum(1).count_nonzero().item()
        for table in (net.user_factor, net.item_factor)
        if table.weight.grad is not None
    ]
    assert touched[0] == 1
    assert touched[1] <= len(clicked) + 1


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
