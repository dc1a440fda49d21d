"""CP2Rec's purifiers COS, PROJ and SOLVE: they keep the proxies out of the common features."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name


class Purifier(nn.Module):
    """Takes out of z what the proxies c know of it; ``loss`` is the paper's L_O."""

    def __init__(self, kind: Literal["cos", "proj", "solve", "none"], dim: int) -> None:
        super().__init__()
        self.kind = kind
        self.estimate = ConditionalGaussian(dim) if kind == "solve" else None

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Return z' (N, d) of z (N, d) and c (N, d)."""
        if self.kind != "proj":
            return z
        share = (z * c).sum(1, keepdim=True) / c.square().sum(1, keepdim=True).clamp(min=1e-8)
        return z - share * c

    def loss(self, z: Tensor, c: Tensor) -> Tensor:
        """Return L_O, a scalar; for SOLVE also the likelihood that fits its estimate q(c | z)."""
        if self.kind == "cos":
            return F.cosine_similarity(z, c, dim=1).abs().mean()
        if self.estimate is not None:
            return self.estimate.bound(z, c) + self.estimate.nll(z.detach(), c.detach())
        return z.new_zeros(())


class ConditionalGaussian(nn.Module):
    """q(c | z), for CLUB's upper bound of mutual information (Cheng et al., ICML 2020).

    The paper fits q in alternation with the net; here both steps share an iteration: the bound
    sees q's weights as constants, and the likelihood sees c and z as constants.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.log_variance = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.Tanh()
        )

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the log variance of c, (N, d) each."""
        return self.mean(z), self.log_variance(z)

    def nll(self, z: Tensor, c: Tensor) -> Tensor:
        """Return the mean of -log q(c | z), constants left out."""
        mean, log_variance = self(z)
        loss: Tensor = ((c - mean).square() / log_variance.exp() + log_variance).sum(1).mean() / 2
        return loss

    def bound(self, z: Tensor, c: Tensor) -> Tensor:
        """Return mean_i [log q(c_i | z_i) - mean_j log q(c_j | z_i)]; q itself learns nothing."""
        constants = {name: weight.detach() for name, weight in self.named_parameters()}
        mean, log_variance = torch.func.functional_call(self, constants, (z,))
        # mean_j |c_j - m|^2 = |mean c - m|^2 + Var c, per dimension: no pairs are formed.
        own = (c - mean).square()
        others = (c.mean(0) - mean).square() + c.var(0, unbiased=False)
        bound: Tensor = ((others - own) / log_variance.exp()).sum(1).mean() / 2
        return bound
