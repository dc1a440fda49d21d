from __future__ import annotations

from math import exp, log1p

import pytest
import torch

from tests.unit.training.nets.painvrl.small_net import (
    batch_of,
    clicks_of,
    net_of,
    scores,
)
from training.data.dataset import Dataset
from training.nets.painvrl.environments import Clicks
from training.nets.painvrl.row_weights import RowWeightKind, RowWeights

# User 0 clicked items 0 and 1, user 1 clicked item 0, user 2 and item 2 have no click.
CLICKS = Clicks(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]))
USER_COUNT, ITEM_COUNT = torch.tensor([2.0, 1.0, 0.0]), torch.tensor([2.0, 1.0, 0.0])


def test_a_user_weighs_one_over_the_root_of_their_clicks() -> None:
    weights = RowWeights.of("user", USER_COUNT, ITEM_COUNT)

    assert weights.user.tolist() == pytest.approx([2**-0.5, 1.0, 1.0])
    assert weights.item.tolist() == [1.0, 1.0, 1.0]


def test_beta_is_ultragcn_s() -> None:
    weights = RowWeights.of("beta", USER_COUNT, ITEM_COUNT)

    assert weights.user.tolist() == pytest.approx([3**0.5 / 2, 2**0.5, 2**0.5])
    assert weights.item.tolist() == pytest.approx([3**-0.5, 2**-0.5, 1.0])


@pytest.mark.parametrize("kind", ["equal", "user", "beta"])
@pytest.mark.parametrize("negative_weight", [1.0, 200.0])
def test_the_base_logit_has_the_least_loss(kind: RowWeightKind, negative_weight: float) -> None:
    weights = RowWeights.of(kind, USER_COUNT, ITEM_COUNT)

    def loss(logit: float) -> float:
        total = 0.0
        for u, i in zip(CLICKS.user.tolist(), CLICKS.item.tolist(), strict=True):
            user = weights.user[u].item()
            total += user * weights.item[i].item() * log1p(exp(-logit))
            others = sum(weights.item[j].item() for j in range(3)) / 3
            total += user * negative_weight * others * log1p(exp(logit))
        return total

    base = weights.base_logit(CLICKS, negative_weight)

    assert loss(base) < min(loss(base - 0.01), loss(base + 0.01))
    if kind != "beta":
        assert base == pytest.approx(-torch.tensor(negative_weight).log().item(), abs=1e-6)


@pytest.mark.parametrize("kind", ["equal", "user", "beta"])
def test_ultragcn_starts_at_the_base_rate(dataset: Dataset, kind: RowWeightKind) -> None:
    net = net_of(
        dataset, base="ultragcn", row_weight=kind, negative_weight=200.0, debiased_share=0.0, l2=0.0
    )
    net._log_popularity.zero_()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()

    net.loss(batch_of(dataset)).backward()

    gradient = net.item_bias.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 1e-3  # single items differ from the base rate
    assert gradient.sum().item() == pytest.approx(0.0, abs=1e-5)  # all together do not


def test_the_softmax_of_a_busy_user_weighs_less(dataset: Dataset) -> None:
    net = net_of(dataset, row_weight="user", debiased_share=0.0)
    batch = batch_of(dataset)
    clicked = batch.label > 0.5
    user, item = batch.user[batch.slate[clicked]], batch.item[clicked]
    count = user.bincount()[user]

    log_softmax = scores(net, dataset, 1.0).log_softmax(1)[user, item]

    expected = (-log_softmax * count**-0.5).mean().item()
    assert net.loss(batch).item() == pytest.approx(expected, abs=1e-4)


def test_ultragcn_s_click_of_a_busy_user_weighs_less(dataset: Dataset) -> None:
    batch = batch_of(dataset)
    count = clicks_of(dataset).user.bincount(minlength=12).clamp(min=1)
    gradients = {}
    for kind in ("equal", "user"):
        net = net_of(dataset, base="ultragcn", row_weight=kind, debiased_share=0.0, l2=0.0)
        net.loss(batch).backward()
        gradients[kind] = net.user_factor.weight.grad

    assert gradients["equal"] is not None
    torch.testing.assert_close(gradients["user"], gradients["equal"] / count[:, None] ** 0.5)
