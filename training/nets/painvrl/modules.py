"""Options and exported modules of PaInvRL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.base import NetOptions, Ranker, Share, Size, TrainingTables, Weight
from training.nets.layers import Content, content_inputs
from training.nets.painvrl.environments import EnvironmentKind
from training.nets.painvrl.gates import GateKind, PenaltyKind
from training.nets.painvrl.row_weights import RowWeightKind


@dataclass(frozen=True)
class PainvrlOptions(NetOptions):
    """Sizes, modules and loss weights, explained in ``configs/painvrl.toml``."""

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
    row_weight: RowWeightKind = "equal"
    negative_weight: Annotated[float, Gt(0)] = 1.0
    l2: Weight = 1e-4


def search_space(options: PainvrlOptions) -> dict[str, BaseDistribution]:
    """Return the ranges of the options that ``train --tune`` searches: those with an effect.

    Options of w = 0 are not among them: on clicks alone the validation value is recall at w = 1.
    """
    space: dict[str, BaseDistribution] = {
        "train.lr": FloatDistribution(3e-3, 0.03, log=True),
        "train.epochs": IntDistribution(5, 20),
        "net.dim": CategoricalDistribution((32, 64, 128)),
        "net.row_weight": CategoricalDistribution(("equal", "user", "beta")),
    }
    if options.base == "lightgcn":
        space["net.temperature"] = FloatDistribution(0.1, 0.4, log=True)
        space["net.layers"] = IntDistribution(2, 5)
    else:
        space["net.negative_weight"] = FloatDistribution(0.3, 3.0, log=True)
        space["net.l2"] = FloatDistribution(1e-5, 1e-3, log=True)
    return space


class ItemEncoder(nn.Module):
    """State (N, U + d + 1) of an item: [V + W m x or V, W m x; W (1 - m) x; b]."""

    gates: Tensor

    def __init__(self, tables: TrainingTables, options: PainvrlOptions) -> None:
        super().__init__()
        D = tables.embedding.shape[1]
        self.content_dim = D
        self.shared = options.base == "lightgcn"
        self.convert = options.convert and options.gates != "none"  # else no content is variant
        self.share = 1.0 / (options.layers + 1) if self.shared else 1.0
        self.content = Content(
            tables.dims, tables.embedding, tables.modality_mask, tables.exposures()
        )
        self.weight = nn.Linear(D, options.dim, bias=False)
        self.new_bias = nn.Parameter(torch.zeros(()))  # b of an item that nobody clicked
        self.register_buffer("gates", torch.ones(D))

    def forward(self, embedding: Tensor, modality_mask: Tensor, proxies: Tensor) -> Tensor:  # noqa: ARG002  # popularity is learned
        """Return states (N, S); the last modality is [V_i, b_i], masked out for a cold item."""
        raw, learned = embedding[:, : self.content_dim], embedding[:, self.content_dim :]
        mask, warm = modality_mask[:, :-1], modality_mask[:, -1:]
        content, variant = self.encoded(content_inputs(self.content(raw, mask), mask))
        item, bias = learned.split([learned.shape[1] - 1, 1], 1)
        item = item + content if self.shared else item
        whole, variant, bias = self.parts(item, content, variant, bias, warm)
        own, content = whole.tensor_split([whole.shape[1] - variant.shape[1]], 1)
        return torch.cat([own, content - variant, variant, bias], 1)

    def encoded(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return content and its variant half (N, d) of inputs (N, D + M), see ``content_inputs``.

        A propagated item is a mean over layers; its content, in the first one, has their share.
        """
        # Gates times weights: gating the content would copy it and send gradients through it.
        gates = [torch.ones_like(self.gates), 1.0 - self.gates] if self.convert else [self.gates]
        weight = (self.share * torch.stack(gates)[:, None] * self.weight.weight).flatten(0, 1)
        missing = F.linear(weight, self.content.block * self.content.missing)  # (.., M)
        encoded = F.linear(inputs, torch.cat([weight, missing], 1)).float()  # also under bfloat16
        if not self.convert:
            return encoded, torch.zeros_like(encoded)
        content, variant = encoded.chunk(2, 1)
        return content, variant

    def parts(
        self, item: Tensor, content: Tensor, variant: Tensor, bias: Tensor, warm: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return features (N, U), their variant part (N, d) and b (N, 1), which make up states.

        item (N, V): propagated items, which include their content (N, d), or V; warm (N, 1) is 1
        for a warm item, 0 for a cold one.
        """
        bias = torch.lerp(self.new_bias.expand_as(bias), bias, warm)
        if not self.shared:
            return torch.cat([item * warm, content], 1), variant, bias
        whole = torch.lerp(content.to(item.dtype), item, warm)  # content may be in bfloat16
        scale = 1.0 / whole.norm(dim=1, keepdim=True).clamp(min=1e-6)
        return whole * scale, variant * scale, bias


class UserEncoder(nn.Module):
    """User vector (1, U) of a cold user, from clicked items."""

    def __init__(self, user_dim: int, dim: int, norm: float | None) -> None:
        super().__init__()
        self.user_dim, self.dim, self.norm = user_dim, dim, norm
        self.taste = nn.Linear(user_dim, user_dim)
        nn.init.eye_(self.taste.weight)
        nn.init.normal_(self.taste.bias, std=0.01)

    def forward(self, history: Tensor) -> Tensor:
        """Return the vector of states (L, S) of clicked items; L = 0 gives the average user."""
        count = torch.ones_like(history[:, :1]).sum(0, keepdim=True)  # (1, 1)
        return self.encode(self.whole(history).sum(0, keepdim=True), count)

    def whole(self, state: Tensor) -> Tensor:
        """Return invariant plus variant features (N, U) of states (N, S), without popularity."""
        d = self.dim
        common, variant = state[:, : self.user_dim], state[:, self.user_dim : self.user_dim + d]
        return torch.cat([common[:, :-d], common[:, -d:] + variant], 1)

    def encode(self, total: Tensor, count: Tensor) -> Tensor:
        """Return user vectors (B, U) of sums (B, U) over ``count`` (B, 1) items."""
        return self.scaled(self.taste(total / (count + 1.0)))

    def scaled(self, vector: Tensor) -> Tensor:
        """Return vectors (B, U) scaled to ``norm``; unchanged where it is None."""
        if self.norm is None:
            return vector
        return F.normalize(vector, dim=1, eps=1e-6) * self.norm


class PainvrlRanker(Ranker):
    """One dot product of a state with [U_id, U_c, v U_c, v], v the weight of the variant part.

    v = ``kept`` + (1 - ``kept``) w. At w = 0 it is ``kept`` instead of 0, because logged accuracy
    falls fast below ``kept``.
    """

    def __init__(self, dim: int, kept: float) -> None:
        super().__init__()
        self.dim, self.kept = dim, kept

    def direction(self, user: Tensor, variant_weight: Tensor) -> Tensor:
        """Return the direction (B, S): its dot product with a state is the logit.

        variant_weight (1,) or (B, 1).
        """
        v = variant_weight.view(-1, 1) * torch.ones_like(user[:, :1])  # (B, 1)
        return torch.cat([user, v * user[:, -self.dim :], v], 1)

    def weighted(
        self, whole: Tensor, variant: Tensor, bias: Tensor, variant_weight: float
    ) -> tuple[Tensor, Tensor]:
        """Return features (N, U) and biases (N,) of the parts of states, for one variant_weight.

        A user's product with the features plus the bias is the logit. It takes half as long as the
        product of ``direction`` with the states.
        """
        if variant_weight == 1.0:
            return whole, bias.squeeze(1)
        if whole.shape[1] > self.dim:
            variant = F.pad(variant, (whole.shape[1] - self.dim, 0))
        features = torch.sub(whole, variant, alpha=1.0 - variant_weight)
        return features, variant_weight * bias.squeeze(1)

    def at_tradeoff(self, user: Tensor, tradeoff: Tensor) -> Tensor:
        """Return the direction (B, S) at a tradeoff (1,)."""
        return self.direction(user, self.kept + (1.0 - self.kept) * tradeoff)

    def pairwise(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (R,)."""
        return (self.at_tradeoff(user, tradeoff) * state).sum(1)

    def forward(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (N,)."""
        return self.all_pairs(user, state, tradeoff).squeeze(0)

    def all_pairs(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (B, N) as one matrix product."""
        # The direction on the left: a product of a table with a vector runs far slower.
        return self.at_tradeoff(user, tradeoff) @ state.transpose(0, 1)
