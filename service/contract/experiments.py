"""Experiments: users in arms, each of which ranks with a model and a tradeoff of its own.

``models/experiments.json`` holds the experiments of a repository, of which one may run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, TypeAdapter, model_validator

from service.contract.artifact import ArtifactError
from service.contract.assignment import unit_hash
from service.contract.files import locked, write_atomically
from service.contract.front import Frozen, Unit
from service.contract.manifest import Name
from service.contract.rollout import read_document

EXPERIMENTS = "experiments.json"
MAX_ARMS = 20
_MOST_TRADEOFFS = 50
_MOST_KEPT = 100

Reference = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}(@[a-z0-9][a-z0-9_-]{0,63})?$")]


class Arm(Frozen):
    """A named share of the users. What it does not set stays as it is without the experiment."""

    name: Name = Field(description="Its name, unique in the experiment.")
    share: Annotated[float, Field(gt=0, le=1)] = Field(description="Its share of the users.")
    model: Reference | None = Field(
        default=None,
        description="The model of requests that name none: `name`, `name@version` or `name@alias`.",
    )
    tradeoff: Unit | None = Field(
        default=None, description="The tradeoff of requests that name none."
    )
    tradeoffs: tuple[tuple[Unit, Unit], ...] = Field(
        default=(),
        max_length=_MOST_TRADEOFFS,
        description="(tradeoff, probability) of a randomised tradeoff, drawn for each decision; "
        "the probabilities sum to 1.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.tradeoffs:
            return self
        if self.tradeoff is not None:
            raise ValueError("sets both tradeoff and tradeoffs; leave one out")
        tradeoffs, probabilities = zip(*self.tradeoffs, strict=True)
        if len(set(tradeoffs)) < len(tradeoffs):
            raise ValueError("tradeoffs has a tradeoff twice; join their probabilities")
        if not all(probabilities) or not math.isclose(sum(probabilities), 1):
            raise ValueError("the probabilities of tradeoffs should be above 0, and their sum 1")
        return self


class Plan(Frozen):
    """What an experiment compares, as its owner writes it.

    The first arm is the control. Users beyond the sum of the shares are in no arm.
    """

    name: Name = Field(description="Its name, unique in the repository.")
    salt: str = Field(
        default="",
        max_length=128,
        description="Chooses who is in which arm; empty: the name. Experiments of one salt share "
        "their users.",
    )
    planned_users: int = Field(
        default=10_000,
        ge=100,
        le=10**9,
        description="The users of two arms at which the intervals of their difference are the "
        "narrowest. Other numbers are as valid.",
    )
    arms: tuple[Arm, ...] = Field(
        min_length=1, max_length=MAX_ARMS, description="The arms, the control first."
    )

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        names = [arm.name for arm in self.arms]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two arms have the name {name!r}; rename one")
        if (total := math.fsum(arm.share for arm in self.arms)) > 1 + 1e-9:
            raise ValueError(f"the shares sum to {total:g}; they should sum to at most 1")
        return self

    def arm(self, user_id: str) -> Arm | None:
        """Return the arm of a user, None for one in no arm: the same in service and analysis.

        Each arm has a slice of [0, 1) in proportion to its share, and takes of it what the share
        says, from its beginning on: if all shares grow by the same factor, all users stay.
        """
        place = unit_hash(self.salt or self.name, user_id)
        for begin, end, arm in self._slices:
            if begin <= place < end:
                return arm
        return None

    @cached_property
    def _slices(self) -> tuple[tuple[float, float, Arm], ...]:
        total = math.fsum(arm.share for arm in self.arms)
        slices, begin = [], 0.0
        for arm in self.arms:
            slices.append((begin, begin + arm.share, arm))
            begin += arm.share / total
        return tuple(slices)

    def grown_from(self, other: Plan) -> bool:
        """Return whether this is ``other`` with all shares changed by the same factor."""
        if len(self.arms) != len(other.arms):
            return False
        factor = self.arms[0].share / other.arms[0].share
        return self.model_copy(update={"arms": ()}) == other.model_copy(
            update={"arms": ()}
        ) and all(
            math.isclose(arm.share, before.share * factor)
            and arm.model_copy(update={"share": before.share}) == before
            for arm, before in zip(self.arms, other.arms, strict=True)
        )


class Experiment(Plan):
    """An experiment with the time in which it runs, or ran."""

    started: AwareDatetime = Field(description="When it started.")
    stopped: AwareDatetime | None = Field(
        default=None, description="When it stopped; null while it runs."
    )

    @property
    def plan(self) -> Plan:
        """What its owner wrote."""
        return Plan(**{name: getattr(self, name) for name in Plan.model_fields})


class Experiments(Frozen):
    """The experiments of a repository, oldest first; at most the last one runs."""

    experiments: tuple[Experiment, ...] = ()

    @model_validator(mode="after")
    def _one_runs(self) -> Self:
        names = [experiment.name for experiment in self.experiments]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two experiments have the name {name!r}; rename one")
        if any(experiment.stopped is None for experiment in self.experiments[:-1]):
            raise ValueError("only the last experiment may run; set `stopped` of the others")
        return self

    @property
    def running(self) -> Experiment | None:
        """The experiment that runs."""
        last = self.experiments[-1] if self.experiments else None
        return last if last is not None and last.stopped is None else None


_EXPERIMENTS = TypeAdapter(Experiments)


def read_experiments(root: Path, *, required: bool = False) -> Experiments:
    """Return ``experiments.json`` of a repository, by default without any if it is missing.

    Raises ArtifactError if the file is invalid, cannot be read, or is required and missing.
    """
    return read_document(root / EXPERIMENTS, _EXPERIMENTS, Experiments(), required)


def start_experiment(root: Path, plan: Plan) -> bool:
    """Let an experiment run from now on; return False where it runs and its shares change.

    Raises ArtifactError if another one runs, or if its name is used for anything else.
    """
    running: Experiment | None = None

    def change(all_of_them: Experiments) -> tuple[Experiment, ...]:
        nonlocal running
        former, running = all_of_them.experiments, all_of_them.running
        if running is not None and running.name == plan.name:
            if not plan.grown_from(running.plan):
                reason = f"{plan.name} runs with other arms, or with shares in another proportion"
                raise ArtifactError(root / EXPERIMENTS, f"{reason}; stop it and choose a new name")
            return (*former[:-1], Experiment(**dict(plan), started=running.started))
        if running is not None:
            reason = f"{running.name} runs; stop it with `experiment stop`"
            raise ArtifactError(root / EXPERIMENTS, reason)
        if plan.name in {experiment.name for experiment in former}:
            reason = f"an experiment {plan.name} has run; choose a new name"
            raise ArtifactError(root / EXPERIMENTS, reason)
        return (*former, Experiment(**dict(plan), started=datetime.now(UTC)))

    _change(root, change)
    return running is None


def stop_experiment(root: Path) -> Experiment:
    """End the experiment that runs and return it; raises ArtifactError if none runs."""

    def change(all_of_them: Experiments) -> tuple[Experiment, ...]:
        if (running := all_of_them.running) is None:
            raise ArtifactError(root / EXPERIMENTS, "no experiment runs")
        ended = running.model_copy(update={"stopped": datetime.now(UTC)})
        return (*all_of_them.experiments[:-1], ended)

    return _change(root, change)[-1]


def _change(
    root: Path, change: Callable[[Experiments], tuple[Experiment, ...]]
) -> tuple[Experiment, ...]:
    if not root.is_dir():
        raise ArtifactError(root, "is no model repository; publish a model first")
    with locked(root / EXPERIMENTS):
        changed = Experiments(experiments=change(read_experiments(root))[-_MOST_KEPT:])
        write_atomically(root / EXPERIMENTS, changed.model_dump_json(indent=2).encode())
    return changed.experiments
