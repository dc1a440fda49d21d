"""CP2Rec as a decomposed score: one network for every tradeoff.

Liu et al., "Prior-Guided Accuracy-Bias Tradeoff Learning for CTR Prediction in Multimedia
Recommendation", ACM MM 2023, split features into confounding proxies c and common features z,
purify z of c, and rank by one debiased head. The decomposition below is ours. It contains both
heads and all mixes of them:

    p_u = P_u + A y_u + H [mean content of clicked, mean content of exposed]
    q_i = W x_i + V_i                                      x_i: content
    m   = p_u.q_i + a.x_i + b_i + b_u + mu                         the debiased score, w = 0
    s_w = m + w (exp(l_u) r_1.c_i + r_2.c_i)                       c_i: embedded proxies
    P(click at position k) = theta_k sigmoid(s_1),  theta_0 = 1    examination

Position enters the likelihood, but no score. Means are sums / (n + 5) of centred content, without
the slate that is being predicted. A cold user has p_u = H' [mean content of clicked]. In each batch
a random share of the slates is predicted as if their users were cold, so that H' learns too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.base import (
    FrontNet,
    NetOptions,
    Ranker,
    Size,
    Slates,
    TrainingTables,
    Weight,
)
from training.nets.cp2rec.histories import HISTORY_PRIOR, Histories, SlateHistory
from training.nets.layers import Content, Examination, ProxyBins

Deviation = Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Cp2recOptions(NetOptions):
    """Sizes, loss weights and prior standard deviations, explained in ``configs/cp2rec.toml``."""

    architecture: Literal["decomposed"] = "decomposed"
    dim: Size = 32
    proxy_bins: Size = 32
    proxy_dropout: Annotated[float, Ge(0), Lt(1)] = 0.1
    exposure_weight: Weight = 1.0
    orthogonality_weight: Weight = 0.01
    new_share: Annotated[float, Ge(0), Lt(1)] = 0.1
    factor_weight: Weight = 1e-3
    item_factor_sd: Deviation = 0.2
    item_bias_sd: Deviation = 0.5
    user_bias_sd: Deviation = 0.1
    conformity_sd: Deviation = 0.4


def without_purification(options: Cp2recOptions) -> Cp2recOptions | None:
    """Return the options without purification; None if they already have none."""
    if not options.orthogonality_weight:
        return None
    return replace(options, orthogonality_weight=0.0)


class ItemEncoder(nn.Module):
    """State (N, 2d + 3) of an item: q (d), bias, r_1.c, r_2.c, history content (d)."""

    def __init__(self, tables: TrainingTables, options: Cp2recOptions) -> None:
        super().__init__()
        d, D = options.dim, tables.embedding.shape[1]
        self.dim, self.content_dim = d, D
        self.content = Content(
            tables.dims, tables.embedding, tables.modality_mask, tables.exposures()
        )
        self.factor = nn.Linear(D, d + 1, bias=False)  # W and a
        nn.init.zeros_(self.factor.weight[d:])
        self.clicked = nn.Linear(D, d, bias=False)
        nn.init.zeros_(self.clicked.weight)
        self.proxy = ProxyBins(tables.proxies, options.proxy_bins, d, options.proxy_dropout)
        self.readout = nn.Linear(d, 2, bias=False)

    def forward(self, embedding: Tensor, modality_mask: Tensor, proxies: Tensor) -> Tensor:
        """Return states (N, S); the last modality is [V_i, b_i], masked out for a cold item."""
        raw, learned = embedding[:, : self.content_dim], embedding[:, self.content_dim :]
        mask, warm = modality_mask[:, :-1], modality_mask[:, -1:]
        content = self.content(raw, mask)
        common = self.common(content, mask, learned * warm)
        exposure = self.readout(self.proxy(proxies))  # (N, 2)
        return torch.cat([common, exposure, self.clicked(content)], 1)  # (N, S)

    def common(self, content: Tensor, mask: Tensor, learned: Tensor) -> Tensor:
        """Return [q, bias] (N, d + 1) of content (N, D) and features learned per id (N, d + 1)."""
        return self.content.project(self.factor, content, mask) + learned


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


class Cp2recDecomposed(FrontNet):
    """The decomposed net and its likelihood."""

    scalable = True

    def __init__(self, tables: TrainingTables, options: Cp2recOptions) -> None:
        super().__init__()
        self.options = options
        d = options.dim
        items, users = len(tables.embedding), len(tables.user_attributes)
        self._rows = len(tables.label)
        self.item_encoder: ItemEncoder = ItemEncoder(tables, options)
        self.mu = nn.Parameter(torch.logit(tables.label.mean().clamp(0.01, 0.99)))
        self.conformity = nn.Parameter(torch.zeros(()))  # mean of l
        self.user_encoder = UserEncoder(d, self.mu, self.conformity)
        self.ranker: DecomposedRanker = DecomposedRanker(d)
        self.item_factor = nn.Embedding(items, d)
        self.item_bias = nn.Embedding(items, 1)
        self.user_factor = nn.Embedding(users, d)
        self.user_bias = nn.Embedding(users, 1)
        self.user_conformity = nn.Embedding(users, 1)  # l less its mean
        nn.init.normal_(self.item_factor.weight, std=0.01)
        nn.init.normal_(self.user_factor.weight, std=0.01)
        for table in (self.item_bias, self.user_bias, self.user_conformity):
            nn.init.zeros_(table.weight)
        self.attributes = nn.Parameter(torch.zeros(tables.user_attributes.shape[1], d + 1))
        self.clicked, self.exposed = (
            nn.Linear(tables.embedding.shape[1], d, bias=False) for _ in range(2)
        )
        nn.init.zeros_(self.clicked.weight)
        nn.init.zeros_(self.exposed.weight)
        self.log_gamma = nn.Parameter(torch.zeros(()))
        self.examination = Examination(int(tables.position.max()) + 1)
        self._user_attributes = tables.user_attributes
        with torch.no_grad():
            self._content = self.item_encoder.content(tables.embedding, tables.modality_mask)
            self._histories = Histories(self._content, tables)

    def loss(self, batch: Slates) -> Tensor:
        """Return NLL + exposure loss + purification (COS) + priors, a scalar."""
        options, encoder = self.options, self.item_encoder
        content = self._content[batch.item]  # (R, D)
        learned = torch.cat([self.item_factor(batch.item), self.item_bias(batch.item)], 1)
        common = encoder.common(content, batch.modality_mask, learned)  # (R, d + 1)
        c = encoder.proxy(batch.proxies)  # (R, d)
        cold = torch.rand(len(batch.user)) < options.new_share  # (B,)
        user = self.slate_users(batch, content, cold)  # (B, U)
        state = torch.cat([common, encoder.readout(c), torch.zeros_like(c)], 1)  # (R, S)
        q, p = common[:, : options.dim], user[:, : options.dim]
        loss = self.likelihood(user[batch.slate], state, batch) + self._log_prior()
        size = p.square().sum(1).mean() + q.square().sum(1)[batch.valid].mean()
        loss = loss + options.factor_weight * size
        if options.exposure_weight > 0:
            loss = loss + options.exposure_weight * self._exposure_loss(p, q, batch)
        if options.orthogonality_weight > 0:
            cosine = F.cosine_similarity(q, c, dim=1).abs()
            loss = loss + options.orthogonality_weight * cosine[batch.valid].mean()
        return loss

    def without_exposure(self, state: Tensor) -> Tensor:
        """Return states (N, S) with r_1.c and r_2.c of 0."""
        d = self.options.dim
        pull = torch.zeros_like(state[:, d + 1 : d + 3])
        return torch.cat([state[:, : d + 1], pull, state[:, d + 3 :]], 1)

    def common_features(self, state: Tensor) -> Tensor:
        """Return q (N, d) of states (N, S)."""
        return state[:, : self.options.dim]

    def likelihood(self, user: Tensor, state: Tensor, batch: Slates) -> Tensor:
        """Return the mean of -log P(label) of users (R, U) with states (R, S) at w = 1."""
        one = torch.ones(1, dtype=state.dtype, device=state.device)
        loss: Tensor = self.examination(self.ranker.pairwise(user, state, one), batch)
        return loss

    def log_examination(self) -> Tensor:
        """Return log theta_k (K,)."""
        return self.examination.log_theta()

    def learned_items(self) -> Tensor:
        """Return [V_i, b_i] (I, d + 1) of all items."""
        return torch.cat([self.item_factor.weight, self.item_bias.weight], 1)

    def user_vectors(self) -> Tensor:
        """Return [p_u, b_u + mu, exp(l_u)] (users, d + 2) of all users."""
        return self._user_vectors(torch.arange(len(self._user_attributes)))

    @torch.no_grad()
    def scale_exposure(self, factor: float) -> None:
        """Multiply the exposure term, which w weighs; scores at w = 0 do not change."""
        self.item_encoder.readout.weight.mul_(factor)

    def slate_users(self, batch: Slates, content: Tensor, cold: Tensor) -> Tensor:
        """Return user vectors (B, U), whose histories leave out the slate to be predicted.

        content (R, D) of the rows; cold (B,) bool: users whose vector is that of ``user_encoder``.
        """
        left_out = SlateHistory.of(content, batch)
        warm = self._user_vectors(batch.user, left_out)
        clicked, _ = self._histories.means(batch.user, left_out)  # (B, D)
        p = self.item_encoder.clicked(clicked)
        rest = torch.stack([self.mu, self.conformity.exp()]).expand(len(p), -1)  # (B, 2)
        return torch.where(cold[:, None], torch.cat([p, rest], 1), warm)

    def _user_vectors(self, user: Tensor, left_out: SlateHistory | None = None) -> Tensor:
        """Return vectors (B, U) of users (B,), without ``left_out`` in their histories."""
        clicked, exposed = self._histories.means(user, left_out)  # (B, D) each
        attributes = self._user_attributes[user] @ self.attributes  # (B, d + 1)
        p = (
            self.user_factor(user)
            + attributes[:, :-1]
            + self.clicked(clicked)
            + self.exposed(exposed)
        )
        bias = self.mu + self.user_bias(user) + attributes[:, -1:]
        return torch.cat([p, bias, (self.conformity + self.user_conformity(user)).exp()], 1)

    def _exposure_loss(self, p: Tensor, q: Tensor, batch: Slates) -> Tensor:
        """Return the mean over rows of -log softmax_j(gamma p_u.q_j) of the exposed item.

        j runs over all rows of the batch, so that popularity cancels.
        """
        scores = self.log_gamma.exp() * p @ q.transpose(0, 1)  # (B, R)
        scores = scores.masked_fill(~batch.valid, -torch.inf)
        losses = scores.logsumexp(1)[batch.slate] - scores[batch.slate, torch.arange(len(q))]
        return losses[batch.valid].mean()

    def _log_prior(self) -> Tensor:
        """Return -log of the Gaussian priors of the id terms, per training row."""
        options = self.options
        terms = (
            (self.item_factor.weight, options.item_factor_sd),
            (self.item_bias.weight, options.item_bias_sd),
            (self.user_bias.weight, options.user_bias_sd),
            (self.user_conformity.weight, options.conformity_sd),
        )
        total = sum((term.square().sum() / (2 * sd**2) for term, sd in terms), torch.zeros(()))
        return total / self._rows
