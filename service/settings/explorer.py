"""The explorer page."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Explorer(BaseModel):
    """The explorer page."""

    explorer: bool = Field(
        default=True,
        description="Whether / serves the explorer, a page that shows what the tradeoff changes.",
    )
