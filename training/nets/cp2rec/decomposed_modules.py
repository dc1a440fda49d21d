"""The modules of the decomposed net that are exported: item encoder, user encoder, ranker."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.nets.base import Ranker, TrainingTables
from training.nets.cp2rec.histories import HISTORY_PRIOR
from training.nets.layers import Content, ProxyBins, content_inputs


class ItemEncoder(nn.Module):
    """State (N, 2d + 3) of an item: q (d), bias, r_1.c, r_2.c, history content (d)."""

    def __init__(
        self, tables: TrainingTables, dim: int, proxy_bins: int, proxy_dropout: float
    ) -> None:
        super().__init__()
        d, D = dim, tables.embedding.shape[1]
        self.dim, self.content_dim = d, D
        self.content = Content(
            tables.dims, tables.embedding, tables.modality_mask, tables.exposures()
        )
        self.factor = nn.Linear(D, d + 1, bias=False)  # W and a
        nn.init.zeros_(self.factor.weight[d:])
        self.clicked = nn.Linear(D, d, bias=False)
        nn.init.zeros_(self.clicked.weight)
        self.proxy = ProxyBins(tables.proxies, proxy_bins, d, proxy_dropout)
        self.readout = nn.Linear(d, 2, bias=False)

    def forward(self, embedding: Tensor, modality_mask: Tensor, proxies: Tensor) -> Tensor:
        """Return states (N, S); the last modality is [V_i, b_i], masked out for a cold item."""
        raw, learned = embedding[:, : self.content_dim], embedding[:, self.content_dim :]
        mask, warm = modality_mask[:, :-1], modality_mask[:, -1:]
        content = self.content(raw, mask)
        common = self.common(content_inputs(content, mask), learned * warm)
        exposure = self.readout(self.proxy(proxies))  # (N, 2)
        return torch.cat([common, exposure, self.clicked(content)], 1)  # (N, S)

    def common(self, inputs: Tensor, learned: Tensor) -> Tensor:
        """Return [q, bias] (N, d + 1) of ``content_inputs`` (N, D + M) and what ids learned.

        learned (N, d + 1).
        """
        return self.content.project(self.factor, inputs) + learned


class UserEncoder(nn.Module):
    """User vector (1, d + 2) = [p, b + mu, exp(l)] of a cold user, from clicked items."""

    def __init__(self, dim: int, mu: nn.Parameter, conformity: nn.Parameter) -> None:
        super().__init__()
        self.dim = dim
        self.mu = mu
        self.conformity = conformity

    def forward(self, history: Tensor) -> Tensor:
        """Return the vector of states (L, S) of clicked items; L = 0 gives the average user."""
        length = torch.ones_like(history[:, :1]).sum(0, keepdim=True)  # (1, 1)
        content = history[:, self.dim + 3 :].sum(0, keepdim=True)  # (1, d)
        p = content / (length + HISTORY_PRIOR)
        return torch.cat([p, self.mu.view(1, 1), self.conformity.exp().view(1, 1)], 1)


class DecomposedRanker(Ranker):
    """s_w = m + w (exp(l) r_1.c + r_2.c): one dot product of a state with a direction."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def direction(self, user: Tensor, tradeoff: Tensor) -> Tensor:
        """Return the direction (B, S) of users (B, U).

        Its dot product with a state, plus the user's bias, is the logit.
        """
        p, conformity = user[:, : self.dim], user[:, self.dim + 1 :]
        w = tradeoff.view(1, 1) * torch.ones_like(conformity)  # (B, 1)
        return torch.cat([p, torch.ones_like(w), w * conformity, w, torch.zeros_like(p)], 1)

    def pairwise(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (R,)."""
        logit: Tensor = (self.direction(user, tradeoff) * state).sum(1) + user[:, self.dim]
        return logit

    def forward(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (N,)."""
        # The direction on the left: a product of a table with a vector runs far slower.
        products = self.direction(user, tradeoff) @ state.transpose(0, 1)  # (1, N)
        logit: Tensor = (products + user[:, self.dim : self.dim + 1]).squeeze(0)
        return logit
