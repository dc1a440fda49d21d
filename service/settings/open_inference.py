"""The routes of the Open Inference Protocol."""

from __future__ import annotations

from pydantic import BaseModel, Field


class OpenInference(BaseModel):
    """The routes of the Open Inference Protocol."""

    open_inference: bool = Field(
        default=True,
        description="Whether the routes of the Open Inference Protocol, below /v2, exist.",
    )
    inference_queue: int = Field(
        default=16,
        ge=0,
        le=4096,
        description="Most inferences below /v2 that may wait at once; one runs at a time.",
    )
