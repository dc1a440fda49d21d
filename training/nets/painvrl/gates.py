"""The invariant mask: PaInvRL's second module, a gate in [0, 1] for each content feature.

A gate is clamp(mu + .5 + noise, 0, 1), stochastic as in InvRL (Yamada et al., ICML 2020). Two
losses shape mu, weighed by the least norm of their normalised gradients (``training.nets.pareto``):
the mean of the environments' losses L_e, and what shows that an environment matters:

    variance   sum ((Var_e grad_W L_e) m)^2                  as in InvRL's code
    irm        sum_e (d L_e(s w) / d w at w = 1)^2           IRMv1 (Arjovsky et al., 2019)

Environments that share their clicks give no variance, whatever the gates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from training.nets.painvrl.environments import Clicks, click_loss
from training.nets.pareto import GradientScale, min_norm_weight

PenaltyKind = Literal["variance", "irm"]
GateKind = Literal["half", "soft"]

_DIM = 32
_BATCH = 512  # of each environment
_NEGATIVES = 256
_LR = 0.01
_NOISE = 0.25  # standard deviation of a gate in training
_WARM_UP = 20  # steps that train the net alone


@dataclass(frozen=True)
class MaskOptions:
    """How gates are learned; ``regulariser`` weighs InvRL's cost of an open gate."""

    steps: int
    penalty: PenaltyKind
    regulariser: float


def learn_gates(
    content: Tensor,
    clicks: Clicks,
    label: Tensor,
    environments: int,
    mu: Tensor,
    options: MaskOptions,
    generator: torch.Generator,
) -> Iterator[tuple[Tensor, float]]:
    """Yield mu (D,) and lambda*, the weight of the environments' mean loss, after each step.

    content (I, D) of all items, label (R,) in [0, E) of the clicks. The net that the gates are
    learned with is P_u.(W (m x_i)), a fresh one.
    """
    net = MaskedNet(content, clicks, generator)
    mu = mu.clone().requires_grad_()
    optimizer = torch.optim.Adam([mu], lr=_LR)
    erm_scale, penalty_scale = GradientScale(), GradientScale()
    of_label = [(label == e).nonzero().flatten() for e in range(environments) if (label == e).any()]
    for step in range(_WARM_UP + options.steps):
        gates = open_gates(mu + _NOISE * torch.randn(len(mu), generator=generator))
        losses = net.losses(gates, of_label)  # (E,)
        if step >= _WARM_UP:
            cost = losses.mean() + options.regulariser * gate_cost(mu)
            penalty = net.penalty(losses, gates, options.penalty)
            g_erm = erm_scale(torch.autograd.grad(cost, mu, retain_graph=True)[0])
            g_penalty = penalty_scale(torch.autograd.grad(penalty, mu, retain_graph=True)[0])
            share = min_norm_weight(g_erm, g_penalty)
            mu.grad = share * g_erm + (1.0 - share) * g_penalty
            optimizer.step()
            yield mu.detach().clone(), float(share)
        net.learn(losses.mean())


class MaskedNet:
    """P_u.(W (m x_i)), fresh: what the gates are learned with."""

    def __init__(self, content: Tensor, clicks: Clicks, generator: torch.Generator) -> None:
        self._content, self._clicks, self._generator = content, clicks, generator
        users = int(clicks.user.max()) + 1
        self._person = 0.1 * torch.randn(users, _DIM, generator=generator)
        self._weight = torch.randn(content.shape[1], _DIM, generator=generator)
        self._weight *= content.shape[1] ** -0.5
        self._scale = torch.ones((), requires_grad=True)  # what IRMv1 differentiates by
        parameters = [self._person.requires_grad_(), self._weight.requires_grad_()]
        self._optimizer = torch.optim.Adam(parameters, lr=_LR)

    def losses(self, gates: Tensor, of_label: list[Tensor]) -> Tensor:
        """Return the loss (E,) of each environment on a batch of its clicks ``of_label``."""
        draw = self._generator
        negative = torch.randint(len(self._content), (_NEGATIVES,), generator=draw)
        others = self._encoded(negative, gates)
        losses = []
        for rows in of_label:
            batch = rows[torch.randint(len(rows), (_BATCH,), generator=draw)]
            liked = self._encoded(self._clicks.item[batch], gates)
            losses.append(click_loss(self._person[self._clicks.user[batch]], liked, others))
        return torch.stack(losses)

    def _encoded(self, item: Tensor, gates: Tensor) -> Tensor:
        encoded: Tensor = self._scale * (self._content[item] * gates) @ self._weight  # (B, d)
        return encoded

    def penalty(self, losses: Tensor, gates: Tensor, kind: PenaltyKind) -> Tensor:
        """Return the penalty, a scalar, of losses (E,) under gates (D,)."""
        of = self._weight if kind == "variance" else self._scale
        gradients = torch.stack(
            [torch.autograd.grad(loss, of, create_graph=True)[0] for loss in losses]
        )
        return (
            variance_penalty(gradients, gates) if kind == "variance" else gradients.square().sum()
        )

    def learn(self, loss: Tensor) -> None:
        """Take a step of the net alone."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=[self._person, self._weight])
        self._optimizer.step()


def variance_penalty(gradients: Tensor, gates: Tensor) -> Tensor:
    """Return sum ((Var_e g_e) m)^2 of gradients (E, D, d) and gates (D,), a scalar."""
    return (gradients.var(0, unbiased=False) * gates[:, None]).square().sum()


def open_gates(mu: Tensor) -> Tensor:
    """Return gates (D,) in [0, 1] of ``mu`` (D,)."""
    return (mu + 0.5).clamp(0.0, 1.0)


def gate_cost(mu: Tensor) -> Tensor:
    """Return the mean chance that a gate is open at all, InvRL's regulariser."""
    chance: Tensor = torch.special.ndtr((mu + 0.5) / _NOISE)
    return chance.mean()


def served_gates(mu: Tensor, kind: GateKind) -> Tensor:
    """Return the gates (D,) that split the content for good.

    soft: as they are. half: the upper half of them open, the others shut; gates that trained
    freely all drift to .5, where a mask tells nothing apart.
    """
    if kind == "soft":
        return open_gates(mu)
    gates = torch.zeros_like(mu)
    gates[mu.argsort(descending=True, stable=True)[: (len(mu) + 1) // 2]] = 1.0
    return gates
