"""Where the tradeoff of a ranking comes from, if the request names none."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Tradeoffs(BaseModel):
    """Tradeoffs of users, and targets that are held in service."""

    user_tradeoffs: bool = Field(
        default=False,
        description="Whether users have tradeoffs of their own, which rankings read with the "
        "user's record if the request names no tradeoff.",
    )
    target_control: bool = Field(
        default=True,
        description="Whether what rankings show corrects the tradeoffs of targets.",
    )
    target_control_s: float = Field(
        default=0.5,
        ge=0.01,
        le=60,
        description="Seconds between two reads and writes of what was shown at the targets, in the "
        "background. A tradeoff is corrected every second time at most.",
    )
