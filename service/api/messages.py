"""The wire format of errors, models and health, and its documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field

from service.access.guard import OPEN_INFERENCE
from service.contract.experiments import Experiment
from service.contract.front import Front
from service.contract.targets import Measure
from service.errors import RankError


class ErrorDetail(BaseModel):
    """An error and the field of the request that caused it."""

    code: str = Field(description="A stable word for programs.", examples=["invalid_request"])
    message: str = Field(
        description="A sentence for people.",
        examples=["tradeoff: Expected `float` <= 1.0"],
    )
    field: str | None = Field(
        description="The field at fault; null if none is.", examples=["tradeoff"]
    )
    request_id: str = Field(description="The request's id in the log.", examples=["b7e2"])


class ErrorResponse(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail = Field(description="The error.")


# Any route may answer these, before it sees the request.
CONNECTION_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "The bytes are no HTTP request."},
    408: {"model": ErrorResponse, "description": "The request did not arrive in time."},
    413: {"model": ErrorResponse, "description": "The body is too long."},
    431: {"model": ErrorResponse, "description": "The headers are too long."},
}


def error_body(error: RankError, state: Mapping[str, Any]) -> dict[str, object]:
    """Return the body of an error's answer, in the form of the protocol of the request's route.

    ``state`` is that of the request's ASGI scope.
    """
    if state.get("route", "").startswith(OPEN_INFERENCE):
        return {"error": error.message}
    return error.body(state["request_id"])


class ShadowInfo(BaseModel):
    """A candidate's shadow rankings, as this replica has compared them with what it served."""

    against: str = Field(description="The champion that served.", examples=["cp2rec@1"])
    share: float = Field(description="Share of its rankings that are repeated.", examples=[0.05])
    compared: int = Field(description="Rankings compared.", examples=[1200])
    dropped: int = Field(description="Rankings left out: too much to do, or no store.")
    failed: int = Field(description="Shadow rankings that raised an error.")
    agreement: float | None = Field(
        description="Mean rank-biased overlap of the first 10 places; 1: equal.", examples=[0.83]
    )
    score_drift: float | None = Field(
        description="Population stability index of its scores against those served, over the last "
        "1,000 places; null below 100.",
        examples=[0.07],
    )
    served_score_ms: float | None = Field(description="Mean time of stage `score`, as served.")
    shadow_score_ms: float | None = Field(description="The candidate's, for the same requests.")


class AliasInfo(BaseModel):
    """The version that the repository wants behind an alias, and the one that serves here."""

    name: str = Field(description="The model.", examples=["cp2rec"])
    alias: str = Field(description="The alias.", examples=["champion"])
    wanted: int = Field(description="Version in the model repository.", examples=[2])
    served: int | None = Field(description="Version that ranks here; null: none.", examples=[2])
    converged: bool = Field(
        description="Whether this replica serves what it should: the wanted version, or the one "
        "before if that is returned."
    )
    returned: bool = Field(description="Whether the wanted version has passed a limit.")
    reason: str | None = Field(description="Why the wanted version does not serve.")


class Meaning(BaseModel):
    """What a tradeoff comes to, by the front; null: the front lacks the measure."""

    tradeoff: float = Field(description="The tradeoff.", examples=[0.5])
    tail_share: float | None = Field(
        default=None, description="Share of places for the long tail.", examples=[0.33]
    )
    popularity_percentile: float | None = Field(
        default=None, description="Mean popularity percentile.", examples=[82.0]
    )
    logged_auc_cost: float | None = Field(
        default=None, description="AUC on logged traffic at tradeoff 1, less that here."
    )


class TargetsInfo(BaseModel):
    """The targets that requests may name of a model: its front, made monotone."""

    reach: dict[Measure, tuple[float, float]] = Field(
        description="The least and the greatest value of each measure that the front has.",
        examples=[{"tail_share": [0.25, 0.53]}],
    )
    table: list[Meaning] = Field(description="By tradeoff, ascending.")


class ModelInfo(BaseModel):
    """A loaded model and its measured front."""

    name: str = Field(description="Its name.", examples=["cp2rec"])
    version: int = Field(description="Its version.", examples=[1])
    aliases: list[str] = Field(description="The aliases that name it.", examples=[["champion"]])
    architecture: str = Field(description="The kind of net.", examples=["decomposed"])
    ranker: Literal["product", "onnxruntime"] = Field(
        description="What computes its logits. product: one product of item states with a vector, "
        "in NumPy; onnxruntime: a run of its graph."
    )
    created: str = Field(description="When it was made.", examples=["2026-01-31T12:00:00Z"])
    default: bool = Field(description="Whether it serves requests that name no model.")
    default_tradeoff: float = Field(
        description="The tradeoff of requests that name none.", examples=[0.5]
    )
    score_meaning: str = Field(
        description="Where its score is a click probability, and where a rank score.",
        examples=["click probability at tradeoff 1 on logged traffic; a rank score elsewhere"],
    )
    items: int = Field(description="Items of its catalogue in memory.", examples=[600])
    canary: float = Field(description="Share of users whom it serves as a candidate.")
    shadow: ShadowInfo | None = Field(
        description="Its shadow rankings as a candidate; null without any."
    )
    targets: TargetsInfo = Field(description="What the tradeoff comes to, and what it reaches.")
    front: Front = Field(description="Accuracy on logged and unbiased traffic by tradeoff.")
    card: str | None = Field(
        description="The path of its card; null for an artifact of an earlier release.",
        examples=["/models/cp2rec@1/card"],
    )


class ModelsResponse(BaseModel):
    """All loaded models."""

    models: list[ModelInfo] = Field(description="Sorted by name and version.")
    aliases: list[AliasInfo] = Field(description="Sorted by name and alias.")
    experiment: Experiment | None = Field(
        description="The experiment that runs on this replica; null: none."
    )


class Health(BaseModel):
    """Whether the service is alive or ready, and the reason if something is wrong."""

    status: Literal["ok", "waiting", "draining"] = Field(
        description="ok; waiting: not ready for traffic yet; draining: the service stops."
    )
    reason: str | None = Field(
        default=None,
        description="waiting, draining: the reason. ok: a fault that does not keep the service "
        "from ranking.",
    )
