"""Recommenders that learn from ids alone: BPR-MF, LightGCN, UltraGCN."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from training.nets.painvrl.environments import Clicks
from training.nets.painvrl.propagation import Propagation

_INITIAL_SD = 0.1
_NEIGHBOURS = 10


class BprMf(nn.Module):
    """Matrix factorisation with a pairwise loss (Rendle et al., UAI 2009).

    L = mean softplus(s(u, j) - s(u, i)) + ``l2`` / 2 mean(|p_u|^2 + |q_i|^2 + |q_j|^2) over
    positives (u, i), each with an item j drawn uniformly from all items, positives included.
    """

    def __init__(self, liked: csr_array, *, dim: int, l2: float) -> None:
        super().__init__()
        users, items = liked.shape
        self.users = nn.Parameter(_INITIAL_SD * torch.randn(users, dim))
        self.items = nn.Parameter(_INITIAL_SD * torch.randn(items, dim))
        self.l2 = l2

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return users (U, D) and items (I, D) whose products are the scores."""
        return self.users, self.items

    def loss(self, user: Tensor, item: Tensor) -> Tensor:
        """Return the loss of positives ``user`` and ``item`` (B,)."""
        negative = torch.randint(len(self.items), (len(item),), device=item.device)
        users, items = self.factors()
        user_factor = users[user]
        margin = (user_factor * (items[item] - items[negative])).sum(dim=1)
        tables = (self.users[user], self.items[item], self.items[negative])
        norms = sum(table.square().sum() for table in tables) / len(user)
        return softplus(-margin).mean() + 0.5 * self.l2 * norms


class LightGcn(BprMf):
    """BPR-MF on factors propagated along the graph of positives (He et al., SIGIR 2020).

    Factors are means over 0 to ``layers`` steps of D^-1/2 A D^-1/2.
    """

    def __init__(self, liked: csr_array, *, dim: int, l2: float, layers: int) -> None:
        super().__init__(liked, dim=dim, l2=l2)
        user, item = (torch.from_numpy(rows).long() for rows in liked.nonzero())
        self._propagate = Propagation(Clicks(user, item), len(self.users), len(self.items), layers)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return users (U, D) and items (I, D) whose products are the scores."""
        propagated: tuple[Tensor, Tensor] = self._propagate(self.users, self.items)
        return propagated


class UltraGcn(nn.Module):
    """LightGCN's limit as weights of a loss (Mao et al., CIKM 2021), on ids alone.

    L = - mean (1 + b_ui) log sig(s_ui) - ``negative_weight`` mean (1 + b_uj) log sig(-s_uj)
    - ``item_weight`` mean sum_{k near i} w_ik log sig(s_uk) + ``l2`` / 2 mean(|p_u|^2 + |q_i|^2)
    with b_ui = sqrt((d_u + 1) / (d_i + 1)) / d_u. The batch shares ``negatives`` uniformly drawn
    items j, so that their scores are one matrix product.
    """

    _user_weight: Tensor
    _item_weight: Tensor
    _near: Tensor
    _near_weight: Tensor

    def __init__(
        self,
        liked: csr_array,
        *,
        dim: int,
        l2: float,
        negatives: int,
        negative_weight: float,
        item_weight: float,
    ) -> None:
        super().__init__()
        users, items = liked.shape
        self.users = nn.Parameter(_INITIAL_SD * torch.randn(users, dim))
        self.items = nn.Parameter(_INITIAL_SD * torch.randn(items, dim))
        self.l2, self.negatives = l2, negatives
        self.negative_weight, self.item_weight = negative_weight, item_weight
        degree_u, degree_i = np.diff(liked.indptr), np.bincount(liked.indices, minlength=items)
        near, near_weight = _near_items(liked)
        for name, values in (
            ("_user_weight", _tensor(np.sqrt(degree_u + 1) / np.maximum(degree_u, 1))),
            ("_item_weight", _tensor(1 / np.sqrt(degree_i + 1))),
            ("_near", torch.from_numpy(near)),
            ("_near_weight", _tensor(near_weight)),
        ):
            self.register_buffer(name, values, persistent=False)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return users (U, D) and items (I, D) whose products are the scores."""
        return self.users, self.items

    def loss(self, user: Tensor, item: Tensor) -> Tensor:
        """Return the loss of positives ``user`` and ``item`` (B,)."""
        user_factor, item_factor = self.users[user], self.items[item]
        drawn = torch.randint(len(self.items), (self.negatives,), device=item.device)
        positive = (1 + self._user_weight[user] * self._item_weight[item]) * softplus(
            -(user_factor * item_factor).sum(dim=1)
        )
        beta = self._user_weight[user][:, None] * self._item_weight[drawn]  # (B, negatives)
        negative = ((1 + beta) * softplus(user_factor @ self.items[drawn].T)).mean(dim=1)
        neighbour_score = torch.einsum("bd,bkd->bk", user_factor, self.items[self._near[item]])
        neighbour = -(self._near_weight[item] * logsigmoid(neighbour_score)).sum(dim=1)
        norms = user_factor.square().sum(dim=1) + item_factor.square().sum(dim=1)
        return (
            positive
            + self.negative_weight * negative
            + self.item_weight * neighbour
            + 0.5 * self.l2 * norms
        ).mean()


def _near_items(liked: csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Return the K items of greatest weight for each item (I, K), and their weights (I, K).

    w_ik = G_ik / (g_i - G_ii) sqrt(g_i / g_k) with G the co-occurrences and g their row sums. An
    item with fewer than K neighbours has weight 0 in the remaining places.
    """
    table = liked.astype(np.float64)
    cooccurrence = csr_array(table.T @ table)
    total = np.asarray(cooccurrence.sum(axis=1)).ravel()
    diagonal = cooccurrence.diagonal()
    near = np.zeros((len(total), _NEIGHBOURS), np.int64)
    weight = np.zeros((len(total), _NEIGHBOURS))
    for item in np.flatnonzero(total > diagonal):
        span = slice(cooccurrence.indptr[item], cooccurrence.indptr[item + 1])
        others, count = cooccurrence.indices[span], cooccurrence.data[span]
        others, count = others[others != item], count[others != item]
        score = count / (total[item] - diagonal[item]) * np.sqrt(total[item] / total[others])
        best = np.argsort(-score, kind="stable")[:_NEIGHBOURS]
        near[item, : len(best)], weight[item, : len(best)] = others[best], score[best]
    return near, weight


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
