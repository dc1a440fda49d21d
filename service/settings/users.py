"""Users in memory."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Users(BaseModel):
    """What the service keeps of recently seen users, so that it need not be read again."""

    user_memory: bool = Field(
        default=True,
        description="Whether recently seen users are kept in memory; a change of a user is used "
        "within a second.",
    )
    user_memory_bytes: int = Field(
        default=1 << 27,
        ge=1 << 16,
        le=1 << 40,
        description="Most memory for recently seen users, in bytes; the least recently seen leave.",
    )
