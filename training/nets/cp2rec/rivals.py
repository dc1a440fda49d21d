"""Rivals of CP2Rec: other losses and scores on the same tower.

A rival has the parameters, content, histories, priors and exposure loss of the decomposed net; only
its model of a click differs. With m the debiased score and s_1 the logged one:

    ips, snips, pos, rel   L_U(m) + gamma L_B(s_1): CP2Rec's two heads, an inverse-propensity loss
    single                 BCE(s_1 + (1 - w) o, y), o a teacher's offset: trained for one w
    pda                    P(click) = sigmoid(log ELU'(m) + g log(1 + n_i)), n_i training clicks
    macr                   P(click) = sigmoid(m sigmoid(a_i) sigmoid(a_u)), a linear in q_i or p_u

pda follows Zhang et al., "Causal Intervention for Leveraging Popularity Bias in Recommendation",
SIGIR 2021, with ELU'(m) = ELU(m) + 1. Ours are a learned exponent g and a click likelihood instead
of a pairwise one. At tradeoff w it ranks with the exponent w g. macr follows Wei et al.,
"Model-Agnostic Counterfactual Reasoning for Eliminating Popularity Bias", KDD 2021. At tradeoff w
it ranks by (m - (1 - w) c) sigmoid(a_i) sigmoid(a_u).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, cast

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.base import NetOptions, Slates, TrainingTables
from training.nets.cp2rec.debiased_loss import debiased_loss
from training.nets.cp2rec.decomposed import Cp2recDecomposed, Cp2recOptions
from training.nets.cp2rec.decomposed_modules import DecomposedRanker

MACR_C = 2.0  # macr's c; logged data alone cannot tune it
_MACR_HEADS = 1e-3  # weight of the losses of the item and the user head, of the published size

Objective = Literal["ips", "snips", "pos", "rel", "single", "pda", "macr"]


@dataclass(frozen=True, kw_only=True)
class RivalOptions(NetOptions):
    """The rival's objective and its tower; ``tradeoff`` is the w that ``single`` trains for."""

    architecture: Literal["rival"] = "rival"
    objective: Objective
    tower: Cp2recOptions
    tradeoff: Annotated[float, Ge(0), Le(1)] = 1.0
    biased_weight: Annotated[float, Ge(0)] = 1.0

    def alternatives(self) -> tuple[RivalOptions, ...]:
        """Return the options with each alternative of the tower."""
        return tuple(replace(self, tower=tower) for tower in self.tower.alternatives())

    @property
    def exposure(self) -> Literal["propensity", "offset"]:
        """Offsets for ``single``, propensities for the others."""
        return "offset" if self.objective == "single" else "propensity"

    @property
    def teacher(self) -> NetOptions:
        """The options of the tower, which also trains the teacher."""
        return self.tower


class MacrRanker(DecomposedRanker):
    """(m - (1 - w) c) sigmoid(a_i) sigmoid(a_u). Only ``pairwise`` computes it: never exported."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.item, self.user = nn.Linear(dim, 1), nn.Linear(dim, 1)

    def heads(self, user: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return a_i and a_u (R,)."""
        q, p = state[:, : self.dim], user[:, : self.dim]
        return self.item(q).squeeze(1), self.user(p).squeeze(1)

    def pairwise(self, user: Tensor, state: Tensor, tradeoff: Tensor) -> Tensor:
        """Return logits (R,)."""
        match = super().pairwise(user, state, user.new_zeros(1))
        item_head, user_head = self.heads(user, state)
        gate = torch.sigmoid(item_head) * torch.sigmoid(user_head)
        return (match - (1.0 - tradeoff) * MACR_C) * gate


class Cp2recRival(Cp2recDecomposed):
    """A rival's net and loss; ``single`` uses ``batch.offset``, L_U ``batch.propensity``."""

    scalable = False
    log_clicks: Tensor

    def __init__(self, tables: TrainingTables, options: RivalOptions) -> None:
        super().__init__(tables, options.tower)
        self.rival = options
        if options.objective == "macr":
            self.ranker = MacrRanker(options.tower.dim)
        clicks = torch.bincount(tables.item, tables.label, minlength=len(tables.embedding))
        self.register_buffer("log_clicks", torch.log1p(clicks.float()))
        self.exponent = nn.Parameter(torch.zeros(()))

    def likelihood(self, user: Tensor, state: Tensor, batch: Slates) -> Tensor:
        """Return the rival's loss of users (R, U) with states (R, S)."""
        zero, one = user.new_zeros(1), user.new_ones(1)
        logged = self.ranker.pairwise(user, state, one)  # (R,)
        objective = self.rival.objective
        if objective == "single":
            return self._examined(logged + (1.0 - self.rival.tradeoff) * batch.offset, batch)
        if objective == "macr":
            item_head, user_head = cast(MacrRanker, self.ranker).heads(user, state)
            heads = self._examined(item_head, batch) + self._examined(user_head, batch)
            return self._examined(logged, batch) + _MACR_HEADS * heads
        debiased = self.ranker.pairwise(user, state, zero)
        if objective == "pda":
            return self._examined(self.with_popularity(debiased, batch.item, 1.0), batch)
        biased = self.rival.biased_weight * self._examined(logged, batch)
        return debiased_loss(debiased, batch, objective) + biased

    def with_popularity(self, debiased: Tensor, item: Tensor, w: float) -> Tensor:
        """Return log ELU'(m) + w g log(1 + n_i) of scores m (R,) and item rows (R,)."""
        return torch.log(F.elu(debiased) + 1.0) + w * self.exponent * self.log_clicks[item]

    def _examined(self, logit: Tensor, batch: Slates) -> Tensor:
        loss: Tensor = self.examination(logit, batch)
        return loss
