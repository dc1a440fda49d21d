"""How many rankings run and wait at once."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Admission(BaseModel):
    """How many rankings run and wait at once."""

    rankings: int = Field(
        default=16,
        ge=1,
        le=4096,
        description="Most rankings that run between two looks at probes and other requests. A "
        "ranking counts once more for each 8 KiB of its body.",
    )
    ranking_queue: int = Field(
        default=48,
        ge=0,
        le=1 << 16,
        description="Most rankings that may wait until they run; further ones are answered with "
        "503 at once.",
    )
    item_queue: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="Most rankings that may wait for items that are not in memory.",
    )
