"""Environments of clicks: inferred by PaInvRL's first module, or fixed by a simple rule.

The inference is that of InvRL (Du et al., "Invariant Representation Learning for Multimedia
Recommendation", ACM MM 2022), which PaInvRL adopts:

1. Every click gets a random environment.
2. Each environment trains a net on its clicks; the loss penalises weight on invariant features.
3. Every click moves to the environment whose net scores it highest.
4. Steps 2 and 3 repeat until at most 1 % of the clicks move.

Ours: scores are standardised within each net, and an environment with less than 1 % of the clicks
takes random ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.base import TrainingTables

EnvironmentKind = Literal["inferred", "popularity", "time", "random"]

_DIM = 16
_STEPS = 30
_BATCH = 1024  # clicks of each environment
_NEGATIVES = 256
_LR = 0.05
_SHRINKAGE = 500.0  # pulls user factors to 0: without it a net memorises its own clicks
_INVARIANT_PENALTY = 0.1  # penalises weights of invariant features
_SETTLED = 0.01  # share of clicks that may still move
_SMALLEST = 0.01  # share of clicks below which an environment takes random ones


@dataclass(frozen=True)
class Clicks:
    """Clicked training rows: user, item (R,) int64, in order of user, then of time."""

    user: Tensor
    item: Tensor

    @classmethod
    def of(cls, tables: TrainingTables) -> Clicks:
        """Return the clicked rows of the training tables."""
        clicked = tables.label > 0.5
        return cls(tables.user[clicked].long(), tables.item[clicked].long())


def fixed_environments(
    kind: Literal["popularity", "time", "random"],
    clicks: Clicks,
    environments: int,
    generator: torch.Generator,
) -> Tensor:
    """Return the environment (R,) in [0, E) of each click by a rule, without training.

    popularity: quantiles of the clicks on the item, with equally many clicks each. time: E equal
    slices of each user's clicks, in order. random: the control for both.
    """
    if kind == "random":
        return torch.randint(environments, (len(clicks.user),), generator=generator)
    if kind == "popularity":
        count = torch.bincount(clicks.item)[clicks.item]  # (R,)
        place = count.argsort(stable=True).argsort()
        return place * environments // len(place)
    count = torch.bincount(clicks.user)  # (U,)
    place = torch.arange(len(clicks.user)) - (count.cumsum(0) - count)[clicks.user]
    return place * environments // count[clicks.user]


def reassign(
    content: Tensor,
    gates: Tensor,
    clicks: Clicks,
    label: Tensor,
    environments: int,
    generator: torch.Generator,
) -> tuple[Tensor, float]:
    """Return the environment (R,) whose net scores each click highest, and the share that moved.

    content (I, D) of all items; gates (D,) in [0, 1], 1 for an invariant feature; label (R,) the
    environments so far.
    """
    scores = _scores(content, gates, clicks, label, environments, generator)  # (E, R)
    spread = scores.std(1, keepdim=True).clamp(min=1e-6)
    reassigned = ((scores - scores.mean(1, keepdim=True)) / spread).argmax(0)
    moved = float((reassigned != label).float().mean())
    for environment in range(environments):
        if (reassigned == environment).float().mean() < _SMALLEST:
            drawn = torch.rand(len(reassigned), generator=generator) < 1.0 / environments
            reassigned = reassigned.masked_fill(drawn, environment)
            moved = 1.0
    return reassigned, moved


def settled(moved: float) -> bool:
    """Return whether the share of clicks that moved is small enough to stop."""
    return moved <= _SETTLED


def _scores(
    content: Tensor,
    gates: Tensor,
    clicks: Clicks,
    label: Tensor,
    environments: int,
    generator: torch.Generator,
) -> Tensor:
    """Train one net per environment on its clicks; return their scores (E, R) of all clicks.

    s_e = (a_e + P_eu).(W_e x_i) with a_e shared by all users and P_eu shrunk towards 0.
    """
    users, D = int(clicks.user.max()) + 1, content.shape[1]
    shared = torch.randn(environments, 1, _DIM, generator=generator)
    user_factor = torch.zeros(environments, users, _DIM)
    weight = torch.randn(environments, D, _DIM, generator=generator) * D**-0.5
    parameters = [shared, user_factor, weight]
    optimizer = torch.optim.Adam([p.requires_grad_() for p in parameters], lr=_LR)
    environment_rows = [(label == e).nonzero().flatten() for e in range(environments)]
    for _ in range(_STEPS):
        negative = torch.randint(len(content), (_NEGATIVES,), generator=generator)
        shrinkage = _SHRINKAGE * user_factor.square().sum() / len(label)
        loss = shrinkage + _INVARIANT_PENALTY * (weight * gates[:, None]).square().sum()
        for e, rows in enumerate(environment_rows):
            if not len(rows):
                continue
            batch = rows[torch.randint(len(rows), (_BATCH,), generator=generator)]
            user = shared[e] + user_factor[e, clicks.user[batch]]
            item, others = content[clicks.item[batch]] @ weight[e], content[negative] @ weight[e]
            loss = loss + click_loss(user, item, others)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        encoded = content @ weight
        scores: Tensor = ((shared + user_factor)[:, clicks.user] * encoded[:, clicks.item]).sum(2)
        return scores


def click_loss(user: Tensor, item: Tensor, others: Tensor) -> Tensor:
    """Return the mean of -log softmax of each clicked item among itself and the ``others``.

    user, item (B, d) vectors of the clicks; others (N, d) vectors of uniformly drawn items.
    """
    clicked_logit = (user * item).sum(1)  # (B,)
    return F.softplus((user @ others.transpose(0, 1)).logsumexp(1) - clicked_logit).mean()
