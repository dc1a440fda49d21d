from __future__ import annotations

import pytest
import torch

from training.nets.pareto import GradientScale, min_norm_weight


@pytest.mark.parametrize("seed", range(20))
def test_the_weight_is_where_a_grid_search_finds_the_least_norm(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    first = torch.randn(3, generator=draw)
    second = 2.0 * torch.randn(3, generator=draw) + seed % 3  # some of them beyond an end
    grid = torch.linspace(0, 1, 100_001)[:, None]
    norms = (grid * first + (1 - grid) * second).norm(dim=1)

    assert float(min_norm_weight(first, second)) == pytest.approx(
        float(grid[norms.argmin(), 0]), abs=2e-3
    )


def test_a_step_along_the_mix_worsens_neither_loss() -> None:
    first, second = torch.tensor([3.0, 1.0]), torch.tensor([-1.0, 0.5])
    weight = min_norm_weight(first, second)
    mix = weight * first + (1 - weight) * second

    assert 0 < weight < 1
    assert mix @ first >= 0
    assert mix @ second >= 0


def test_a_gradient_of_nothing_leaves_nothing_and_equal_ones_are_shared() -> None:
    gradient = torch.tensor([1.0, -2.0])

    assert min_norm_weight(gradient, torch.zeros(2)) == 0.0
    assert min_norm_weight(torch.zeros(2), gradient) == 1.0
    assert min_norm_weight(gradient, gradient) == 0.5


def test_the_longer_of_two_opposed_gradients_weighs_less() -> None:
    weight = min_norm_weight(torch.tensor([1.0]), torch.tensor([-3.0]))

    assert weight == pytest.approx(0.75)


def test_a_scaled_gradient_has_no_unit_and_keeps_its_own_ups_and_downs() -> None:
    steps = [torch.tensor([3.0, 4.0]), torch.tensor([6.0, 8.0]), torch.tensor([0.3, 0.4])]
    plain, thousandfold = GradientScale(decay=0.5), GradientScale(decay=0.5)
    scaled = [plain(step) for step in steps]

    for step, expected in zip(steps, scaled, strict=True):
        torch.testing.assert_close(thousandfold(1000 * step), expected)
    # Norms 5, 10, .5 over averages 5, 7.5, 4.
    norms = torch.stack([step.norm() for step in scaled])
    torch.testing.assert_close(norms, torch.tensor([1.0, 10 / 7.5, 0.5 / 4.0]))


def test_a_gradient_that_is_always_nothing_stays_nothing() -> None:
    assert GradientScale()(torch.zeros(2)).tolist() == [0.0, 0.0]
