"""The two bases' losses of a step's clicks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.painvrl.softmax import cross_entropy

Rows = Tensor | slice  # of a table; the slice stands for all of them


@dataclass(frozen=True)
class StepItems:
    """The items of a step: ``encoded``, N of the catalogue, and where in [0, N) others are.

    clicked (R,): the item of each click. negative: the drawn items, (n,) or (B, n) of each slate;
    None for the whole catalogue.
    """

    encoded: Rows
    clicked: Tensor
    negative: Tensor | None

    @classmethod
    def sampled(cls, clicked: Tensor, items: int, shape: tuple[int, ...]) -> StepItems:
        """Return clicked items (R,) and negatives of ``shape``, drawn uniformly from ``items``."""
        negative = torch.randint(items, shape, device=clicked.device).flatten()
        encoded, place = torch.cat([clicked, negative]).unique(return_inverse=True)
        return cls(encoded, place[: len(clicked)], place[len(clicked) :].view(shape))

    def negatives_of(self, slates: Tensor) -> Tensor | None:
        """Return the negatives of slates (b,): (n,), (b, n) or None."""
        if self.negative is None or self.negative.dim() == 1:
            return self.negative
        return self.negative[slates]


@dataclass(frozen=True)
class Scored:
    """The slates of a step that share a weight of the variant part.

    A logit is user . features + bias: user (b, U) of the slates, features (N, U) and bias (N,) of
    the encoded items. slate (r,) in [0, b) and item (r,) in [0, N): the trained clicks. negative:
    (n,) or (b, n) in [0, N); None for all N.
    """

    user: Tensor
    features: Tensor
    bias: Tensor
    slate: Tensor
    item: Tensor
    negative: Tensor | None

    def clicked(self) -> Tensor:
        """Return the logits (r,) of the clicks."""
        features = F.embedding(self.item, self.features)
        return (self.user[self.slate] * features).sum(1) + self.bias[self.item]


def softmax_loss(scored: Scored, weight: Tensor, items: int) -> Tensor:
    """Return the sum of weight (r,) times -log softmax over the catalogue of ``items``.

    Over a sample, which the click itself joins, it is an estimate.
    """
    if scored.negative is None:
        logits = (scored.user, scored.features, scored.bias)
        return cross_entropy(*logits, scored.slate, scored.item, weight)
    clicked = scored.clicked()
    features, bias = scored.features[scored.negative], scored.bias[scored.negative]
    others = torch.addmm(bias, scored.user, features.transpose(0, 1)).float().logsumexp(1)  # (b,)
    others = others[scored.slate] + math.log(items / len(bias))
    return (weight * (torch.logaddexp(others, clicked) - clicked)).sum()


def ultragcn_loss(
    scored: Scored, item_weight: Tensor, negative_weight: float, base_logit: float
) -> Tensor:
    """Return UltraGCN's L_C + L_O (r,); its w_1 = w_3 = 0, w_2 = w_4 = 1.

    item_weight (N,). ``base_logit`` is added to all logits.
    """
    if scored.negative is None:
        others = torch.addmm(scored.bias, scored.user, scored.features.transpose(0, 1))  # (b, N)
        weight = item_weight
    else:
        features = F.embedding(scored.negative, scored.features)  # (b, n, U)
        others = torch.einsum("bu,bnu->bn", scored.user, features) + scored.bias[scored.negative]
        weight = item_weight[scored.negative]
    negative = (weight * F.softplus(others.float() + base_logit)).mean(1)[scored.slate]
    positive = item_weight[scored.item] * F.softplus(-scored.clicked() - base_logit)
    return positive + negative_weight * negative
