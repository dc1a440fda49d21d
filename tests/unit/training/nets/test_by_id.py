"""Losses and propagation of the nets of ids, against plain loops."""

from __future__ import annotations

from math import exp, log1p, sqrt

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from training.nets.by_id import BprMf, LightGcn, UltraGcn

LIKED = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0]], np.bool_)
USER, ITEM = torch.tensor([0, 1, 2, 1]), torch.tensor([0, 2, 1, 1])


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def softplus(x: float) -> float:
    return log1p(exp(x))


def test_bpr_by_hand() -> None:
    net = BprMf(csr_array(LIKED), dim=3, l2=0.5)
    torch.manual_seed(5)
    loss = net.loss(USER, ITEM).item()
    torch.manual_seed(5)
    other = torch.randint(4, (4,))

    total = 0.0
    for u, i, j in zip(USER, ITEM, other, strict=True):
        p, q, n = net.users[u], net.items[i], net.items[j]
        norms = (p @ p + q @ q + n @ n).item()
        total += softplus((p @ n - p @ q).item()) + 0.25 * norms
    assert loss == pytest.approx(total / 4)


def test_lightgcn_is_the_mean_over_dense_propagations() -> None:
    net = LightGcn(csr_array(LIKED), dim=3, l2=0.0, layers=2)
    graph = np.zeros((7, 7))
    graph[:3, 3:], graph[3:, :3] = LIKED, LIKED.T
    root = np.sqrt(np.maximum(graph.sum(axis=1), 1))
    graph = graph / root[:, None] / root
    first = torch.cat([net.users, net.items]).detach().numpy()

    expected = (first + graph @ first + graph @ graph @ first) / 3
    users, items = net.factors()
    assert torch.cat([users, items]).detach().numpy() == pytest.approx(expected, abs=1e-6)


def test_the_gradient_goes_back_through_the_graph() -> None:
    net = LightGcn(csr_array(LIKED), dim=2, l2=0.0, layers=3)
    weight = torch.randn(7, 2)
    step = 1e-2

    def value() -> torch.Tensor:
        return (torch.cat(net.factors()) * weight).sum()

    value().backward()
    assert net.items.grad is not None
    before = value().item()
    with torch.no_grad():
        net.items[1, 0] += step
    assert (value().item() - before) / step == pytest.approx(net.items.grad[1, 0].item(), abs=1e-3)


def test_ultragcn_by_hand() -> None:
    options = {"negatives": 5, "negative_weight": 3.0, "item_weight": 2.0}
    net = UltraGcn(csr_array(LIKED), dim=3, l2=0.5, **options)  # type: ignore[arg-type]  # options of several types
    torch.manual_seed(5)
    loss = net.loss(USER, ITEM).item()
    torch.manual_seed(5)
    other = torch.randint(4, (5,))

    degree_u, degree_i = LIKED.sum(axis=1), LIKED.sum(axis=0)
    together = LIKED.T.astype(int) @ LIKED.astype(int)
    total = together.sum(axis=1)
    losses = []
    for u, i in zip(USER.tolist(), ITEM.tolist(), strict=True):
        p, q = net.users[u], net.items[i]

        def beta(item: int, u: int = u) -> float:
            return sqrt((degree_u[u] + 1) / (degree_i[item] + 1)) / int(degree_u[u])

        def score(item: int, u: int = u) -> float:
            return (net.users[u] @ net.items[item]).item()

        value = (1 + beta(i)) * softplus(-score(i))
        value += 3.0 * sum((1 + beta(j)) * softplus(score(j)) for j in other.tolist()) / 5
        for k in range(4):
            if k != i and together[i, k]:
                weight = together[i, k] / (total[i] - together[i, i]) * sqrt(total[i] / total[k])
                value += 2.0 * weight * softplus(-score(k))
        losses.append(value + 0.25 * (p @ p + q @ q).item())
    assert loss == pytest.approx(np.mean(losses))
