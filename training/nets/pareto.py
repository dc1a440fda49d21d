"""Descent on two losses at once, by the least-norm mix of their gradients."""

from __future__ import annotations

import torch
from torch import Tensor

_SMALLEST = 1e-12


def min_norm_weight(first: Tensor, second: Tensor) -> Tensor:
    """Return lambda* in [0, 1], the weight of ``first`` (G,) in the mix of least norm.

    clip((g_2 - g_1).g_2 / |g_1 - g_2|^2, 0, 1) minimises |lambda g_1 + (1 - lambda) g_2|: the
    two-task case of Desideri, 2012, as in Sener & Koltun, NeurIPS 2018. .5 if both are equal.
    A small step against the mix increases neither loss; at a mix of zero the point is
    Pareto-stationary.
    """
    gap = (first - second).square().sum()
    if gap < _SMALLEST:
        return torch.full((), 0.5)
    return (((second - first) * second).sum() / gap).clamp(0.0, 1.0)


class GradientScale:
    """Divides gradients by a moving average of their norm, so that a loss's unit does not matter.

    Divided by their own norm, both gradients would be unit vectors, and lambda* always .5. Without
    scaling, the larger loss alone would decide. Our reconstruction.
    """

    def __init__(self, decay: float = 0.9) -> None:
        self.decay = decay
        self._norm: Tensor | None = None

    def __call__(self, gradient: Tensor) -> Tensor:
        """Return ``gradient`` (G,) over the average norm so far, including its own."""
        norm = gradient.norm()
        average = norm if self._norm is None else self._norm
        self._norm = self.decay * average + (1.0 - self.decay) * norm
        return gradient / self._norm.clamp(min=_SMALLEST)
