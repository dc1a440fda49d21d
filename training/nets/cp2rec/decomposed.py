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

The terms learned per id have Gaussian priors, whose deviations the data set (``IdPriors``).
Position enters the likelihood, but no score. Means are sums / (n + 5) of centred content, without
the slate that is being predicted. A cold user has p_u = H' [mean content of clicked]. In each batch
a random share of the slates is predicted as if their users were cold, so that H' learns too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt, MinLen
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.base import (
    FrontNet,
    NetOptions,
    Size,
    Slates,
    TrainingTables,
    Weight,
)
from training.nets.cp2rec.decomposed_modules import DecomposedRanker, ItemEncoder, UserEncoder
from training.nets.cp2rec.histories import Histories, SlateHistory
from training.nets.cp2rec.id_priors import IdPriors
from training.nets.layers import Examination

# Deviations of the priors at the start of training, which estimates them.
_DEVIATIONS = {
    "item_factor": 0.2,
    "item_bias": 0.5,
    "user_factor": 0.2,
    "user_bias": 0.5,
    "user_conformity": 0.4,
}


@dataclass(frozen=True)
class Cp2recOptions(NetOptions):
    """Sizes and loss weights, explained in ``configs/cp2rec.toml``."""

    architecture: Literal["decomposed"] = "decomposed"
    dim: Size = 32
    proxy_bins: Size = 32
    proxy_dropout: Annotated[float, Ge(0), Lt(1)] = 0.1
    exposure_weight: Weight | Annotated[tuple[Weight, ...], MinLen(1)] = 1.0
    orthogonality_weight: Weight = 0.01
    new_share: Annotated[float, Ge(0), Lt(1)] = 0.1
    prior_weight: Weight = 1.0
    uncertainty_weight: Weight = 0.25

    @property
    def exposure_weights(self) -> tuple[float, ...]:
        """The weights of the exposure loss to choose from."""
        weight = self.exposure_weight
        return weight if isinstance(weight, tuple) else (weight,)

    def alternatives(self) -> tuple[Cp2recOptions, ...]:
        """Return one option for each weight of the exposure loss."""
        return tuple(replace(self, exposure_weight=weight) for weight in self.exposure_weights)


def search_space(_: Cp2recOptions) -> dict[str, BaseDistribution]:
    """Return the ranges of the options that ``train --tune`` searches.

    ``new_share`` and ``proxy_dropout`` are not among them: they serve cold users and missing
    proxies, which the validation value hardly sees.
    """
    return {
        "train.lr": FloatDistribution(0.01, 0.1, log=True),
        "train.lr_final": FloatDistribution(1e-4, 4e-3, log=True),
        "train.epochs": IntDistribution(3, 10),
        "net.dim": CategoricalDistribution((16, 32, 64)),
        "net.prior_weight": FloatDistribution(0.3, 3.0, log=True),
        "net.uncertainty_weight": FloatDistribution(0.06, 1.0, log=True),
        "net.exposure_weight": CategoricalDistribution((0.0, 0.3, 1.0, 3.0)),
        "net.orthogonality_weight": FloatDistribution(1e-3, 0.1, log=True),
    }


def without_purification(options: Cp2recOptions) -> Cp2recOptions | None:
    """Return the options without purification; None if they already have none."""
    if not options.orthogonality_weight:
        return None
    return replace(options, orthogonality_weight=0.0)


class Cp2recDecomposed(FrontNet):
    """The decomposed net and its likelihood."""

    scalable = True

    def __init__(self, tables: TrainingTables, options: Cp2recOptions) -> None:
        super().__init__()
        self.options = options
        (self._exposure_weight,) = options.exposure_weights
        d = options.dim
        items, users = len(tables.embedding), len(tables.user_attributes)
        self.item_encoder: ItemEncoder = ItemEncoder(
            tables, d, options.proxy_bins, options.proxy_dropout
        )
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
        self.priors = IdPriors(_DEVIATIONS)
        self._user_rows = torch.bincount(tables.user, minlength=users).float()
        self._item_rows = tables.exposures()
        rate = tables.label.mean()
        self._curvature = float(rate * (1 - rate))  # of a row's loss in its logit, on average
        clicks = torch.bincount(tables.user, tables.label, minlength=users).float()
        surplus = clicks - self._user_rows * rate
        certainty = self._user_rows * self._curvature + 1 / _DEVIATIONS["user_bias"] ** 2
        with torch.no_grad():  # one Newton step from 0
            self.user_bias.weight[:, 0] = surplus / certainty
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
        loss = self.likelihood(user[batch.slate], state, batch)
        if options.prior_weight > 0:
            prior = self._prior_loss(batch, learned, user, state)
            loss = loss + options.prior_weight * prior
        if self._exposure_weight > 0:
            loss = loss + self._exposure_weight * self._exposure_loss(p, q, batch)
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

    def _prior_loss(self, batch: Slates, learned: Tensor, user: Tensor, state: Tensor) -> Tensor:
        """Return the loss of the id terms' priors and of their uncertainty, per row.

        learned (R, d + 1) of the rows' items. A row's loss grows by p (1 - p) / 2 times the
        variance of its logit, to second order. Of that variance, v_u |q|^2 + v_i |p|^2 is due to
        the factors P_u and V_i: it shrinks what an uncertain factor is multiplied with.
        """
        d, priors = self.options.dim, self.priors
        valid = batch.valid.float()
        rows = valid.view(len(user), -1).sum(1)  # (B,)
        p, q = user[:, :d].square(), state[:, :d].square()
        pull = (user[:, d + 1][batch.slate] * state[:, d + 1]).detach().square()  # (R,)
        item_rows, user_rows = self._item_rows[batch.item], self._user_rows[batch.user]
        of_item, of_user = self._curvature * item_rows, self._curvature * user_rows
        mean_p = p.detach().mean()
        mean_q, mean_pull = ((x.detach() * valid).sum() / rows.sum() for x in (q.mean(1), pull))
        of_factors = of_item * mean_p, of_user * mean_q
        item_share, user_share = valid / item_rows, rows / user_rows
        total = (
            priors.loss("item_factor", learned[:, :d], item_share, of_factors[0])
            + priors.loss("item_bias", learned[:, d:], item_share, of_item)
            + priors.loss("user_factor", self.user_factor(batch.user), user_share, of_factors[1])
            + priors.loss("user_bias", self.user_bias(batch.user), user_share, of_user)
            + priors.loss(
                "user_conformity", self.user_conformity(batch.user), user_share, of_user * mean_pull
            )
        )
        v_item = priors.variance("item_factor", of_factors[0])  # (R,)
        v_user = priors.variance("user_factor", of_factors[1])[batch.slate]
        spread = v_user * q.sum(1) + v_item * p.sum(1)[batch.slate]
        weight = self.options.uncertainty_weight * self._curvature / 2
        return (total + weight * (spread * valid).sum()) / rows.sum()
