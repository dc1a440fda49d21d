"""PaInvRL: the tradeoff weighs the part of the score that depends on the environment.

Huang et al., "Pareto Invariant Representation Learning for Multimedia Recommendation", ACM MM
2023; we have only its abstract. It describes three modules, iterated: they infer environments,
generate an invariant mask from Pareto-weighted IRM and ERM losses, and convert item content into
invariant and variant representations, summed with weights. The rest follows the public code of
InvRL (Du et al., ACM MM 2022). The mask is learned before the training loop
(``training.nets.painvrl.invariance``); this net is the third module. The score is ours:

    s_w = U_id.V_i + U_c.(W (m x_i)) + v [ U_c.(W ((1 - m) x_i)) + b_i ]        x_i: content
    v   = kept + (1 - kept) w                                                   0 <= kept < 1

v, ``variant_weight`` in the code, is the weight of the variant part: variant content and the
learned popularity b_i. Both ends are trained. The score is one dot product of [U_id, U_c, v U_c, v]
with the item's state, so that no tradeoff needs another encoding.

Two bases:

- ``ultragcn``: UltraGCN's losses (Mao et al., CIKM 2021) on these terms. They score s_w plus the
  logit of the base rate, so that an item of which nothing is known starts there, at s_w = 0.
- ``lightgcn``: U_id and U_c are one vector, users and items are propagated along clicks and
  normalised, and the loss is a softmax over the catalogue. V_i includes all that propagation adds
  to an item. An item is normalised at v = 1 whatever v is, so that the score stays linear in v.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.base import FrontNet, LearnedMask, ProgressStore, Slates, TrainingTables
from training.nets.painvrl.environments import Clicks
from training.nets.painvrl.gates import MaskOptions, final_gates
from training.nets.painvrl.invariance import Invariance, find_invariance
from training.nets.painvrl.modules import ItemEncoder, PainvrlOptions, PainvrlRanker, UserEncoder
from training.nets.painvrl.propagation import Propagation
from training.nets.painvrl.row_weights import RowWeights


class Painvrl(FrontNet):
    """The net and its losses. They use clicks alone: a skip counts as an item not clicked."""

    of_items = ("item_factor.weight", "item_bias.weight")
    of_users = ("user_factor.weight",)

    def __init__(self, tables: TrainingTables, options: PainvrlOptions) -> None:
        super().__init__()
        self.options = options
        self.kept_exposure = options.kept
        self.shared = options.base == "lightgcn"
        d, items, users = options.dim, len(tables.embedding), len(tables.user_attributes)
        user_dim = d if self.shared else 2 * d
        norm = 1.0 / options.temperature if self.shared else None
        self.item_encoder: ItemEncoder = ItemEncoder(tables, options)
        self.user_encoder: UserEncoder = UserEncoder(user_dim, d, norm)
        self.ranker: PainvrlRanker = PainvrlRanker(d, options.kept)
        self.item_factor = nn.Embedding(items, d)
        self.item_bias = nn.Embedding(items, 1)
        self.user_factor = nn.Embedding(users, user_dim)
        nn.init.normal_(self.item_factor.weight, std=0.01)
        nn.init.normal_(self.user_factor.weight, std=0.01)
        nn.init.zeros_(self.item_bias.weight)
        self._clicks = Clicks.of(tables)
        self._item_count = torch.bincount(self._clicks.item, minlength=items).float()
        count = self._item_count + 0.5
        self._log_popularity = options.popularity * torch.log(count / count.mean())  # (I,)
        self._user_count = torch.bincount(self._clicks.user, minlength=users).float()
        self._weights = RowWeights.of(options.row_weight, self._user_count, self._item_count)
        self._base_logit = self._weights.base_logit(self._clicks, options.negative_weight)
        layers = options.layers if self.shared else 0
        self._propagate = Propagation(self._clicks, users, items, layers)
        self._mask = tables.modality_mask
        self.read_content(tables)
        self.invariance: Invariance | None = None

    @torch.no_grad()
    def read_content(self, tables: TrainingTables) -> None:
        """Compute the content (I, D) of all items."""
        self._content = self.item_encoder.content(tables.embedding, tables.modality_mask)

    def prepare(self, seed: int, progress: ProgressStore) -> None:
        """Learn the invariant mask. With ``gates = "none"`` all content is invariant."""
        options = self.options
        if options.gates == "none":
            return
        with torch.no_grad():
            content = self.item_encoder.content.filled(self._content, self._mask)
        self.invariance = find_invariance(
            content,
            self._clicks,
            options.environments,
            options.environment_count,
            options.rounds,
            MaskOptions(options.mask_steps, options.penalty, options.regulariser),
            seed,
            progress,
        )
        self.item_encoder.gates.copy_(final_gates(self.invariance.mu, options.gates))

    def loss(self, batch: Slates) -> Tensor:
        """Return the base's mean loss of the batch's clicks, each slate at w = 0 or at w = 1.

        At w = 0 the log popularity of training clicks is added to the score, times 1 - v: it
        replaces the missing share of b, so that the debiased score need not learn popularity. A
        share ``new_share`` of the slates trains cold users, from half of the slate's clicks, and
        the same share of the items trains cold items.
        """
        options, slates = self.options, len(batch.user)
        clicked = batch.valid & (batch.label > 0.5)  # (R,)
        user, learned, halves = self._propagated()
        warm = (torch.rand(len(learned), 1) >= options.new_share).float()
        state = self.item_encoder.state(*halves, learned, warm)  # (I, S)
        cold = torch.rand(slates) < options.new_share  # (B,)
        in_history = clicked & cold[batch.slate] & (torch.rand(len(clicked)) < 0.5)
        history = self._histories(state, batch, in_history, slates)
        vectors = torch.where(cold[:, None], history, self.user_encoder.scaled(user[batch.user]))
        debiased = torch.rand(slates, 1) < options.debiased_share
        variant_weight = torch.where(debiased, options.kept, 1.0)  # (B, 1)
        direction = self.ranker.direction(vectors, variant_weight)
        direction = torch.cat([direction, 1.0 - variant_weight], 1)  # (B, S + 1)
        state = torch.cat([state, self._log_popularity[:, None]], 1)  # (I, S + 1)
        rows = (clicked & ~in_history).nonzero().flatten()
        base_loss = self._softmax_loss if self.shared else self._ultragcn_loss
        return base_loss(direction, state, batch, rows).sum() / max(len(rows), 1)

    def learned_mask(self) -> LearnedMask | None:
        """Return the gates (D,) over the content of all modalities; None without a mask."""
        if self.invariance is None:
            return None
        weights, moved = tuple(self.invariance.weights), tuple(self.invariance.moved)
        return LearnedMask(self.item_encoder.gates, weights, moved)

    def without_exposure(self, state: Tensor) -> Tensor:
        """Return states (N, S) without variant content and popularity, the parts that v weighs."""
        user_dim = self.user_encoder.user_dim
        return torch.cat([state[:, :user_dim], torch.zeros_like(state[:, user_dim:])], 1)

    def without_popularity(self, state: Tensor) -> Tensor:
        """Return states (N, S) whose learned popularity b is 0."""
        return torch.cat([state[:, :-1], torch.zeros_like(state[:, -1:])], 1)

    def common_features(self, state: Tensor) -> Tensor:
        """Return the features (N, U) of states (N, S) that the tradeoff does not weigh."""
        return state[:, : self.user_encoder.user_dim]

    def learned_items(self, items: Tensor | None = None) -> Tensor:
        """Return [V_i, b_i] (N, V + 1) of ``items`` (N,), or of all, after propagation."""
        learned = self._propagated()[1]
        return learned if items is None else learned[items]

    def user_vectors(self, users: Tensor | None = None) -> Tensor:
        """Return the vectors (B, U) of ``users`` (B,), or of all.

        A user without clicks has the average vector.
        """
        vectors = self.user_encoder.scaled(self._propagated()[0])
        no_clicks = torch.zeros(1, vectors.shape[1])
        average = self.user_encoder.encode(no_clicks, torch.zeros(1, 1))
        vectors = torch.where(self._user_count[:, None] > 0, vectors, average)
        return vectors if users is None else vectors[users]

    def _propagated(self) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Return user vectors (users, U), [V, b] (I, V + 1) and both content halves (I, d)."""
        encoder = self.item_encoder
        halves = encoder.halves(encoder.content.filled(self._content, self._mask))
        user, item = self.user_factor.weight, self.item_factor.weight
        if self.shared:
            content = halves[0] + halves[1]
            user, item = self._propagate(user, item + content)
            item = item - encoder.share * content  # the encoder adds it
        bias = self.item_bias.weight + self._log_popularity[:, None]
        if self.options.popularity == 0:
            bias = torch.zeros_like(bias)
        return user, torch.cat([item, bias], 1), halves

    def _histories(self, state: Tensor, batch: Slates, in_history: Tensor, slates: int) -> Tensor:
        """Return user vectors (B, U) from the rows of each slate that are ``in_history`` (R,)."""
        features = self.user_encoder.whole(state[batch.item[in_history]])
        total = torch.zeros(slates, features.shape[1])
        total = total.index_add(0, batch.slate[in_history], features)
        count = torch.bincount(batch.slate[in_history], minlength=slates)[:, None].float()
        return self.user_encoder.encode(total, count)

    def _softmax_loss(
        self, direction: Tensor, state: Tensor, batch: Slates, rows: Tensor
    ) -> Tensor:
        """Return weighted -log softmax (R',) over the catalogue or, if it is large, a sample."""
        items, sampled = len(state), self.options.candidates
        slate, item = batch.slate[rows], batch.item[rows]
        clicked_logit = (direction[slate] * state[item]).sum(1)
        weight = self._weights.user[batch.user[slate]] * self._weights.item[item]
        if items <= sampled:
            everything = (direction @ state.transpose(0, 1)).logsumexp(1)[slate]
            return weight * (everything - clicked_logit)
        sample = torch.randint(items, (sampled,))
        others = (direction @ state[sample].transpose(0, 1)).logsumexp(1)[slate]
        everything = torch.logaddexp(others + math.log(items / sampled), clicked_logit)
        return weight * (everything - clicked_logit)

    def _ultragcn_loss(
        self, direction: Tensor, state: Tensor, batch: Slates, rows: Tensor
    ) -> Tensor:
        """Return UltraGCN's L_C + L_O (R',) and weight decay; its w_1 = w_3 = 0, w_2 = w_4 = 1.

        Each slate draws negatives of its own, clicked items included. A catalogue of at most
        ``candidates`` items is taken whole.
        """
        options, weights = self.options, self._weights
        slate, item = batch.slate[rows], batch.item[rows]
        user = batch.user[slate]
        clicked_logit = (direction[slate] * state[item]).sum(1) + self._base_logit
        if len(state) <= options.candidates:
            others, item_weight = direction @ state.transpose(0, 1), weights.item  # (B, I)
        else:
            sample = torch.randint(len(state), (len(direction), options.candidates))  # (B, N)
            others = torch.einsum("bs,bns->bn", direction, state[sample])
            item_weight = weights.item[sample]
        negative = (item_weight * F.softplus(others + self._base_logit)).mean(1)[slate]  # (R',)
        positive = weights.item[item] * F.softplus(-clicked_logit)
        factors = torch.cat([self.item_factor(item), self.user_factor(user)], 1)
        loss: Tensor = weights.user[user] * (positive + options.negative_weight * negative)
        return loss + options.l2 * factors.square().sum(1)
