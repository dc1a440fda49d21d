"""What comes back from a feed: the decision log, exploration and events."""

from __future__ import annotations

import math

from pydantic import BaseModel, Field, field_validator

from service.contract.feedback import MAX_SHARDS, MAX_TRADEOFFS
from service.settings.network import entries

Grid = tuple[tuple[float, float], ...]  # (tradeoff, probability)


class Feedback(BaseModel):
    """What comes back from a feed: the decision log, exploration and events."""

    decisions: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the rankings that are logged as decisions, chosen by request id. "
        "Only these are explored.",
    )
    decision_places: int = Field(
        default=20, ge=1, le=1000, description="Most places of a ranking that a decision holds."
    )
    decision_listed: int = Field(
        default=500,
        ge=0,
        le=10_000,
        description="Most ids that a decision with a uniform slot holds of its pool: candidates, "
        "or what the catalogue leaves out. With more it holds none, and cannot answer for policies "
        "that have to rank the pool again.",
    )
    decision_queue: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Most decisions that may wait for the store, some 4 KiB each; further ones are "
        "dropped.",
    )
    decision_batch: int = Field(
        default=100, ge=1, le=10_000, description="Most decisions that one command writes."
    )
    decision_flush_s: float = Field(
        default=0.1, ge=0.001, le=60, description="Seconds between two writes of decisions."
    )
    event_queue: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="Most requests with events that may wait for the store at once; further ones "
        "are answered with 503.",
    )
    event_age_s: float = Field(
        default=7 * 86_400.0,
        ge=60,
        le=366 * 86_400.0,
        description="Oldest event that is accepted, in seconds.",
    )
    feedback_shards: int = Field(
        default=1,
        ge=1,
        le=MAX_SHARDS,
        description="Streams of decisions, and of events. All replicas and collectors need the "
        "same number.",
    )
    feedback_entries: int = Field(
        default=100_000,
        ge=100,
        le=1 << 40,
        description="Most entries of each stream, about: older ones go, collected or not.",
    )
    explore_slot_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the decisions that get a uniform slot.",
    )
    explore_places: int = Field(
        default=10, ge=1, le=1000, description="First places of which one may be the uniform slot."
    )
    explore_tradeoff_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the decisions at a randomised tradeoff, of those whose request names "
        "no tradeoff.",
    )
    explore_tradeoffs: str = Field(
        default="0:0.2,0.5:0.3,1:0.5",
        description="Randomised tradeoffs with their probabilities, TRADEOFF:PROBABILITY with "
        "commas between them.",
    )

    @field_validator("explore_tradeoffs")
    @classmethod
    def _is_grid(cls, value: str) -> str:
        tradeoffs, probabilities = zip(*grid(value), strict=True)
        if len(set(tradeoffs)) < len(tradeoffs) or not all(0 <= w <= 1 for w in tradeoffs):
            raise ValueError("tradeoffs should differ and be in [0, 1]")
        if len(tradeoffs) >= MAX_TRADEOFFS:
            raise ValueError(f"should be fewer than {MAX_TRADEOFFS} tradeoffs")
        if not all(p > 0 for p in probabilities) or not math.isclose(sum(probabilities), 1):
            raise ValueError("probabilities should be above 0, and their sum 1")
        return value

    @property
    def explores(self) -> bool:
        """Whether any ranking may be explored."""
        return self.explore_slot_share > 0 or self.explore_tradeoff_share > 0

    def check_exploration(self) -> None:
        """Raise ValueError where exploration would teach nothing."""
        if self.explores and not self.decisions:
            raise ValueError(
                "RANK_EXPLORE_SLOT_SHARE and RANK_EXPLORE_TRADEOFF_SHARE: need RANK_DECISIONS "
                "above 0, since nothing is learnt from what is not logged"
            )
        if self.explore_slot_share and self.explore_places > self.decision_places:
            raise ValueError(
                "RANK_EXPLORE_PLACES: should be at most RANK_DECISION_PLACES, since nothing is "
                "learnt from a place that is not logged"
            )


def grid(text: str) -> Grid:
    """Return the pairs of ``RANK_EXPLORE_TRADEOFFS``; raises ValueError naming the bad one."""
    pairs = []
    for entry in entries(text):
        tradeoff, _, probability = entry.partition(":")
        try:
            pairs.append((float(tradeoff), float(probability)))
        except ValueError:
            raise ValueError(f"{entry!r} is not TRADEOFF:PROBABILITY, such as 0.5:0.3") from None
    if not pairs:
        raise ValueError("should have at least one TRADEOFF:PROBABILITY")
    return tuple(pairs)
