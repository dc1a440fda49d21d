"""What users engaged with since the training of a model, and how long that is kept."""

from __future__ import annotations

import re

from pydantic import BaseModel, Field, field_validator

from service.contract.feedback import CLICK, KINDS
from service.settings.network import entries

_KIND = re.compile(KINDS)


class Histories(BaseModel):
    """The histories that the store keeps of users, and that move them between trainings."""

    user_histories: bool = Field(
        default=True,
        description="Whether rankings use what users engaged with since the model's training, and "
        "events add to it.",
    )
    history_ttl_s: int = Field(
        default=30 * 86_400,
        ge=60,
        le=3_650 * 86_400,
        description="Seconds after a user's last engagement at which the store forgets the history "
        "of the user; longer than the time between two trainings.",
    )
    engagement_kinds: str = Field(
        default=CLICK,
        description="Kinds of events that add their item to the history of their user, with commas "
        "between them.",
    )

    @field_validator("engagement_kinds")
    @classmethod
    def _are_kinds(cls, value: str) -> str:
        for kind in entries(value):
            if not _KIND.fullmatch(kind):
                raise ValueError(f"{kind!r} is no kind of event, such as click")
        return value
