"""A user's taste for content, and a popularity for each item that the tradeoff adds.

s_w = u.(W x_i) + w b_i          x_i: the item's embedding, b_i: learned for each id
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.base import FrontNet, NetOptions, Ranker, Size, Slates, TrainingTables
from training.nets.id_table import IdTable


@dataclass(frozen=True)
class LinearOptions(NetOptions):
    """The dimensions of a user's taste."""

    architecture: Literal["linear"] = "linear"
    dim: Size = 8


class ItemEncoder(nn.Module):
    """State (N, d + 1) of an item: W x, b."""

    def __init__(self, content_dim: int, dim: int) -> None:
        super().__init__()
        self.content_dim = content_dim
        self.weight = nn.Linear(content_dim, dim, bias=False)

    def forward(self, embedding: Tensor, modality_mask: Tensor, proxies: Tensor) -> Tensor:  # noqa: ARG002  # popularity is learned
        """Encode; the last modality is b, zero for an item without training rows."""
        content, learned = embedding[:, : self.content_dim], embedding[:, self.content_dim :]
        return torch.cat([self.weight(content), learned * modality_mask[:, -1:]], 1)


class UserEncoder(nn.Module):
    """User vector (1, d) of a user known by clicked items alone: their mean W x, shrunk."""

    def forward(self, history: Tensor) -> Tensor:
        """Encode states (L, d + 1) of clicked items; L = 0 gives the average user."""
        count = torch.ones_like(history[:, :1]).sum(0, keepdim=True)  # (1, 1)
        return history[:, :-1].sum(0, keepdim=True) / (count + 1.0)


class LinearRanker(Ranker):
    """s_w: one dot product of a state with [u, w]."""

    def pairwise(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (R,)."""
        return (user * state[:, :-1]).sum(1) + tradeoff * state[:, -1]

    def forward(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (N,)."""
        direction = torch.cat([user, tradeoff.view(1, 1)], 1)  # (1, d + 1)
        return (direction @ state.transpose(0, 1)).squeeze(0)


class LinearNet(FrontNet):
    """The net and its likelihood at w = 1."""

    of_items = ("popularity.weight",)
    of_users = ("taste.weight",)
    _embedding: Tensor

    def __init__(self, tables: TrainingTables, options: LinearOptions) -> None:
        super().__init__()
        content_dim = tables.embedding.shape[1]
        self.item_encoder: ItemEncoder = ItemEncoder(content_dim, options.dim)
        self.user_encoder = UserEncoder()
        self.ranker: LinearRanker = LinearRanker()
        self.taste = IdTable(len(tables.user_attributes), factor=options.dim)
        self.popularity = IdTable(len(tables.embedding), bias=1)
        nn.init.normal_(self.taste.weight, std=0.1)
        self.register_buffer("_embedding", tables.embedding, persistent=False)

    def loss(self, batch: Slates) -> Tensor:
        """Return the mean cross-entropy of the rows."""
        content = self.item_encoder.weight(self._embedding[batch.item])  # (R, d)
        state = torch.cat([content, self.popularity(batch.item)], 1)
        user = self.taste(batch.user)[batch.slate]
        logit = self.ranker.pairwise(user, state, user.new_ones(1))
        return F.binary_cross_entropy_with_logits(logit, batch.label)

    def without_exposure(self, state: Tensor) -> Tensor:
        """Return states (N, d + 1) with b of 0."""
        return torch.cat([state[:, :-1], torch.zeros_like(state[:, -1:])], 1)

    def common_features(self, state: Tensor) -> Tensor:
        """Return W x (N, d)."""
        return state[:, :-1]

    def learned_items(self, items: Tensor | None = None) -> Tensor:
        """Return b (N, 1) of ``items`` (N,), or of all."""
        return self.popularity.rows(items)

    def user_vectors(self, users: Tensor | None = None) -> Tensor:
        """Return the tastes (B, d) of ``users`` (B,), or of all."""
        return self.taste.rows(users)
