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

import torch
from torch import Tensor, nn

from training.nets.base import FrontNet, LearnedMask, ProgressStore, Slates, TrainingTables
from training.nets.layers import content_inputs
from training.nets.painvrl.environments import Clicks
from training.nets.painvrl.gates import MaskOptions, final_gates
from training.nets.painvrl.invariance import Invariance, find_invariance
from training.nets.painvrl.losses import Rows, Scored, StepItems, softmax_loss, ultragcn_loss
from training.nets.painvrl.modules import (
    ItemEncoder,
    PainvrlOptions,
    PainvrlRanker,
    UserEncoder,
)
from training.nets.painvrl.propagation import Propagation
from training.nets.painvrl.row_weights import RowWeights

_ALL = slice(None)


class Painvrl(FrontNet):
    """The net and its losses. They use clicks alone: a skip counts as an item not clicked."""

    of_items = ("item_factor.weight", "item_bias.weight")
    of_users = ("user_factor.weight",)
    _log_popularity: Tensor
    _user_count: Tensor
    _mask: Tensor
    _inputs: Tensor

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
        item_count = torch.bincount(self._clicks.item, minlength=items).float()
        count = item_count + 0.5
        log_popularity = options.popularity * torch.log(count / count.mean())  # (I,)
        self.register_buffer("_log_popularity", log_popularity, persistent=False)
        user_count = torch.bincount(self._clicks.user, minlength=users).float()
        self.register_buffer("_user_count", user_count, persistent=False)
        self._weights = RowWeights.of(options.row_weight, user_count, item_count)
        self._base_logit = self._weights.base_logit(self._clicks, options.negative_weight)
        layers = options.layers if self.shared else 0
        self._propagate = Propagation(self._clicks, users, items, layers)
        self.register_buffer("_mask", tables.modality_mask, persistent=False)
        self.read_content(tables)
        self.invariance: Invariance | None = None

    @torch.no_grad()
    def read_content(self, tables: TrainingTables) -> None:
        """Compute the content (I, D) of all items."""
        content = self.item_encoder.content(tables.embedding, tables.modality_mask)
        inputs = content_inputs(content, tables.modality_mask)
        self.register_buffer("_inputs", inputs, persistent=False)

    def prepare(self, seed: int, progress: ProgressStore) -> None:
        """Learn the invariant mask. With ``gates = "none"`` all content is invariant."""
        options = self.options
        if options.gates == "none":
            return
        with torch.no_grad():
            content = self._inputs[:, : self.item_encoder.content_dim]
            content = self.item_encoder.content.filled(content, self._mask)
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
        row = (batch.label > 0.5).nonzero().flatten()
        slate, step = batch.slate[row], self._step_items(batch.item[row], slates)  # (R,)
        user, item, content, variant = self._propagated(batch.user, step.encoded)
        warm = (torch.rand(len(item), 1, device=self.device) >= options.new_share).float()
        parts = self.item_encoder.parts(item, content, variant, self._bias(step.encoded), warm)
        cold = torch.rand(slates, device=self.device) < options.new_share  # (B,)
        in_history = cold[slate] & (torch.rand(len(slate), device=self.device) < 0.5)  # (R,)
        known = parts[0][step.clicked[in_history]]
        history = self._histories(known, slate[in_history], slates)
        vectors = torch.where(cold[:, None], history, self.user_encoder.scaled(user))
        debiased = torch.rand(slates, device=self.device) < options.debiased_share  # (B,)
        # The softmax of a warm user serves all slates of the user.
        first = _first(torch.where(cold, -1 - torch.arange(slates, device=self.device), batch.user))
        first = first if self.shared else torch.arange(slates, device=self.device)
        prior = self._log_popularity[step.encoded]
        loss = vectors.new_zeros(())
        for variant_weight, end in ((options.kept, debiased), (1.0, ~debiased)):
            features, bias = self.ranker.weighted(*parts, variant_weight)
            trained = (end[slate] & ~in_history).nonzero().flatten()  # (r,)
            chosen, place = first[end].unique(return_inverse=True)  # (b,)
            scored = Scored(
                vectors[chosen],
                features,
                torch.add(bias, prior, alpha=1.0 - variant_weight),
                place[(end.cumsum(0) - 1)[slate[trained]]],
                step.clicked[trained],
                step.negatives_of(chosen),
            )
            loss = loss + self._loss(scored, batch.user[slate[trained]], step.encoded)
        if not self.shared:
            squares = item.square().sum(1)[step.clicked] + user.square().sum(1)[slate]
            loss = loss + options.l2 * squares[~in_history].sum()
        return loss / max(int((~in_history).sum()), 1)

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
        rows = _ALL if items is None else items
        _, item, content, _ = self._propagated(_ALL, rows)
        item = item - content if self.shared else item  # the encoder adds it
        return torch.cat([item, self._bias(rows)], 1)

    def user_vectors(self, users: Tensor | None = None) -> Tensor:
        """Return the vectors (B, U) of ``users`` (B,), or of all.

        A user without clicks has the average vector.
        """
        rows = _ALL if users is None else users
        vectors = self.user_encoder.scaled(self._propagated(rows, _ALL)[0])
        no_clicks = torch.zeros_like(vectors[:1])
        average = self.user_encoder.encode(no_clicks, no_clicks[:, :1])
        return torch.where(self._user_count[rows, None] > 0, vectors, average)

    def _propagated(self, users: Rows, items: Rows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return vectors of ``users``; of ``items``: vectors, content and its variant half (N, d).

        Propagated items include their content. Without propagation the rows alone are computed.
        """
        encoder = self.item_encoder
        if not self.shared:
            user, item = _rows(self.user_factor, users), _rows(self.item_factor, items)
            return user, item, *encoder.encoded(self._inputs[items])
        content, variant = encoder.encoded(self._inputs)
        item = torch.add(self.item_factor.weight, content, alpha=1.0 / encoder.share)
        user, item = self._propagate(self.user_factor.weight, item)
        return user[users], item[items], content[items], variant[items]

    def _bias(self, items: Rows) -> Tensor:
        """Return b (N, 1) of ``items``."""
        bias = _rows(self.item_bias, items) + self._log_popularity[items, None]
        return torch.zeros_like(bias) if self.options.popularity == 0 else bias

    def _histories(self, whole: Tensor, slate: Tensor, slates: int) -> Tensor:
        """Return user vectors (B, U) from the features (H, U) of clicks in slates (H,)."""
        total = whole.new_zeros(slates, whole.shape[1]).index_add(0, slate, whole)
        count = torch.bincount(slate, minlength=slates)[:, None].float()
        return self.user_encoder.encode(total, count)

    def _step_items(self, clicked: Tensor, slates: int) -> StepItems:
        """Return the items of a step with clicked items (R,): a large catalogue is sampled.

        The softmax has one sample for the step, UltraGCN's loss negatives of each slate; clicked
        items are drawn too.
        """
        items, drawn = len(self._log_popularity), self.options.candidates
        if items <= drawn:
            return StepItems(_ALL, clicked, None)
        return StepItems.sampled(clicked, items, (drawn,) if self.shared else (slates, drawn))

    def _loss(self, scored: Scored, user: Tensor, encoded: Rows) -> Tensor:
        """Return the base's loss, a sum over the clicks of users (r,)."""
        user_weight = self._weights.user[user]
        item_weight = self._weights.item[encoded]  # (N,)
        if self.shared:
            weight = user_weight * item_weight[scored.item]
            return softmax_loss(scored, weight, len(self._log_popularity))
        negative_weight = self.options.negative_weight
        loss = ultragcn_loss(scored, item_weight, negative_weight, self._base_logit)
        return (user_weight * loss).sum()


def _rows(table: nn.Embedding, rows: Rows) -> Tensor:
    selected: Tensor = table.weight if isinstance(rows, slice) else table(rows)
    return selected


def _first(key: Tensor) -> Tensor:
    """Return for each key (B,) the place of one that equals it, the same place for equal keys."""
    distinct, group = key.unique(return_inverse=True)
    place = torch.zeros_like(distinct).index_copy(
        0, group, torch.arange(len(key), device=key.device)
    )
    return place[group]
