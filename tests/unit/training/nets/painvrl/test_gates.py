from __future__ import annotations

import pytest
import torch

from tests.unit.training.nets.planted import two_environments
from training.nets.painvrl.gates import (
    MaskedNet,
    MaskOptions,
    final_gates,
    gate_cost,
    learn_gates,
    open_gates,
    variance_penalty,
)


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_environments_that_share_their_batches_have_no_variance_penalty() -> None:
    content, clicks, _ = two_environments(60, 120)
    net = MaskedNet(content, clicks, draw())
    gates = torch.full((8,), 0.7, requires_grad=True)
    batch = torch.arange(200)
    (loss,) = net.losses(gates, [batch])

    shared = net.penalty(torch.stack([loss, loss, loss]), gates, "variance")
    (gradient,) = torch.autograd.grad(shared, gates, retain_graph=True)
    apart = net.penalty(net.losses(gates, [batch[:100], batch[100:]]), gates, "variance")

    assert shared.item() == 0.0
    assert gradient.abs().max() == 0.0
    assert apart.item() > 0.0


def test_the_variance_penalty_is_its_formula_by_hand() -> None:
    gradients = torch.tensor([[[1.0], [0.0]], [[3.0], [4.0]]])  # two environments, D = 2, d = 1

    # Variances 1 and 4; under gates 1 and .5 they are 1 and 2.
    assert float(variance_penalty(gradients, torch.tensor([1.0, 0.5]))) == pytest.approx(1 + 4)


def test_irm_is_the_derivative_by_the_scale_of_the_scores() -> None:
    content, clicks, label = two_environments(60, 120)
    gates = torch.ones(8)
    of_label = [(label == e).nonzero().flatten() for e in range(2)]
    net = MaskedNet(content, clicks, draw())
    penalty = net.penalty(net.losses(gates, of_label), gates, "irm").item()

    changes = []
    for scale in (1.0 - 1e-2, 1.0 + 1e-2):  # scores are linear in content
        scaled = MaskedNet(scale * content, clicks, draw())  # the same weights and batches
        changes.append(scaled.losses(gates, of_label).detach())
    slope = (changes[1] - changes[0]) / 2e-2

    assert penalty == pytest.approx(float(slope.square().sum()), rel=0.05)


def test_learning_shuts_features_on_which_environments_disagree() -> None:
    content, clicks, label = two_environments(60, 120)
    options = MaskOptions(steps=60, penalty="variance", regulariser=0.0)

    steps = list(learn_gates(content, clicks, label, 2, torch.zeros(8), options, draw()))

    mu, weights = steps[-1][0], torch.tensor([weight for _, weight in steps])
    assert len(steps) == 60
    assert mu[:4].mean() > mu[4:].mean() + 0.05
    assert ((weights >= 0) & (weights <= 1)).all()
    assert weights.std() > 0.01  # not constant


def test_an_environment_without_clicks_does_not_count() -> None:
    content, clicks, label = two_environments(60, 120)
    options = MaskOptions(steps=2, penalty="variance", regulariser=0.0)

    two = list(learn_gates(content, clicks, label, 2, torch.zeros(8), options, draw()))
    three = list(learn_gates(content, clicks, label, 3, torch.zeros(8), options, draw()))

    assert [weight for _, weight in two] == [weight for _, weight in three]


def test_gates_are_clamped_and_cost_their_probability_to_be_open() -> None:
    mu = torch.tensor([-3.0, 0.0, 3.0])

    assert open_gates(mu).tolist() == [0.0, 0.5, 1.0]
    # Two standard deviations of the noise: P(N(0, 1) < 2) = .97725; 0 and 1 beyond.
    assert float(gate_cost(mu)) == pytest.approx((0.0 + 0.97725 + 1.0) / 3, abs=1e-4)


def test_final_gates_are_the_upper_half_or_unchanged() -> None:
    mu = torch.tensor([0.1, -0.2, 0.3, 0.0, 0.2])

    assert final_gates(mu, "half").tolist() == [1.0, 0.0, 1.0, 0.0, 1.0]
    torch.testing.assert_close(final_gates(mu, "soft"), mu + 0.5)
