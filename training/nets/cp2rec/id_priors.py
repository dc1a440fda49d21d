"""Gaussian priors of the terms learned per id. The data set how strongly they shrink."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class IdPriors(nn.Module):
    """Priors N(0, sd^2), one for each term; their deviations are trained with the net.

    Empirical Bayes (MacKay, "Bayesian Interpolation", Neural Computation 1992), with the posterior
    of an id's term taken as N(value, v), v = 1 / (1 / sd^2 + information). The loss is its KL
    divergence from the prior, v a constant; at the optimum sd^2 = mean over ids of value^2 + v.
    """

    def __init__(self, deviations: Mapping[str, float]) -> None:
        super().__init__()
        self.log_sd = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(math.log(sd))) for name, sd in deviations.items()}
        )

    def variance(self, name: str, information: Tensor) -> Tensor:
        """Return v (N,), a constant.

        information (N,): the curvature of the training loss in each element of an id's value,
        summed over the id's rows.
        """
        log_sd: Tensor = self.log_sd[name].detach()
        return 1.0 / ((-2.0 * log_sd).exp() + information)

    def loss(self, name: str, value: Tensor, share: Tensor, information: Tensor) -> Tensor:
        """Return the sum of share * KL over N entries, a scalar in nats.

        value (N, d) of an entry's id; share (N,): the share of the id's training rows that the
        entry stands for, so that an epoch counts each id once; information (N,) of its id.
        """
        log_sd: Tensor = self.log_sd[name]
        size = value.shape[1]
        variance = self.variance(name, information)
        fit = (-2.0 * log_sd).exp() * (value.square().sum(1) + size * variance)
        divergence = (fit - size * (1.0 - 2.0 * log_sd + variance.log())) / 2
        return (share * divergence).sum()
