"""Experiments: users in arms, each of which ranks with a model and a tradeoff of its own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from service.contract.front import Frozen, Unit
from service.contract.manifest import Name


class Arm(Frozen):
    """A named share of the users. What it does not set stays as it is without the experiment."""

    name: Name = Field(description="Its name, unique in the experiment.")
    share: Annotated[float, Field(gt=0, le=1)] = Field(description="Its share of the users.")
    model: str | None = Field(
        default=None,
        description="The model of requests that name none: `name`, `name@version` or `name@alias`.",
    )
    tradeoff: Unit | None = Field(
        default=None, description="The tradeoff of requests that name none."
    )
    tradeoffs: tuple[tuple[Unit, Unit], ...] = Field(
        default=(),
        description="(tradeoff, probability) of a randomised tradeoff, drawn for each decision; "
        "the probabilities sum to 1.",
    )
