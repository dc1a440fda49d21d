from __future__ import annotations

import numpy as np
import pytest
import torch

from training.nets.cp2rec.id_priors import IdPriors
from training.nets.id_table import IdTable


@pytest.mark.parametrize("truth", [0.2, 1.0])
def test_the_deviation_is_estimated_from_noisy_values(truth: float) -> None:
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.integers(1, 40, 3000)).float()  # of each id
    curvature = 0.25
    noise = 1 / torch.sqrt(curvature * rows)
    seen = truth * torch.from_numpy(rng.standard_normal(3000)).float()
    seen = seen + noise * torch.from_numpy(rng.standard_normal(3000)).float()
    priors = IdPriors(IdTable(3000, bias=1), 0.5)
    value = torch.nn.Parameter(torch.zeros(3000, 1))
    information = curvature * rows[:, None]
    optimizer = torch.optim.Adam([value, *priors.parameters()], lr=0.02)

    for _ in range(1500):  # a Gaussian likelihood in place of the clicks'
        fit = (curvature * rows * (value[:, 0] - seen).square() / 2).sum()
        loss = fit + priors.loss(value, torch.ones(3000), information)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    assert priors.log_sd.exp().item() == pytest.approx(truth, rel=0.08)


def test_ids_with_few_rows_are_the_less_certain() -> None:
    priors = IdPriors(IdTable(3, bias=1), 0.5)

    variance = priors.variance(torch.tensor([[0.0], [4.0], [1e6]]))

    assert variance.flatten().tolist() == pytest.approx([0.25, 0.125, 1e-6], rel=1e-3)
