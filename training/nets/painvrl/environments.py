"""Environments of clicks: what PaInvRL's first module infers, and cheaper ones that are given.

After InvRL (Du et al., "Invariant Representation Learning for Multimedia Recommendation", ACM MM
2022), whose loop PaInvRL takes over: every click gets a random label; a net is trained on the
clicks of each label, charged for the features held invariant; every click moves to the net that
scores it highest; until at most 1 % of the clicks move. Ours: scores are standardised within each
net, and a label that is all but empty is drawn anew.
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
_BATCH = 1024  # of each environment
_NEGATIVES = 256
_LR = 0.05
_SHRINKAGE = 500.0  # keeps a net from knowing the clicks it was given by heart
_CHARGE = 0.1  # for weight on invariant features
_SETTLED = 0.01  # share of clicks that may still move
_SMALLEST = 0.01  # share of clicks below which a label is drawn anew


@dataclass(frozen=True)
class Clicks:
    """Clicked training rows: user, item (R,) int64, ordered by user, then by time."""

    user: Tensor
    item: Tensor

    @classmethod
    def of(cls, tables: TrainingTables) -> Clicks:
        """Take the clicked rows of the training tables."""
        clicked = tables.label > 0.5
        return cls(tables.user[clicked].long(), tables.item[clicked].long())


def given_environments(
    kind: Literal["popularity", "time", "random"],
    clicks: Clicks,
    environments: int,
    generator: torch.Generator,
) -> Tensor:
    """Return a label (R,) in [0, E) for each click, by what is known of it beforehand.

    popularity: quantiles of the item's clicks, as many clicks in each. time: E slices of each
    user's own clicks, in order. random: what both are compared with.
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
    """Return the label (R,) whose net scores each click highest, and the share that moved.

    content (I, D) of all items; gates (D,) in [0, 1], 1 for what is held invariant.
    """
    scores = _scores(content, gates, clicks, label, environments, generator)  # (E, R)
    spread = scores.std(1, keepdim=True).clamp(min=1e-6)
    found = ((scores - scores.mean(1, keepdim=True)) / spread).argmax(0)
    moved = float((found != label).float().mean())
    for environment in range(environments):
        if (found == environment).float().mean() < _SMALLEST:
            drawn = torch.rand(len(found), generator=generator) < 1.0 / environments
            found = found.masked_fill(drawn, environment)
            moved = 1.0
    return found, moved


def settled(moved: float) -> bool:
    """Return whether so small a share of moved clicks ends the search."""
    return moved <= _SETTLED


def _scores(
    content: Tensor,
    gates: Tensor,
    clicks: Clicks,
    label: Tensor,
    environments: int,
    generator: torch.Generator,
) -> Tensor:
    """Train E nets, each on its own clicks; return their scores (E, R) of all clicks.

    s_e = (a_e + P_eu).(W_e x_i): what the environment does to all users, and a little of each.
    """
    users, D = int(clicks.user.max()) + 1, content.shape[1]
    shared = torch.randn(environments, 1, _DIM, generator=generator)
    person = torch.zeros(environments, users, _DIM)
    weight = torch.randn(environments, D, _DIM, generator=generator) * D**-0.5
    parameters = [shared, person, weight]
    optimizer = torch.optim.Adam([p.requires_grad_() for p in parameters], lr=_LR)
    of_label = [(label == e).nonzero().flatten() for e in range(environments)]
    for _ in range(_STEPS):
        negative = torch.randint(len(content), (_NEGATIVES,), generator=generator)
        shrinkage = _SHRINKAGE * person.square().sum() / len(label)
        loss = shrinkage + _CHARGE * (weight * gates[:, None]).square().sum()
        for e, rows in enumerate(of_label):
            if not len(rows):
                continue
            batch = rows[torch.randint(len(rows), (_BATCH,), generator=generator)]
            p = shared[e] + person[e, clicks.user[batch]]
            liked, others = content[clicks.item[batch]] @ weight[e], content[negative] @ weight[e]
            loss = loss + click_loss(p, liked, others)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        encoded = content @ weight
        scores: Tensor = ((shared + person)[:, clicks.user] * encoded[:, clicks.item]).sum(2)
        return scores


def click_loss(person: Tensor, liked: Tensor, others: Tensor) -> Tensor:
    """Return the mean of -log softmax of clicks (B,) among their item and the ``others``.

    person and liked (B, d): who clicked what; others (N, d).
    """
    own = (person * liked).sum(1)  # (B,)
    return F.softplus((person @ others.transpose(0, 1)).logsumexp(1) - own).mean()
