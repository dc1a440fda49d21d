from __future__ import annotations

import pytest
import torch

from training.nets.cp2rec.purifier import ConditionalGaussian, Purifier


def test_projection_leaves_nothing_of_the_proxies() -> None:
    torch.manual_seed(0)
    z, c = torch.randn(50, 6), torch.randn(50, 6)
    purified = Purifier("proj", 6)(z, c)
    assert (purified * c).sum(1).abs().max() < 1e-5
    # What was orthogonal before is what is left.
    torch.testing.assert_close(purified + (z * c).sum(1, True) / (c * c).sum(1, True) * c, z)
    assert Purifier("proj", 6).loss(z, c) == 0


def test_cosine_loss_by_hand() -> None:
    z = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    c = torch.tensor([[4.0, 3.0], [0.0, -2.0]])
    purify = Purifier("cos", 2)
    assert purify.loss(z, c) == pytest.approx((24 / 25 + 0) / 2)
    assert torch.equal(purify(z, c), z)


def test_the_information_bound_equals_all_pairs() -> None:
    torch.manual_seed(0)
    q = ConditionalGaussian(3)
    z, c = torch.randn(9, 3), torch.randn(9, 3)
    with torch.no_grad():
        mean, log_variance = q(z)
    total = 0.0
    for i in range(9):
        log_q = [
            -(((c[j] - mean[i]) ** 2 / log_variance[i].exp()).sum() + log_variance[i].sum()) / 2
            for j in range(9)
        ]
        total += float(log_q[i] - sum(log_q) / 9) / 9
    assert q.bound(z, c).item() == pytest.approx(total, abs=1e-5)


def test_the_bound_trains_the_features_and_the_likelihood_trains_the_estimate() -> None:
    torch.manual_seed(0)
    q = ConditionalGaussian(3)
    z, c = torch.randn(9, 3, requires_grad=True), torch.randn(9, 3)
    q.bound(z, c).backward()
    assert z.grad is not None
    assert z.grad.any()
    assert all(weight.grad is None for weight in q.parameters())
    purify = Purifier("solve", 3)
    z.grad = None
    assert purify.estimate is not None
    purify.estimate.nll(z.detach(), c).backward()
    assert z.grad is None
    assert all(weight.grad is not None for weight in purify.estimate.parameters())


def test_minimising_the_bound_takes_dependence_out() -> None:
    torch.manual_seed(0)
    c = torch.randn(256, 2)
    taste = torch.randn(256, 2)
    mix = torch.nn.Parameter(torch.tensor([1.0]))  # z = taste + mix c
    purify = Purifier("solve", 2)
    # The estimate must keep ahead of what it estimates.
    groups = [{"params": [mix], "lr": 0.005}, {"params": purify.parameters(), "lr": 0.02}]
    optimizer = torch.optim.Adam(groups)
    for _ in range(400):
        optimizer.zero_grad()
        purify.loss(taste + mix * c, c).backward()
        optimizer.step()
    assert abs(mix.item()) < 0.25
