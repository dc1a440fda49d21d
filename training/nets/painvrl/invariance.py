"""PaInvRL's outer loop: rounds of inferring environments, then learning their mask."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from training.nets.base import ProgressStore
from training.nets.painvrl.environments import (
    Clicks,
    EnvironmentKind,
    fixed_environments,
    reassign,
    settled,
)
from training.nets.painvrl.gates import MaskOptions, learn_gates, open_gates

_PASSES = 5  # reassignments per round, at most


@dataclass
class Invariance:
    """The state of the loop after ``rounds`` rounds.

    mu (D,), see ``gates``; label (R,) the environment of each click; ``moved``: the share of
    clicks that each reassignment moved; ``weights``: lambda* of each step of the mask.
    """

    mu: Tensor
    label: Tensor
    rounds: int = 0
    moved: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)


def find_invariance(
    content: Tensor,
    clicks: Clicks,
    kind: EnvironmentKind,
    environments: int,
    rounds: int,
    options: MaskOptions,
    seed: int,
    progress: ProgressStore,
) -> Invariance:
    """Run the loop on content (I, D); each round saves its state to ``progress``.

    A state in ``progress`` is resumed. Each round has its own random generator, so that a resumed
    run ends at the same mask.
    """
    saved = progress.load()
    invariance = Invariance(**saved) if saved else _start(content, clicks, kind, environments, seed)
    with tqdm(total=rounds * options.steps, desc="mask", unit=" steps", mininterval=0.5) as bar:
        bar.update(invariance.rounds * options.steps)
        while invariance.rounds < rounds:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + invariance.rounds + 1)
            if kind == "inferred":
                _identify(invariance, content, clicks, environments, generator, bar)
            steps = learn_gates(
                content, clicks, invariance.label, environments, invariance.mu, options, generator
            )
            for mu, weight in steps:
                invariance.mu = mu
                invariance.weights.append(weight)
                bar.update()
            bar.set_postfix(weight=f"{weight:.2f}")
            invariance.rounds += 1
            progress.save(vars(invariance))
    return invariance


def _identify(
    invariance: Invariance,
    content: Tensor,
    clicks: Clicks,
    environments: int,
    generator: torch.Generator,
    bar: Any,
) -> None:
    for _ in range(_PASSES):
        invariance.label, moved = reassign(
            content, open_gates(invariance.mu), clicks, invariance.label, environments, generator
        )
        invariance.moved.append(moved)
        bar.set_postfix(moved=f"{moved:.3f}")
        if settled(moved):
            return


def _start(
    content: Tensor, clicks: Clicks, kind: EnvironmentKind, environments: int, seed: int
) -> Invariance:
    generator = torch.Generator().manual_seed(seed * 1_000_003)
    rule = "random" if kind == "inferred" else kind
    label = fixed_environments(rule, clicks, environments, generator)
    return Invariance(mu=torch.zeros(content.shape[1]), label=label)
