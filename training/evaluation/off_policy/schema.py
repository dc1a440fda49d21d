"""The content of ``what-if.json``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from service.contract.front import Estimate

ESTIMATORS = {
    "snips": "per-place IPS, self-normalised",
    "ips": "per-place IPS",
    "dr": "doubly robust, by place",
    "whole_ranking": "SNIPS of whole rankings",
    "position_based": "position-based, self-normalised",
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlaceEstimate(_Frozen):
    """What comes of one place under a policy, by its headline estimator.

    effective: the effective sample size of the place.
    """

    place: int = Field(ge=1)
    outcome: Estimate | None
    effective: float


class PolicyEstimate(_Frozen):
    """One policy: its outcome per request by estimator, and what it shows of the long tail.

    headline: the estimator that advice and places rest on. effective: the mean effective sample
    size of the places, in decisions. change: the outcome less that of the policy it is compared
    with, from the same decisions; tail_change: the same of the tail share.
    """

    name: str
    model: str
    tradeoff: float
    headline: str
    outcome: dict[str, Estimate | None]
    effective: float
    change: Estimate | None
    tail_share: Estimate | None = None
    tail_change: Estimate | None = None
    places: tuple[PlaceEstimate, ...]

    @property
    def value(self) -> Estimate | None:
        """The outcome by the headline estimator."""
        return self.outcome[self.headline]


class Pair(_Frozen):
    """Two policies that are next to each other by outcome, the better one first.

    more: further decisions of this log's kind that tell them apart four times of five; None where
    the log says too little to tell how many.
    """

    better: str
    worse: str
    difference: Estimate
    sure: bool
    more: int | None


class Advice(_Frozen):
    """The tradeoff to serve under a constraint, and whether the log suffices to say so.

    more: further decisions of this log's kind with which it would suffice four times of five; None
    where it says too little to tell how many.
    """

    goal: str
    most_cost: float | None
    of: str | None
    tradeoff: float | None
    suffices: bool
    more: int | None
    sentence: str


class Source(_Frozen):
    """Decisions that estimates rest on: how many of those read, and of how many users."""

    kind: str
    decisions: int
    users: int
    places: int
    left_out: dict[str, int]


class WhatIf(_Frozen):
    """What every tradeoff, and every policy that was named, would have come to."""

    model: str
    metric: str
    read: int
    left_out: dict[str, int]
    against: str
    randomised: Source | None
    slots: Source | None
    policies: tuple[PolicyEstimate, ...] = Field(description="From randomised tradeoffs.")
    ranked_again: tuple[PolicyEstimate, ...] = Field(
        default=(), description="Ranked again, from uniform slots."
    )
    order: tuple[Pair, ...] = ()
    advice: Advice | None
    notes: tuple[str, ...] = ()
    command: str = ""
