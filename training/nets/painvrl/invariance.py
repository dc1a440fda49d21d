"""PaInvRL's outer loop: environments, then the mask they ask for, in turns."""

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
    given_environments,
    reassign,
    settled,
)
from training.nets.painvrl.gates import MaskOptions, learn_gates, open_gates

_PASSES = 5  # of reassignment a round, at most


@dataclass
class Invariance:
    """What the loop found so far, after ``rounds`` of it.

    mu (D,), see ``gates``; label (R,) the environment of each click; ``moved``: the
    share of clicks that each reassignment moved; ``weights``: lambda* of each step of the mask.
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
    """Run the loop on content (I, D), going on from ``progress``, which each round updates.

    Each round draws from a generator of its own, so that a resumed run ends at the same mask.
    """
    saved = progress.load()
    found = Invariance(**saved) if saved else _start(content, clicks, kind, environments, seed)
    with tqdm(total=rounds * options.steps, desc="mask", unit=" steps", mininterval=0.5) as bar:
        bar.update(found.rounds * options.steps)
        while found.rounds < rounds:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + found.rounds + 1)
            if kind == "inferred":
                _identify(found, content, clicks, environments, generator, bar)
            steps = learn_gates(
                content, clicks, found.label, environments, found.mu, options, generator
            )
            for mu, weight in steps:
                found.mu = mu
                found.weights.append(weight)
                bar.update()
            bar.set_postfix(weight=f"{weight:.2f}")
            found.rounds += 1
            progress.save(vars(found))
    return found


def _identify(
    found: Invariance,
    content: Tensor,
    clicks: Clicks,
    environments: int,
    generator: torch.Generator,
    bar: Any,
) -> None:
    for _ in range(_PASSES):
        found.label, moved = reassign(
            content, open_gates(found.mu), clicks, found.label, environments, generator
        )
        found.moved.append(moved)
        bar.set_postfix(moved=f"{moved:.3f}")
        if settled(moved):
            return


def _start(
    content: Tensor, clicks: Clicks, kind: EnvironmentKind, environments: int, seed: int
) -> Invariance:
    generator = torch.Generator().manual_seed(seed * 1_000_003)
    given = "random" if kind == "inferred" else kind
    label = given_environments(given, clicks, environments, generator)
    return Invariance(mu=torch.zeros(content.shape[1]), label=label)
