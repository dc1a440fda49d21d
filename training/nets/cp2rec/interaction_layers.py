"""Options and modules of CP2Rec with learned interactions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.base import NetOptions, Ranker, Size, TrainingTables, Weight
from training.nets.cp2rec.histories import HISTORY_PRIOR
from training.nets.cp2rec.purifier import Purifier
from training.nets.layers import Content, ProxyBins, content_inputs


@dataclass(frozen=True)
class InteractionOptions(NetOptions):
    """Sizes and loss weights, explained in ``configs/cp2rec-front.toml``."""

    architecture: Literal["ncf", "dcn"] = "dcn"
    mode: Literal["paper", "front", "backdoor"] = "front"
    purifier: Literal["cos", "proj", "solve", "none"] = "cos"
    debias: Literal["ips", "snips", "pos", "rel", "none"] = "ips"
    refine: bool = True
    dim: Size = 16
    hidden: Size = 64
    cross_layers: Size = 2
    donors: Size = 8
    proxy_bins: Size = 32
    proxy_dropout: Annotated[float, Ge(0), Lt(1)] = 0.1
    id_dropout: Annotated[float, Ge(0), Lt(1)] = 0.1
    biased_weight: Weight = 0.1
    orthogonality_weight: Weight = 0.01
    l2: Weight = 1e-6

    @property
    def refined(self) -> bool:
        """Whether w = 0 sees refined proxies c'; ``backdoor`` averages over proxies instead."""
        return self.refine and self.mode != "backdoor"

    @property
    def exposure(self) -> Literal["propensity", "offset"]:
        """Offsets for the front, propensities for the published losses."""
        return "offset" if self.mode == "front" else "propensity"


def search_space(options: InteractionOptions) -> dict[str, BaseDistribution]:
    """Return the ranges of the options that ``train --tune`` searches: those with an effect."""
    space: dict[str, BaseDistribution] = {
        "train.lr": FloatDistribution(2e-3, 0.03, log=True),
        "train.epochs": IntDistribution(2, 6),
        "net.dim": CategoricalDistribution((8, 16, 32)),
        "net.hidden": CategoricalDistribution((32, 64, 128)),
        "net.l2": FloatDistribution(1e-7, 1e-4, log=True),
    }
    if options.architecture == "dcn":
        space["net.cross_layers"] = IntDistribution(1, 3)
    if options.purifier in ("cos", "solve"):
        space["net.orthogonality_weight"] = FloatDistribution(1e-3, 0.1, log=True)
    if options.mode == "paper" and options.debias != "none":
        space["net.biased_weight"] = FloatDistribution(0.01, 1.0, log=True)
    return space


def without_purifier(options: InteractionOptions) -> InteractionOptions | None:
    """Return the options without purification; None if they already have none.

    PROJ purifies in the forward pass, COS and SOLVE by a loss, whose weight may be 0.
    """
    learned = options.purifier != "none" and options.orthogonality_weight > 0
    if options.purifier != "proj" and not learned:
        return None
    return replace(options, purifier="none")


class ItemEncoder(nn.Module):
    """State (N, 4d) of an item: z', c, c' and the content that histories sum."""

    def __init__(self, tables: TrainingTables, options: InteractionOptions) -> None:
        super().__init__()
        d, D = options.dim, tables.embedding.shape[1]
        self.content_dim = D
        self.content = Content(
            tables.dims, tables.embedding, tables.modality_mask, tables.exposures()
        )
        self.project = nn.Linear(D, d)
        self.mix = nn.Sequential(nn.GELU(), nn.Linear(d, d))
        self.norm_z = nn.LayerNorm(d)
        self.embed_proxies = nn.Sequential(
            ProxyBins(tables.proxies, options.proxy_bins, d, options.proxy_dropout),
            nn.LayerNorm(d),
        )
        self.refine = nn.Linear(d, d) if options.refined else None
        self.purify = Purifier(options.purifier, d)
        self.clicked = nn.Linear(D, d, bias=False)

    def forward(self, embedding: Tensor, modality_mask: Tensor, proxies: Tensor) -> Tensor:
        """Return states (N, 4d); the last modality is the id embedding, 0 for a cold item."""
        raw, learned = embedding[:, : self.content_dim], embedding[:, self.content_dim :]
        mask, warm = modality_mask[:, :-1], modality_mask[:, -1:]
        content = self.content(raw, mask)
        z, c = self.features(content_inputs(content, mask), learned * warm, proxies)
        return torch.cat([self.encode(z, c), self.clicked(content)], 1)  # (N, 4d)

    def encode(self, z: Tensor, c: Tensor) -> Tensor:
        """Return z', c and c' (N, 3d) of z and c (N, d)."""
        refined = torch.sigmoid(self.refine(c)) if self.refine is not None else torch.zeros_like(c)
        return torch.cat([self.purify(z, c), c, refined], 1)

    def features(self, inputs: Tensor, learned: Tensor, proxies: Tensor) -> tuple[Tensor, Tensor]:
        """Return z before purification and c, (N, d) each.

        inputs (N, D + M) as by ``content_inputs``, proxies (N, P); learned (N, d), zero for a cold
        item.
        """
        projected = self.mix(self.content.project(self.project, inputs))
        return self.norm_z(projected + learned), self.embed_proxies(proxies)


