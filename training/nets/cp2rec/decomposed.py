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
    UserMoves,
    Weight,
)
from training.nets.cp2rec.decomposed_modules import DecomposedRanker, ItemEncoder, UserEncoder
from training.nets.cp2rec.histories import Histories
from training.nets.cp2rec.id_priors import IdPriors
from training.nets.cp2rec.user_update import HistoryEncoder, UserUpdate
from training.nets.id_table import IdTable
from training.nets.layers import Examination, content_inputs

# Deviations of the priors at the start of training, which estimates them.
_FACTOR_SD, _BIAS_SD, _CONFORMITY_SD = 0.2, 0.5, 0.4
# A user of this many rows takes steps of .7 times the length: few rows hold back from overshooting.
_SLOW_ROWS = 50.0


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
    _user_rows: Tensor
    _item_rows: Tensor
    _user_attributes: Tensor
    _inputs: Tensor

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
        self.items = IdTable(items, factor=d, bias=1)
        self.users = IdTable(users, factor=d, bias=1, conformity=1)  # l less its mean
        for table in (self.items, self.users):
            nn.init.normal_(table.term("factor"), std=0.01)
        self.item_priors = IdPriors(self.items, _FACTOR_SD, _BIAS_SD)
        self.user_priors = IdPriors(self.users, _FACTOR_SD, _BIAS_SD, _CONFORMITY_SD)
        user_rows = torch.bincount(tables.user, minlength=users).float()
        self.register_buffer("_user_rows", user_rows, persistent=False)
        self.register_buffer("_item_rows", tables.exposures(), persistent=False)
        self.users.pace = (user_rows / (user_rows + _SLOW_ROWS)).sqrt()
        rate = tables.label.mean()
        self._curvature = float(rate * (1 - rate))  # of a row's loss in its logit, on average
        clicks = torch.bincount(tables.user, tables.label, minlength=users).float()
        surplus = clicks - self._user_rows * rate
        certainty = self._user_rows * self._curvature + 1 / _BIAS_SD**2
        self.users.term("bias")[:, 0] = surplus / certainty  # one Newton step from 0
        self.attributes = nn.Parameter(torch.zeros(tables.user_attributes.shape[1], d + 1))
        self.clicked, self.exposed = (
            nn.Linear(tables.embedding.shape[1], d, bias=False) for _ in range(2)
        )
        nn.init.zeros_(self.clicked.weight)
        nn.init.zeros_(self.exposed.weight)
        self.log_gamma = nn.Parameter(torch.zeros(()))
        self.examination = Examination(int(tables.position.max()) + 1)
        self.register_buffer("_user_attributes", tables.user_attributes, persistent=False)
        self.read_content(tables)

    @torch.no_grad()
    def read_content(self, tables: TrainingTables) -> None:
        """Compute the content of all items (I, D) and the histories of all users."""
        content = self.item_encoder.content(tables.embedding, tables.modality_mask)
        inputs = content_inputs(content, tables.modality_mask)  # (I, D + M)
        self.register_buffer("_inputs", inputs, persistent=False)
        self._histories = Histories(content, tables)

    def loss(self, batch: Slates) -> Tensor:
        """Return NLL + exposure loss + purification (COS) + priors, a scalar."""
        options, encoder = self.options, self.item_encoder
        inputs = self._inputs.index_select(0, batch.item)  # (R, D + M)
        learned = self.items(batch.item)  # (R, d + 1)
        common = encoder.common(inputs, learned)  # (R, d + 1)
        c = encoder.proxy(batch.proxies)  # (R, d)
        cold = torch.rand(len(batch.user), device=self.device) < options.new_share  # (B,)
        terms = self.users(batch.user)  # (B, d + 2)
        user = self.slate_users(batch, cold, terms)  # (B, U)
        state = torch.cat([common, encoder.readout(c), torch.zeros_like(c)], 1)  # (R, S)
        of_row = user.index_select(0, batch.slate)  # (R, U)
        loss = self.likelihood(of_row, state, batch)
        if options.prior_weight > 0:
            with torch.autocast(self.device.type, enabled=False):  # information spans many scales
                prior = self._prior_loss(batch, learned, terms, of_row, state)
            loss = loss + options.prior_weight * prior
        if self._exposure_weight > 0:
            loss = loss + self._exposure_weight * self._exposure_loss(user, of_row, state, batch)
        if options.orthogonality_weight > 0:
            cosine = F.cosine_similarity(self.common_features(state), c, dim=1).abs()
            loss = loss + options.orthogonality_weight * cosine.mean()
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

    def learned_items(self, items: Tensor | None = None) -> Tensor:
        """Return [V_i, b_i] (N, d + 1) of ``items`` (N,), or of all."""
        return self.items.rows(items)

    def user_vectors(self, users: Tensor | None = None) -> Tensor:
        """Return [p_u, b_u + mu, exp(l_u)] (B, d + 2) of ``users`` (B,), or of all."""
        if users is None:
            users = torch.arange(len(self._user_attributes), device=self.device)
        return self._user_vectors(users, self.users(users))

    def user_moves(self) -> UserMoves:
        """Return the update of p_u by the content of clicked items."""
        d = self.options.dim
        return UserMoves(self._history_encoder(), UserUpdate(d + 2, d))

    def user_records(self, users: Tensor | None = None) -> Tensor:
        """Return vectors and the parts of their histories (B, 3d + 4) of ``users`` (B,)."""
        parts = self._history_encoder().history_parts(self._histories, users)
        return torch.cat([self.user_vectors(users), parts], 1)

    def _history_encoder(self) -> HistoryEncoder:
        return HistoryEncoder(self.item_encoder.content, self.clicked, self.exposed)

    @torch.no_grad()
    def scale_exposure(self, factor: float) -> None:
        """Multiply the exposure term, which w weighs; scores at w = 0 do not change."""
        self.item_encoder.readout.weight.mul_(factor)

    def slate_users(self, batch: Slates, cold: Tensor, terms: Tensor) -> Tensor:
        """Return user vectors (B, U), whose histories leave out the slate to be predicted.

        cold (B,) bool: users whose vector is that of ``user_encoder``; terms (B, d + 2) of the
        users.
        """
        left_out = self._histories.of_slates(self._inputs, batch)
        warm = self._user_vectors(batch.user, terms, left_out)
        clicked, _ = self._histories.means(batch.user, left_out)  # (B, D)
        p = self.item_encoder.clicked(clicked)
        rest = torch.stack([self.mu, self.conformity.exp()]).expand(len(p), -1)  # (B, 2)
        return torch.where(cold[:, None], torch.cat([p, rest], 1), warm)

    def _user_vectors(self, user: Tensor, terms: Tensor, left_out: Tensor | None = None) -> Tensor:
        """Return vectors (B, U) of users (B,) with ``terms`` (B, d + 2).

        Their histories are without ``left_out``.
        """
        factor, bias, conformity = terms.split(self.users.widths, dim=1)
        clicked, exposed = self._histories.means(user, left_out)  # (B, D) each
        attributes = self._user_attributes[user] @ self.attributes  # (B, d + 1)
        p = factor + attributes[:, :-1] + self.clicked(clicked) + self.exposed(exposed)
        bias = self.mu + bias + attributes[:, -1:]
        return torch.cat([p, bias, (self.conformity + conformity).exp()], 1)

    def _exposure_loss(self, user: Tensor, of_row: Tensor, state: Tensor, batch: Slates) -> Tensor:
        """Return the mean over rows of -log softmax_j(gamma p_u.q_j) of the exposed item.

        j runs over all rows of the batch, so that popularity cancels. user (B, U); of_row (R, U).
        """
        d, gamma = self.options.dim, self.log_gamma.exp()
        q = state[:, :d]
        scores = ((gamma * user[:, :d]) @ q.transpose(0, 1)).float()  # (B, R)
        exposed = gamma * (of_row[:, :d] * q).sum(1)  # (R,)
        return (scores.logsumexp(1).index_select(0, batch.slate) - exposed).mean()

    def _prior_loss(
        self, batch: Slates, learned: Tensor, terms: Tensor, of_row: Tensor, state: Tensor
    ) -> Tensor:
        """Return the loss of the id terms' priors and of their uncertainty, per row.

        learned (R, d + 1) of the rows' items; terms (B, d + 2) of the users; of_row (R, U): user
        vectors. A row's loss grows by p (1 - p) / 2 times the variance of its logit, to second
        order. Of that variance, v_u |q|^2 + v_i |p|^2 is due to the factors P_u and V_i: it shrinks
        what an uncertain factor is multiplied with.
        """
        d = self.options.dim
        p, q = of_row[:, :d].square().sum(1), state[:, :d].square().sum(1)  # (R,)
        pull = (of_row[:, d + 1] * state[:, d + 1]).square()
        # Means over the rows: each is the curvature of a term, times that of a row's loss.
        of_item = torch.stack([p / d, torch.ones_like(p)]).detach().mean(1)
        of_user = torch.stack([q / d, torch.ones_like(q), pull]).detach().mean(1)
        item_rows, user_rows = self._item_rows[batch.item], self._user_rows[batch.user]
        item_information = self._curvature * item_rows[:, None] * of_item  # (R, 2)
        user_information = self._curvature * user_rows[:, None] * of_user  # (B, 3)
        item_share, user_share = 1.0 / item_rows, batch.lengths() / user_rows
        total = self.item_priors.loss(learned, item_share, item_information)
        total = total + self.user_priors.loss(terms, user_share, user_information)
        v_item = self.item_priors.variance(item_information)[:, 0]  # (R,)
        v_user = self.user_priors.variance(user_information)[:, 0].index_select(0, batch.slate)
        weight = self.options.uncertainty_weight * self._curvature / 2
        return (total + weight * (v_user * q + v_item * p).sum()) / len(p)
