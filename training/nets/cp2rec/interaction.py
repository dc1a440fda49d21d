"""CP2Rec with learned interactions, by NCF or DCN: as published, or as a front.

From Liu et al., ACM MM 2023:

- confounding proxies c and common features z, both projected to d and normalised (the paper leaves
  their widths open);
- purifiers COS, PROJ and SOLVE, which make z' of z and c;
- refined proxies c' = sigma(W c + b);
- one shared model f with two heads, y_B = f([c, z']) and y_U = f([c', z']);
- the loss gamma L_B + L_U + beta L_O, L_U an inverse-propensity loss.

Ours are the modes:

- ``paper`` trains this loss. It ranks by the mix (1 - w) s_U + w s_B; the paper, by y_U alone.
- ``front`` takes w as an input: c_w = (1 - w) c' + w c, and hidden layers modulated by w (FiLM,
  Perez et al., AAAI 2018; its weights start at zero). It trains by a counterfactual offset:
  BCE(s_w + (1 - w) o, y), o the part of a teacher's logit that exposure explains.
- ``backdoor`` trains y_B alone, without a teacher. It ranks by (1 - w) mean_k f([c_k, z'])
  + w f([c, z']) with the proxies c_k of ``donors`` training rows: a mix with Pearl's backdoor
  adjustment.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.nets.base import FrontNet, Slates, TrainingTables, UserMoves
from training.nets.cp2rec.debiased_loss import debiased_loss
from training.nets.cp2rec.histories import Histories
from training.nets.cp2rec.interaction_layers import (
    InteractionOptions,
    InteractionRanker,
    ItemEncoder,
    UserEncoder,
)
from training.nets.cp2rec.user_update import HistoryEncoder, UserUpdate
from training.nets.id_table import IdTable
from training.nets.layers import Examination, content_inputs


class Cp2recInteraction(FrontNet):
    """The net and its losses. L_U uses ``batch.propensity``, mode ``front`` ``batch.offset``."""

    _user_attributes: Tensor
    _inputs: Tensor

    def __init__(self, tables: TrainingTables, options: InteractionOptions) -> None:
        super().__init__()
        self.options = options
        self.debiased_reads_proxies = options.refined or options.purifier == "proj"
        d = options.dim
        items, users = len(tables.embedding), len(tables.user_attributes)
        self.item_encoder: ItemEncoder = ItemEncoder(tables, options)
        self.user_encoder = UserEncoder(d)
        prior = torch.logit(tables.label.mean().clamp(0.01, 0.99))
        rows = torch.linspace(0, len(tables.label) - 1, options.donors).long()
        self.ranker: InteractionRanker = InteractionRanker(
            options, prior, self.item_encoder.embed_proxies, tables.proxies[rows]
        )
        self.items = IdTable(items, factor=d)
        self.users = IdTable(users, factor=d)
        for table in (self.items, self.users):
            nn.init.normal_(table.weight, std=0.1)
        self.attributes = nn.Parameter(torch.zeros(tables.user_attributes.shape[1], d))
        self.exposed = nn.Linear(tables.embedding.shape[1], d, bias=False)
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
        """Return the mode's loss + purification + weight decay of the id embeddings, a scalar."""
        options, encoder = self.options, self.item_encoder
        inputs = self._inputs.index_select(0, batch.item)  # (R, D + M)
        warm = (torch.rand(len(batch.item), 1, device=self.device) >= options.id_dropout).float()
        learned, factor = self.items(batch.item), self.users(batch.user)
        z, c = encoder.features(inputs, learned * warm, batch.proxies)
        left_out = self._histories.of_slates(self._inputs, batch)
        user = self._user_vectors(batch.user, factor, left_out).index_select(0, batch.slate)
        mode_loss = self._front_loss if options.mode == "front" else self._paper_loss
        loss: Tensor = mode_loss(user, z, c, batch)
        if options.orthogonality_weight > 0:
            loss = loss + options.orthogonality_weight * encoder.purify.loss(z, c)
        if options.l2 > 0:
            loss = loss + options.l2 * (learned.square().sum() + factor.square().sum())
        return loss

    def without_exposure(self, state: Tensor) -> Tensor:
        """Return states (N, S) with c of 0; the refined proxies c' belong to w = 0."""
        z, c, refined, history = state.split(self.options.dim, dim=1)
        return torch.cat([z, torch.zeros_like(c), refined, history], 1)

    def common_features(self, state: Tensor) -> Tensor:
        """Return z' (N, d) of states (N, S)."""
        return state[:, : self.options.dim]

    def log_examination(self) -> Tensor:
        """Return log theta_k (K,)."""
        return self.examination.log_theta()

    def learned_items(self, items: Tensor | None = None) -> Tensor:
        """Return the id embeddings (N, d) of ``items`` (N,), or of all."""
        return self.items.rows(items)

    def user_vectors(self, users: Tensor | None = None) -> Tensor:
        """Return the vectors (B, d) of ``users`` (B,), or of all."""
        if users is None:
            users = torch.arange(len(self._user_attributes), device=self.device)
        return self._user_vectors(users, self.users(users))

    def user_moves(self) -> UserMoves:
        """Return the update of user vectors by the content of clicked items."""
        d = self.options.dim
        return UserMoves(self._history_encoder(), UserUpdate(d, d))

    def user_records(self, users: Tensor | None = None) -> Tensor:
        """Return vectors and the parts of their histories (B, 3d + 2) of ``users`` (B,)."""
        parts = self._history_encoder().history_parts(self._histories, users)
        return torch.cat([self.user_vectors(users), parts], 1)

    def _history_encoder(self) -> HistoryEncoder:
        encoder = self.item_encoder
        return HistoryEncoder(encoder.content, encoder.clicked, self.exposed)

    def _user_vectors(self, user: Tensor, factor: Tensor, left_out: Tensor | None = None) -> Tensor:
        clicked, exposed = self._histories.means(user, left_out)
        vectors: Tensor = (
            factor
            + self._user_attributes[user] @ self.attributes
            + self.item_encoder.clicked(clicked)
            + self.exposed(exposed)
        )
        return vectors

    def _front_loss(self, user: Tensor, z: Tensor, c: Tensor, batch: Slates) -> Tensor:
        """Return BCE(s_w + (1 - w) o, y); each row draws w: 0 and 1 with probability 1/4 each."""
        w = (2.0 * torch.rand(len(z), device=self.device) - 0.5).clamp(0.0, 1.0)
        logit = self.ranker.pairwise(user, self._state(z, c), w)
        return self._likelihood(logit + (1.0 - w) * batch.offset, batch)

    def _paper_loss(self, user: Tensor, z: Tensor, c: Tensor, batch: Slates) -> Tensor:
        """Return L_U + gamma L_B, or L_B alone if ``debias`` is none or the mode is backdoor."""
        if self.options.debias == "none" or self.options.mode == "backdoor":
            purified = self.item_encoder.purify(z, c)
            return self._likelihood(self.ranker.biased(user, purified, c), batch)
        debiased, biased = self.ranker.heads(user, self._state(z, c))
        loss = debiased_loss(debiased, batch, self.options.debias)
        if self.options.biased_weight > 0:
            loss = loss + self.options.biased_weight * self._likelihood(biased, batch)
        return loss

    def _state(self, z: Tensor, c: Tensor) -> Tensor:
        """Return states (R, 4d) without the content of histories, which no score reads."""
        return torch.cat([self.item_encoder.encode(z, c), torch.zeros_like(z)], 1)

    def _likelihood(self, logit: Tensor, batch: Slates) -> Tensor:
        loss: Tensor = self.examination(logit, batch)
        return loss
