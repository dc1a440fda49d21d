"""PaInvRL: one score whose every environment-dependent part carries the tradeoff.

Huang et al., "Pareto Invariant Representation Learning for Multimedia Recommendation", ACM MM
2023, known to us by its abstract: three modules, iterated, that infer environments, generate an
invariant mask by Pareto-weighted IRM and ERM losses, and convert item content into invariant and
variant representations that are summed with weights. Where the abstract is silent we follow the
public code of InvRL (Du et al., ACM MM 2022). The mask is found before the training loop
(``training.nets.painvrl.invariance``); this net is the third module. Ours is the score:

    s_t = U_id.V_i + U_c.(W (m x_i)) + t [ U_c.(W ((1 - m) x_i)) + b_i ]        x_i: content

the learned popularity b_i beside the variant content, and both ends trained. It is one dot
product of [U_id, U_c, t U_c, t] with a state of the item: any t, nothing encoded anew.

Bases. ``ultragcn``: UltraGCN's losses (Mao et al., CIKM 2021) on these very terms. ``lightgcn``:
U_id and U_c are one vector, users and items are propagated along clicks and normalised, the loss
is a softmax over the catalogue. What the other layers bring an item belongs to V_i, and the scale
that normalises is that of t = 1, so that the sum stays a sum.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.base import FrontNet, LearnedMask, ProgressStore, Slates, TrainingTables
from training.nets.painvrl.environments import Clicks
from training.nets.painvrl.gates import MaskOptions, served_gates
from training.nets.painvrl.invariance import Invariance, find_invariance
from training.nets.painvrl.modules import ItemEncoder, PainvrlOptions, PainvrlRanker, UserEncoder
from training.nets.painvrl.propagation import Propagation


class Painvrl(FrontNet):
    """The net and its losses, which see clicks alone: a skip counts as an item not clicked."""

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
        layers = options.layers if self.shared else 0
        self._propagate = Propagation(self._clicks, users, items, layers)
        self._mask = tables.modality_mask
        with torch.no_grad():
            self._content = self.item_encoder.content(tables.embedding, tables.modality_mask)
        self.invariance: Invariance | None = None

    def prepare(self, seed: int, progress: ProgressStore) -> None:
        """Find the invariant mask; without one all content is invariant."""
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
        self.item_encoder.gates.copy_(served_gates(self.invariance.mu, options.gates))

    def loss(self, batch: Slates) -> Tensor:
        """Return the base's loss of the batch's clicks, each slate at one of both served ends.

        At the lower end the popularity of training clicks stands in for what t would add, so that
        the debiased score need not learn it. Some slates are of users known by half of their
        clicks, and some items stand as nobody had clicked them, so that new ones are served well.
        """
        options, slates = self.options, len(batch.user)
        clicked = batch.valid & (batch.label > 0.5)  # (R,)
        user, learned, halves = self._propagated()
        known = (torch.rand(len(learned), 1) >= options.new_share).float()
        state = self.item_encoder.state(*halves, learned, known)  # (I, S)
        new = torch.rand(slates) < options.new_share  # (B,)
        told = clicked & new[batch.slate] & (torch.rand(len(clicked)) < 0.5)
        history = self._histories(state, batch, told, slates)
        vectors = torch.where(new[:, None], history, self.user_encoder.scaled(user[batch.user]))
        debiased = torch.rand(slates, 1) < options.debiased_share
        t = torch.where(debiased, options.kept, 1.0)  # (B, 1)
        direction = torch.cat([self.ranker.direction(vectors, t), 1.0 - t], 1)  # (B, S + 1)
        state = torch.cat([state, self._log_popularity[:, None]], 1)  # (I, S + 1)
        rows = (clicked & ~told).nonzero().flatten()
        base_loss = self._softmax_loss if self.shared else self._ultragcn_loss
        return base_loss(direction, state, batch, rows).sum() / max(len(rows), 1)

    def learned_mask(self) -> LearnedMask | None:
        """Return the gates (D,) that all modalities' content meets, None without a mask."""
        if self.invariance is None:
            return None
        weights, moved = tuple(self.invariance.weights), tuple(self.invariance.moved)
        return LearnedMask(self.item_encoder.gates, weights, moved)

    def without_exposure(self, state: Tensor) -> Tensor:
        """Return states (N, S) without variant content and popularity: all that carries t."""
        user_dim = self.user_encoder.user_dim
        return torch.cat([state[:, :user_dim], torch.zeros_like(state[:, user_dim:])], 1)

    def without_popularity(self, state: Tensor) -> Tensor:
        """Return states (N, S) whose learned popularity b is 0."""
        return torch.cat([state[:, :-1], torch.zeros_like(state[:, -1:])], 1)

    def common_features(self, state: Tensor) -> Tensor:
        """Return what t leaves alone (N, U) of states (N, S)."""
        return state[:, : self.user_encoder.user_dim]

    def learned_items(self) -> Tensor:
        """Return [V_i, b_i] of all items (I, V + 1), propagation included."""
        return self._propagated()[1]

    def user_vectors(self) -> Tensor:
        """Return the vectors (users, U) of all users; of those without clicks the average one."""
        vectors = self.user_encoder.scaled(self._propagated()[0])
        nothing = torch.zeros(1, vectors.shape[1])
        average = self.user_encoder.encode(nothing, torch.zeros(1, 1))
        return torch.where(self._user_count[:, None] > 0, vectors, average)

    def _propagated(self) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Return users (users, U), [V, b] (I, V + 1), and both halves of the content (I, d)."""
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

    def _histories(self, state: Tensor, batch: Slates, told: Tensor, slates: int) -> Tensor:
        """Return vectors (B, U) of users known by the rows ``told`` (R,) of their slate."""
        whole = self.user_encoder.whole(state[batch.item[told]])
        total = torch.zeros(slates, whole.shape[1]).index_add(0, batch.slate[told], whole)
        count = torch.bincount(batch.slate[told], minlength=slates)[:, None].float()
        return self.user_encoder.encode(total, count)

    def _softmax_loss(
        self, direction: Tensor, state: Tensor, batch: Slates, rows: Tensor
    ) -> Tensor:
        """Return -log softmax (R',) over the catalogue, or over a uniform sample of it."""
        items, sampled = len(state), self.options.candidates
        slate = batch.slate[rows]
        own = (direction[slate] * state[batch.item[rows]]).sum(1)
        if items <= sampled:
            return (direction @ state.transpose(0, 1)).logsumexp(1)[slate] - own
        some = torch.randint(items, (sampled,))
        others = (direction @ state[some].transpose(0, 1)).logsumexp(1)[slate]
        return torch.logaddexp(others + math.log(items / sampled), own) - own

    def _ultragcn_loss(
        self, direction: Tensor, state: Tensor, batch: Slates, rows: Tensor
    ) -> Tensor:
        """Return UltraGCN's L_C + L_O (R',), w_1 = w_3 = 0 and w_2 = w_4 = 1, and weight decay."""
        options, slate, item = self.options, batch.slate[rows], batch.item[rows]
        some = torch.randint(len(state), (min(options.candidates, len(state)),))
        own = (direction[slate] * state[item]).sum(1)
        others = direction @ state[some].transpose(0, 1)  # (B, N)
        degree = self._user_count[batch.user].clamp(min=1.0)  # (B,)
        of_user = (degree + 1.0).sqrt() / degree
        of_item = (self._item_count + 1.0).rsqrt()
        positive = of_user[slate] * of_item[item] * F.softplus(-own)
        negative = of_user * (F.softplus(others) * of_item[some]).mean(1)  # (B,)
        factors = torch.cat([self.item_factor(item), self.user_factor(batch.user[slate])], 1)
        loss: Tensor = positive + options.negative_weight * negative[slate]
        return loss + options.l2 * factors.square().sum(1)
