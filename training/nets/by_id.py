"""Recommenders of users and items known by their ids alone: BPR-MF, LightGCN, UltraGCN."""

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
    """Matrix factorisation by pairs (Rendle et al., UAI 2009).

    L = mean softplus(s(u, j) - s(u, i)) + ``l2`` / 2 mean(|p_u|^2 + |q_i|^2 + |q_j|^2), of each
    positive (u, i) and an item j drawn uniformly: a positive now and then.
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
        other = torch.randint(len(self.items), (len(item),))
        users, items = self.factors()
        own = users[user]
        margin = (own * (items[item] - items[other])).sum(dim=1)
        tables = (self.users[user], self.items[item], self.items[other])
        norms = sum(table.square().sum() for table in tables) / len(user)
        return softplus(-margin).mean() + 0.5 * self.l2 * norms


class LightGcn(BprMf):
    """The same over ids propagated along the graph of positives (He et al., SIGIR 2020).

    Factors are means over 0 to ``layers`` steps of D^-1/2 A D^-1/2.
    """

    def __init__(self, liked: csr_array, *, dim: int, l2: float, layers: int) -> None:
        super().__init__(liked, dim=dim, l2=l2)
        user, item = (torch.from_numpy(rows).long() for rows in liked.nonzero())
        self._propagate = Propagation(Clicks(user, item), len(self.users), len(self.items), layers)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return users (U, D) and items (I, D) whose products are the scores."""
        return self._propagate(self.users, self.items)


class UltraGcn(nn.Module):
    """LightGCN's limit as weights of a loss (Mao et al., CIKM 2021), ids alone.

    L = - mean (1 + b_ui) log sig(s_ui) - ``negative_weight`` mean (1 + b_uj) log sig(-s_uj)
    - ``item_weight`` mean sum_{k near i} w_ik log sig(s_uk) + ``l2`` / 2 mean(|p_u|^2 + |q_i|^2)
    with b_ui = sqrt((d_u + 1) / (d_i + 1)) / d_u. Negatives j are drawn uniformly, ``negatives``
    for a whole batch, so that their scores are one product.
    """

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
        self._of_user = _tensor(np.sqrt(degree_u + 1) / np.maximum(degree_u, 1))
        self._of_item = _tensor(1 / np.sqrt(degree_i + 1))
        near, weight = _near_items(liked)
        self._near, self._near_weight = torch.from_numpy(near), _tensor(weight)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return users (U, D) and items (I, D) whose products are the scores."""
        return self.users, self.items

    def loss(self, user: Tensor, item: Tensor) -> Tensor:
        """Return the loss of positives ``user`` and ``item`` (B,)."""
        own, liked = self.users[user], self.items[item]
        other = torch.randint(len(self.items), (self.negatives,))
        positive = (1 + self._of_user[user] * self._of_item[item]) * softplus(
            -(own * liked).sum(dim=1)
        )
        beta = self._of_user[user][:, None] * self._of_item[other]  # (B, negatives)
        negative = ((1 + beta) * softplus(own @ self.items[other].T)).mean(dim=1)
        near = torch.einsum("bd,bkd->bk", own, self.items[self._near[item]])
        alike = -(self._near_weight[item] * logsigmoid(near)).sum(dim=1)
        norms = own.square().sum(dim=1) + liked.square().sum(dim=1)
        return (
            positive
            + self.negative_weight * negative
            + self.item_weight * alike
            + 0.5 * self.l2 * norms
        ).mean()


def _near_items(liked: csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Return the items (I, K) of each item's greatest weights, and those (I, K), 0 where none.

    w_ik = G_ik / (g_i - G_ii) sqrt(g_i / g_k) with G co-occurrences and g its row sums.
    """
    table = liked.astype(np.float64)
    together = csr_array(table.T @ table)
    total = np.asarray(together.sum(axis=1)).ravel()
    alone = together.diagonal()
    near = np.zeros((len(total), _NEIGHBOURS), np.int64)
    weight = np.zeros((len(total), _NEIGHBOURS))
    for item in np.flatnonzero(total > alone):
        span = slice(together.indptr[item], together.indptr[item + 1])
        other, count = together.indices[span], together.data[span]
        other, count = other[other != item], count[other != item]
        score = count / (total[item] - alone[item]) * np.sqrt(total[item] / total[other])
        best = np.argsort(-score, kind="stable")[:_NEIGHBOURS]
        near[item, : len(best)], weight[item, : len(best)] = other[best], score[best]
    return near, weight


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
