"""Gaussian priors of the terms learned per id. The data set how strongly they shrink."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.nets.id_table import IdTable


class IdPriors(nn.Module):
    """Priors N(0, sd^2) of a table's terms; their deviations are trained with the net.

    Empirical Bayes (MacKay, "Bayesian Interpolation", Neural Computation 1992), with the posterior
    of an id's term taken as N(value, v), v = 1 / (1 / sd^2 + information). The loss is its KL
    divergence from the prior, v a constant; at the optimum sd^2 = mean over ids of value^2 + v.
    ``deviations`` are those of the table's terms at the start.
    """

    width: Tensor

    def __init__(self, table: IdTable, *deviations: float) -> None:
        super().__init__()
        self._widths = table.widths
        self.register_buffer("width", torch.tensor(table.widths).float(), persistent=False)
        self.log_sd = nn.Parameter(torch.tensor(deviations).log())  # (terms,)

    def variance(self, information: Tensor) -> Tensor:
        """Return v (N, terms), a constant.

        information (N, terms): the curvature of the training loss in each element of an id's term,
        summed over the id's rows.
        """
        return 1.0 / ((-2.0 * self.log_sd.detach()).exp() + information)

    def loss(self, values: Tensor, share: Tensor, information: Tensor) -> Tensor:
        """Return the sum of share * KL over N entries, a scalar in nats.

        values (N, D): the terms of an entry's id; share (N,): the share of the id's training rows
        that the entry stands for, so that an epoch counts each id once; information (N, terms).
        """
        terms = values.split(self._widths, dim=1)
        squares = torch.stack([term.square().sum(1) for term in terms], 1)  # (N, terms)
        variance = self.variance(information)
        fit = (-2.0 * self.log_sd).exp() * (squares + self.width * variance)
        divergence = (fit - self.width * (1.0 - 2.0 * self.log_sd + variance.log())).sum(1) / 2
        return share @ divergence
