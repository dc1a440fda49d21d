"""How candidates and new champions are tried."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Rollout(BaseModel):
    """How candidates and new champions are tried."""

    automatic_return: bool = Field(
        default=True,
        description="Whether this replica judges canaries and new champions, and goes back to the "
        "version before when one passes its limits. Verdicts of other replicas hold all the same.",
    )
    shadow_queue: int = Field(
        default=64,
        ge=1,
        le=65_536,
        description="Most rankings that may wait to be repeated by a candidate; further ones are "
        "dropped.",
    )