class UserEncoder(nn.Module):
    """User vector (1, d) of a cold user, from clicked items."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, history: Tensor) -> Tensor:
        """Return the vector of states (L, 4d) of clicked items; L = 0 gives the average user."""
        length = torch.ones_like(history[:, :1]).sum(0, keepdim=True)  # (1, 1)
        return history[:, 3 * self.dim :].sum(0, keepdim=True) / (length + HISTORY_PRIOR)


class InteractionRanker(Ranker):
    """f([u, z', c_w]) with hidden layers modulated by w, or the mode's mix of two such logits.

    Only ``backdoor`` uses ``embed_proxies``, for c (K, d) of the raw proxies (K, P) of ``donors``.
    """

    donors: Tensor

    def __init__(
        self, options: InteractionOptions, prior: Tensor, embed_proxies: nn.Module, donors: Tensor
    ) -> None:
        super().__init__()
        self.embed_proxies = embed_proxies if options.mode == "backdoor" else None
        self.register_buffer("donors", donors)
        self.dim, self.mode, self.architecture = options.dim, options.mode, options.architecture
        width, hidden = 3 * options.dim, options.hidden
        self.first = nn.Linear(width, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.film = nn.Linear(1, 4 * hidden, bias=False) if options.mode == "front" else None
        if self.film is not None:
            nn.init.zeros_(self.film.weight)
        self.cross = nn.ModuleList(nn.Linear(width, 1) for _ in range(options.cross_layers))
        product = options.dim if options.architecture == "ncf" else width
        self.out = nn.Linear(hidden + product, 1)
        nn.init.zeros_(self.out.weight)
        with torch.no_grad():
            self.out.bias.copy_(prior)

    def forward(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (N,), equal to those of ``pairwise``, by weights that fold user and w."""
        w = tradeoff.view(1, 1)
        one, zero = torch.ones_like(w), torch.zeros_like(w)
        if self.embed_proxies is not None:
            c = self.embed_proxies(self.donors)  # (K, d)
            donors = [self._folded(user, state, w, zero, zero, c[k : k + 1]) for k in range(len(c))]
            biased = self._folded(user, state, w, one, zero)
            return (1.0 - tradeoff) * torch.stack(donors).mean(0) + tradeoff * biased
        if self.mode == "paper":
            debiased = self._folded(user, state, w, zero, one)
            biased = self._folded(user, state, w, one, zero)
            return (1.0 - tradeoff) * debiased + tradeoff * biased
        return self._folded(user, state, w, w, 1.0 - w)

    def _folded(
        self,
        user: Tensor,
        state: Tensor,
        w: Tensor,
        proxy_weight: Tensor,
        refined_weight: Tensor,
        donor: Tensor | None = None,
    ) -> Tensor:
        """Return the logits (N,) of ``_logit``; c_w = proxy_weight c + refined_weight c' + donor.

        user, donor (1, d); w, proxy_weight, refined_weight (1, 1). The first layer, the cross
        layers and the product part of the last layer are linear in x = [u, z, c_w]: one product of
        the states with weights for this user and w computes them all. A cross layer only scales x,
        layer k from a x to (a (1 + v_k x) + b_k) x, so the last layer needs projections of x alone.
        """
        hidden, d = self.second.in_features, self.dim
        last = self.out.weight[:, hidden:]
        if self.architecture == "ncf":
            layers = []
            last = torch.cat([torch.zeros_like(user), last * user, torch.zeros_like(user)], 1)
        else:
            layers = [layer for layer in self.cross if isinstance(layer, nn.Linear)]
        weight = torch.cat([self.first.weight, *(layer.weight for layer in layers), last])
        user_weight, z_weight, c_weight = weight.split(d, dim=1)  # (H + L + 1, d) each
        fixed = user @ user_weight.transpose(0, 1)
        if donor is not None:
            fixed = fixed + donor @ c_weight.transpose(0, 1)
        state_weights = [z_weight, proxy_weight * c_weight, refined_weight * c_weight]
        weight = torch.cat(state_weights, 1)  # (H + L + 1, 3d)
        first, product_weight = weight[:hidden], weight[hidden:]
        bias, product_bias = fixed[:, :hidden] + self.first.bias, fixed[:, hidden:]
        second, second_bias = self.second.weight, self.second.bias
        if self.film is not None:
            film = self.film(w).chunk(4, dim=1)  # (1, H) each
            first, bias = first * (1.0 + film[0]).transpose(0, 1), bias * (1.0 + film[0]) + film[1]
            second = second * (1.0 + film[2]).transpose(0, 1)
            second_bias = second_bias * (1.0 + film[2]).squeeze(0) + film[3].squeeze(0)
        x = state[:, : 3 * d]
        h = F.relu(F.linear(x, first, bias.squeeze(0)))  # (N, H)
        h = F.relu(F.linear(h, second, second_bias))
        projection = product_weight @ x.transpose(0, 1) + product_bias.transpose(0, 1)  # (L + 1, N)
        scale: Tensor | float = 1.0
        for k, layer in enumerate(layers):
            scale = scale * (1.0 + projection[k]) + layer.bias
        # The vector on the left: a product of a table with a vector runs far slower.
        deep = self.out.weight[:, :hidden] @ h.transpose(0, 1)  # (1, N)
        logit: Tensor = deep.squeeze(0) + self.out.bias + scale * projection[-1]
        return logit

    def pairwise(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (R,); tradeoff (1,) or (R,)."""
        z, c, refined, _ = state.split(self.dim, dim=1)
        w = tradeoff.view(-1, 1)
        if self.embed_proxies is not None:
            average = self._average(user, z)
            return (1.0 - w[:, 0]) * average + w[:, 0] * self._logit(user, z, c, w)
        if self.mode == "paper":
            debiased, biased = self._logit(user, z, refined, w), self._logit(user, z, c, w)
            return (1.0 - w[:, 0]) * debiased + w[:, 0] * biased
        return self._logit(user, z, (1.0 - w) * refined + w * c, w)

    def _average(self, user: Tensor, z: Tensor) -> Tensor:
        """Return the mean logit (R,) over the donors' proxies."""
        assert self.embed_proxies is not None  # noqa: S101  # mode "backdoor" alone calls this
        c = self.embed_proxies(self.donors)  # (K, d)
        one = z.new_ones(1, 1)
        logits = [self._logit(user, z, c[k].expand(len(z), -1), one) for k in range(len(c))]
        return torch.stack(logits).mean(0)

    def heads(self, user: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (R,) of y_U and y_B, the two heads of ``paper``."""
        z, c, refined, _ = state.split(self.dim, dim=1)
        zero, one = user.new_zeros(1, 1), user.new_ones(1, 1)
        return self._logit(user, z, refined, zero), self._logit(user, z, c, one)

    def biased(self, user: Tensor, z: Tensor, c: Tensor) -> Tensor:
        """Return the logits (R,) of y_B alone; z' and c (R, d)."""
        return self._logit(user, z, c, user.new_ones(1, 1))

    def _logit(self, user: Tensor, z: Tensor, c: Tensor, w: Tensor) -> Tensor:
        x = torch.cat([user, z, c], 1)  # (R, 3d)
        h = F.relu(self._modulate(self.first(x), w, 0))
        h = F.relu(self._modulate(self.second(h), w, 2))
        hidden = h.shape[1]
        deep, last = self.out.weight.split([hidden, self.out.in_features - hidden], dim=1)
        logit = torch.addmm(self.out.bias, h, deep.transpose(0, 1)).squeeze(1)
        if self.architecture == "ncf":  # generalised matrix factorisation: He et al., WWW 2017
            return logit + F.linear(user * z, last).squeeze(1)
        # Cross network: Wang et al., ADKDD 2017. Each layer only scales x, as in ``_folded``.
        layers = [layer for layer in self.cross if isinstance(layer, nn.Linear)]
        projections = F.linear(x, torch.cat([*(layer.weight for layer in layers), last]))
        *crossed, product = projections.unbind(1)  # (R,) each
        scale: Tensor | float = 1.0
        for projection, layer in zip(crossed, layers, strict=True):
            scale = scale * (1.0 + projection) + layer.bias
        return logit + scale * product

    def _modulate(self, h: Tensor, w: Tensor, chunk: int) -> Tensor:
        """Return h (R, H) after FiLM by w; ``chunk`` is the first of the layer's two chunks."""
        if self.film is None:
            return h
        film = self.film(w).chunk(4, dim=1)  # (1 or R, H) each
        modulated: Tensor = h * (1.0 + film[chunk]) + film[chunk + 1]
        return modulated
