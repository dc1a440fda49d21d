"""Live changes of items, proxies and users."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Live(BaseModel):
    """Live changes of items, proxies and users."""

    live_changes: bool = Field(
        default=True,
        description="Whether the routes that change items, proxies and users exist.",
    )
    live_queue: int = Field(
        default=16,
        ge=0,
        le=4096,
        description="Most changes of items, and most deletions of users, that may wait at once; "
        "one of each runs at a time.",
    )
