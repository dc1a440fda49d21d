"""Weights of clicks in the loss, so that a few users with very many clicks do not decide it."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from training.nets.painvrl.environments import Clicks

RowWeightKind = Literal["equal", "user", "beta"]


class RowWeights(nn.Module):
    """Weights of users (U,) and of items (I,); a pair of user and item has their product."""

    user: Tensor
    item: Tensor

    def __init__(self, user: Tensor, item: Tensor) -> None:
        super().__init__()
        self.register_buffer("user", user, persistent=False)
        self.register_buffer("item", item, persistent=False)

    @classmethod
    def of(cls, kind: RowWeightKind, user_count: Tensor, item_count: Tensor) -> RowWeights:
        """Return the weights for the numbers d of training clicks of users (U,) and items (I,).

        equal: 1. user: 1 / sqrt(d_u). beta: UltraGCN's sqrt((d_u + 1) / (d_i + 1)) / d_u (Mao et
        al., CIKM 2021).
        """
        degree = user_count.clamp(min=1.0)
        if kind == "beta":
            return cls((degree + 1.0).sqrt() / degree, (item_count + 1.0).rsqrt())
        user = degree.rsqrt() if kind == "user" else torch.ones_like(degree)
        return cls(user, torch.ones_like(item_count))

    def base_logit(self, clicks: Clicks, negative_weight: float) -> float:
        """Return the logit that, as the score of every pair, has the least loss.

        The loss of a click of user u is that of the clicked item plus ``negative_weight`` times the
        mean over all items.
        """
        user = self.user[clicks.user].double()  # (R,)
        clicked = (user * self.item[clicks.item]).mean()
        negative = negative_weight * user.mean() * self.item.double().mean()
        return math.log(clicked / negative)
