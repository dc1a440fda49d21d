"""The wire format of the API and its documentation."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from service.contract.manifest import Front


class ErrorDetail(BaseModel):
    """What went wrong, and which field of the request to mend."""

    code: str = Field(description="A stable word for programs.", examples=["invalid_request"])
    message: str = Field(
        description="A sentence for people.",
        examples=["tradeoff: Expected `float` <= 1.0"],
    )
    field: str | None = Field(description="The field at fault, if one is.", examples=["tradeoff"])
    request_id: str = Field(description="To find the request in the log.", examples=["b7e2"])


class ErrorResponse(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail = Field(description="The error.")


class ModelInfo(BaseModel):
    """A loaded model and its measured front."""

    name: str = Field(description="Its name.", examples=["cp2rec"])
    version: int = Field(description="Its version.", examples=[1])
    aliases: list[str] = Field(description="The aliases that name it.", examples=[["champion"]])
    kind: str = Field(description="The kind of network.", examples=["cp2rec"])
    created: str = Field(description="When it was made.", examples=["2026-01-31T12:00:00Z"])
    default: bool = Field(description="Does it serve requests that name no model?")
    default_tradeoff: float = Field(description="Used when a request names none.", examples=[0.5])
    items: int = Field(description="Items in its catalogue.", examples=[600])
    front: Front = Field(description="Accuracy on logged and unbiased traffic by tradeoff.")


class ModelsResponse(BaseModel):
    """All loaded models."""

    models: list[ModelInfo] = Field(description="Sorted by name and version.")


class Health(BaseModel):
    """Whether the service lives or may get traffic, and what it waits for."""

    status: Literal["ok", "waiting"] = Field(description="ok or waiting.")
    reason: str | None = Field(
        default=None, description="What is waited for, or what is amiss though traffic may come."
    )
