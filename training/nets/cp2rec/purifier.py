"""Purifiers: common features without the proxies."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

_SMALLEST = 1e-16  # product of two squared norms


class Purifier(nn.Module):
    """Removes from z the information of the proxies c; ``loss`` is the paper's L_O."""

    def __init__(self, kind: Literal["cos", "proj", "solve", "none"], dim: int) -> None:
        super().__init__()
        self.kind = kind
        self.estimate = ConditionalGaussian(dim) if kind == "solve" else None

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Return z' (N, d) of z (N, d) and c (N, d)."""
        if self.kind != "proj":
            return z
        coefficient = (z * c).sum(1, keepdim=True) / c.square().sum(1, keepdim=True).clamp(min=1e-8)
        return z - coefficient * c

    def loss(self, z: Tensor, c: Tensor) -> Tensor:
        """Return L_O, a scalar; for SOLVE also the loss that fits its estimate q(c | z)."""
        if self.kind == "cos":
            norms = torch.linalg.vecdot(z, z) * torch.linalg.vecdot(c, c)
            cosine: Tensor = torch.linalg.vecdot(z, c) * norms.clamp(min=_SMALLEST).rsqrt()
            return cosine.abs().mean()
        if self.estimate is not None:
            return self.estimate.bound(z, c) + self.estimate.nll(z.detach(), c.detach())
        return z.new_zeros(())


class ConditionalGaussian(nn.Module):
    """q(c | z), for CLUB's upper bound of mutual information (Cheng et al., ICML 2020).

    The paper alternates between fitting q and the net. Here one iteration does both: the bound
    takes q's weights as constants, the likelihood takes c and z as constants.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.log_variance = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.Tanh()
        )

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the log variance of c, (N, d) each."""
        return self.mean(z).float(), self.log_variance(z).float()

    def nll(self, z: Tensor, c: Tensor) -> Tensor:
        """Return the mean of -log q(c | z), a scalar, without constants."""
        mean, log_variance = self(z)
        loss: Tensor = ((c - mean).square() / log_variance.exp() + log_variance).sum(1).mean() / 2
        return loss

    def bound(self, z: Tensor, c: Tensor) -> Tensor:
        """Return mean_i [log q(c_i | z_i) - mean_j log q(c_j | z_i)]; no gradient reaches q."""
        constants = {name: weight.detach() for name, weight in self.named_parameters()}
        mean, log_variance = torch.func.functional_call(self, constants, (z,))
        # mean_j |c_j - m|^2 = |mean c - m|^2 + Var c per dimension, without forming pairs.
        matched = (c - mean).square()
        shuffled = (c.mean(0) - mean).square() + c.var(0, unbiased=False)
        bound: Tensor = ((shuffled - matched) / log_variance.exp()).sum(1).mean() / 2
        return bound
