"""What is logged."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Logging(BaseModel):
    """What is logged."""

    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Lowest level to log."
    )
