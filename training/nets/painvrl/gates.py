"""The invariant mask: PaInvRL's second module, a gate in [0, 1] for each content feature.

A gate m is clamp(mu + .5 + noise, 0, 1), stochastic as in InvRL (Yamada et al., ICML 2020). Two
losses train mu: the mean of the environments' losses L_e, and a penalty on differences between
environments. Their weights are those of the least-norm mix of both gradients, scaled
(``training.nets.pareto``).

    variance   sum ((Var_e grad_W L_e) m)^2                  as in InvRL's code
    irm        sum_e (d L_e(a s) / d a at a = 1)^2           IRMv1 (Arjovsky et al., 2019), s scores

Environments with the same clicks have no variance, whatever the gates.
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
_BATCH = 512  # clicks of each environment
_NEGATIVES = 256
_LR = 0.01
_NOISE = 0.25  # standard deviation of a gate's noise in training
_WARM_UP = 20  # steps that train the net but not the gates


@dataclass(frozen=True)
class MaskOptions:
    """The training of gates; ``regulariser`` weighs InvRL's cost of open gates."""

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

    content (I, D) of all items; label (R,) in [0, E): the environment of each click. The gates
    train together with a new net P_u.(W (m x_i)).
    """
    net = MaskedNet(content, clicks, generator)
    mu = mu.clone().requires_grad_()
    optimizer = torch.optim.Adam([mu], lr=_LR)
    erm_scale, penalty_scale = GradientScale(), GradientScale()
    environment_rows = [
        (label == e).nonzero().flatten() for e in range(environments) if (label == e).any()
    ]
    for step in range(_WARM_UP + options.steps):
        gates = open_gates(mu + _NOISE * torch.randn(len(mu), generator=generator))
        losses = net.losses(gates, environment_rows)  # (E,)
        if step >= _WARM_UP:
            cost = losses.mean() + options.regulariser * gate_cost(mu)
            penalty = net.penalty(losses, gates, options.penalty)
            g_erm = erm_scale(torch.autograd.grad(cost, mu, retain_graph=True)[0])
            g_penalty = penalty_scale(torch.autograd.grad(penalty, mu, retain_graph=True)[0])
            weight = min_norm_weight(g_erm, g_penalty)
            mu.grad = weight * g_erm + (1.0 - weight) * g_penalty
            optimizer.step()
            yield mu.detach().clone(), float(weight)
        net.learn(losses.mean())


class MaskedNet:
    """P_u.(W (m x_i)): the net that the gates train with."""

    def __init__(self, content: Tensor, clicks: Clicks, generator: torch.Generator) -> None:
        self._content, self._clicks, self._generator = content, clicks, generator
        users = int(clicks.user.max()) + 1
        self._user_factor = 0.1 * torch.randn(users, _DIM, generator=generator)
        self._weight = torch.randn(content.shape[1], _DIM, generator=generator)
        self._weight *= content.shape[1] ** -0.5
        self._scale = torch.ones((), requires_grad=True)  # of the scores; for IRMv1's derivative
        parameters = [self._user_factor.requires_grad_(), self._weight.requires_grad_()]
        self._optimizer = torch.optim.Adam(parameters, lr=_LR)

    def losses(self, gates: Tensor, environment_rows: list[Tensor]) -> Tensor:
        """Return each environment's loss (E,) on a batch of its rows; one tensor of rows each."""
        generator = self._generator
        negative = torch.randint(len(self._content), (_NEGATIVES,), generator=generator)
        others = self._encoded(negative, gates)
        losses = []
        for rows in environment_rows:
            batch = rows[torch.randint(len(rows), (_BATCH,), generator=generator)]
            clicked = self._encoded(self._clicks.item[batch], gates)
            user = self._user_factor[self._clicks.user[batch]]
            losses.append(click_loss(user, clicked, others))
        return torch.stack(losses)

    def _encoded(self, item: Tensor, gates: Tensor) -> Tensor:
        encoded: Tensor = self._scale * (self._content[item] * gates) @ self._weight  # (B, d)
        return encoded

    def penalty(self, losses: Tensor, gates: Tensor, kind: PenaltyKind) -> Tensor:
        """Return the penalty, a scalar, of losses (E,) under gates (D,)."""
        variable = self._weight if kind == "variance" else self._scale
        gradients = torch.stack(
            [torch.autograd.grad(loss, variable, create_graph=True)[0] for loss in losses]
        )
        return (
            variance_penalty(gradients, gates) if kind == "variance" else gradients.square().sum()
        )

    def learn(self, loss: Tensor) -> None:
        """Take one step of the net; the gates stay as they are."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=[self._user_factor, self._weight])
        self._optimizer.step()


def variance_penalty(gradients: Tensor, gates: Tensor) -> Tensor:
    """Return sum ((Var_e g_e) m)^2 of gradients (E, D, d) and gates (D,), a scalar."""
    return (gradients.var(0, unbiased=False) * gates[:, None]).square().sum()


def open_gates(mu: Tensor) -> Tensor:
    """Return gates (D,) in [0, 1] of ``mu`` (D,)."""
    return (mu + 0.5).clamp(0.0, 1.0)


def gate_cost(mu: Tensor) -> Tensor:
    """Return the mean probability that a gate is above 0, InvRL's regulariser."""
    probability: Tensor = torch.special.ndtr((mu + 0.5) / _NOISE)
    return probability.mean()


def final_gates(mu: Tensor, kind: GateKind) -> Tensor:
    """Return the final gates (D,), which split content into its invariant and variant part.

    soft: the gates as trained. half: 1 for the greater half, 0 for the others; all soft gates
    drift towards .5, where the two parts are alike.
    """
    if kind == "soft":
        return open_gates(mu)
    gates = torch.zeros_like(mu)
    gates[mu.argsort(descending=True, stable=True)[: (len(mu) + 1) // 2]] = 1.0
    return gates
