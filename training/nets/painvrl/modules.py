"""Options and exported modules of PaInvRL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.base import NetOptions, Ranker, Share, Size, TrainingTables, Weight
from training.nets.layers import Content
from training.nets.painvrl.environments import EnvironmentKind
from training.nets.painvrl.gates import GateKind, PenaltyKind


@dataclass(frozen=True)
class PainvrlOptions(NetOptions):
    """Sizes, modules and loss weights; see the training configs for defaults and meaning."""

    architecture: Literal["painvrl"] = "painvrl"
    base: Literal["lightgcn", "ultragcn"] = "lightgcn"
    dim: Size = 64
    layers: Annotated[int, Ge(0)] = 4
    temperature: Annotated[float, Gt(0)] = 0.2
    candidates: Size = 8192
    debiased_share: Share = 0.5
    new_share: Share = 0.03
    popularity: Share = 0.3
    kept: Annotated[float, Ge(0), Lt(1)] = 0.45
    convert: bool = True
    gates: GateKind | Literal["none"] = "soft"
    environments: EnvironmentKind = "inferred"
    environment_count: Annotated[int, Ge(2)] = 3
    rounds: Size = 2
    mask_steps: Size = 100
    penalty: PenaltyKind = "variance"
    regulariser: Weight = 0.0
    negative_weight: Weight = 200.0
    l2: Weight = 1e-4


class ItemEncoder(nn.Module):
    """State (N, U + d + 1) of an item: [V + W m x or V, W m x; W (1 - m) x; b]."""

    gates: Tensor

    def __init__(self, tables: TrainingTables, options: PainvrlOptions) -> None:
        super().__init__()
        D = tables.embedding.shape[1]
        self.content_dim = D
        self.shared = options.base == "lightgcn"
        self.convert = options.convert
        self.share = 1.0 / (options.layers + 1) if self.shared else 1.0
        self.content = Content(
            tables.dims, tables.embedding, tables.modality_mask, tables.exposures()
        )
        self.weight = nn.Linear(D, options.dim, bias=False)
        self.new_bias = nn.Parameter(torch.zeros(()))  # b of an item that nobody clicked
        self.register_buffer("gates", torch.ones(D))

    def forward(self, embedding: Tensor, modality_mask: Tensor, proxies: Tensor) -> Tensor:  # noqa: ARG002  # popularity is learned
        """Encode; the last modality is [V_i, b_i], zero for an item never trained on."""
        raw, learned = embedding[:, : self.content_dim], embedding[:, self.content_dim :]
        mask, known = modality_mask[:, :-1], modality_mask[:, -1:]
        content = self.content.filled(self.content(raw, mask), mask)
        return self.state(*self.halves(content), learned, known)

    def halves(self, content: Tensor) -> tuple[Tensor, Tensor]:
        """Return invariant and variant representations (N, d) of content (N, D)."""
        invariant = self.weight(content * self.gates)
        variant = self.weight(content * (1.0 - self.gates))
        return invariant, variant if self.convert else torch.zeros_like(variant)

    def state(self, invariant: Tensor, variant: Tensor, learned: Tensor, known: Tensor) -> Tensor:
        """Return states (N, S) of both halves (N, d), [V, b] and whether that is known (N, 1)."""
        invariant, variant = self.share * invariant, self.share * variant
        own = learned[:, :-1] * known
        bias = learned[:, -1:] * known + self.new_bias * (1.0 - known)
        if not self.shared:
            return torch.cat([own, invariant, variant, bias], 1)
        own = own + invariant
        norm = (own + variant).norm(dim=1, keepdim=True).clamp(min=1e-6)
        return torch.cat([own / norm, variant / norm, bias], 1)


class UserEncoder(nn.Module):
    """User vector (1, U) of someone known by clicked items alone."""

    def __init__(self, user_dim: int, dim: int, norm: float | None) -> None:
        super().__init__()
        self.user_dim, self.dim, self.norm = user_dim, dim, norm
        self.taste = nn.Linear(user_dim, user_dim)
        nn.init.eye_(self.taste.weight)
        nn.init.normal_(self.taste.bias, std=0.01)

    def forward(self, history: Tensor) -> Tensor:
        """Encode states (L, S) of clicked items; L = 0 gives the average user."""
        count = torch.ones_like(history[:, :1]).sum(0, keepdim=True)  # (1, 1)
        return self.encode(self.whole(history).sum(0, keepdim=True), count)

    def whole(self, state: Tensor) -> Tensor:
        """Return states (N, S) as a user at t = 1 meets them, (N, U), popularity apart."""
        d = self.dim
        own, variant = state[:, : self.user_dim], state[:, self.user_dim : self.user_dim + d]
        return torch.cat([own[:, :-d], own[:, -d:] + variant], 1)

    def encode(self, total: Tensor, count: Tensor) -> Tensor:
        """Return vectors (B, U) of the sums (B, U) over so many items (B, 1)."""
        return self.scaled(self.taste(total / (count + 1.0)))

    def scaled(self, vector: Tensor) -> Tensor:
        """Give vectors (B, U) the norm that all users have, if all have one."""
        if self.norm is None:
            return vector
        return F.normalize(vector, dim=1, eps=1e-6) * self.norm


class PainvrlRanker(Ranker):
    """s_t: one dot product of a state with [U_id, U_c, t U_c, t].

    As served, t runs from ``kept`` to 1: further down the accuracy on logged traffic is soon gone.
    """

    def __init__(self, dim: int, kept: float) -> None:
        super().__init__()
        self.dim, self.kept = dim, kept

    def direction(self, user: Tensor, t: Tensor) -> Tensor:
        """Return what a state (S,) is multiplied with: (B, S), t (1,) or (B, 1)."""
        t = t.view(-1, 1) * torch.ones_like(user[:, :1])  # (B, 1)
        return torch.cat([user, t * user[:, -self.dim :], t], 1)

    def served(self, user: Tensor, tradeoff: Tensor) -> Tensor:
        """Return the direction (B, S) at a tradeoff (1,)."""
        return self.direction(user, self.kept + (1.0 - self.kept) * tradeoff)

    def pairwise(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (R,)."""
        return (self.served(user, tradeoff) * state).sum(1)

    def forward(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (N,)."""
        return self.all_pairs(user, state, tradeoff).squeeze(0)

    def all_pairs(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (B, N), of the whole catalogue as one matrix product."""
        # The direction on the left: a product of a table with a vector runs far slower.
        return self.served(user, tradeoff) @ state.transpose(0, 1)
