"""Routes for operators and load balancers: health, metrics, loaded models."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from service.access.guard import MODELS
from service.api import rank
from service.api.messages import (
    AliasInfo,
    ErrorResponse,
    Health,
    Meaning,
    ModelInfo,
    ModelsResponse,
    ShadowInfo,
    TargetsInfo,
)
from service.contract.artifact import CardFiles
from service.contract.card import Card
from service.errors import RETRY_AFTER, CardNotFoundError, RankError, StoreError
from service.models.loaded_model import LoadedModel
from service.models.registry import AliasState, Registry
from service.ranking.shadow import Shadow

CARD = MODELS + "/{model}/card"
_MARKDOWN = "text/markdown"

router = APIRouter(tags=["operations"])

# Any text may stand in the path, and an unknown one is a 404; FastAPI would document a 422.
_OF_A_CARD: dict[str, Any] = {
    "parameters": [
        {
            "name": "model",
            "in": "path",
            "required": True,
            "description": "`name`, `name@version` or `name@alias` of a loaded model.",
            "schema": {"type": "string"},
            "example": "cp2rec",
        }
    ]
}
_NO_CARD: dict[int | str, dict[str, Any]] = {
    404: {
        "model": ErrorResponse,
        "description": "`model_not_found`: the model is not loaded. `card_not_found`: its artifact "
        "is of an earlier release, which made none.",
    },
    503: {"model": ErrorResponse, "description": "No model serves yet."},
}


@router.get("/livez", summary="Is the process alive?", response_description="It is.")
async def livez() -> Health:
    """Answer 200 while the event loop runs."""
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="Is the service ready for traffic?",
    response_description="It is; `reason` may name a fault.",
    responses={503: {"model": Health, "description": "Not ready; `reason` is why."}},
    response_model=Health,
)
async def readyz(request: Request) -> Health | JSONResponse:
    """Answer 200 once the default model has replayed its golden inputs and holds its catalogue.

    A service that stops is not ready: load balancers take it out while it answers the rest.
    Loading a catalogue needs the store. If the store fails or loses items later, the service stays
    ready and gives the `reason`: rankings from memory are better than none. So it does if the model
    repository is lost.
    """
    if health := why_not_ready(request):
        return JSONResponse(health.model_dump(), status_code=503, headers=RETRY_AFTER)
    registry: Registry = request.app.state.registry
    model = registry.resolve(None)
    reasons = [f"{fault}; loaded models keep serving" for fault in registry.faults]
    if fault := request.app.state.guard.fault:
        reasons.append(f"{fault}; the keys before stay valid")
    reasons += [state.reason for state in registry.aliases() if state.returned and state.reason]
    try:
        await request.app.state.store.ping()
    except StoreError as error:
        reasons.append(f"{error.message}; ranking from memory")
    if lost := len(model.catalog.lost):
        reasons.append(f"the store has lost {lost} items of {model.label}; ranking from memory")
    return Health(status="ok", reason="; ".join(reasons) or None)


def why_not_ready(request: Request) -> Health | None:
    """Return the state of a service that is not ready for traffic, None if it is ready."""
    if request.app.state.draining:
        return Health(status="draining", reason="the service stops")
    try:
        request.app.state.registry.resolve(None)
    except RankError as error:
        return Health(status="waiting", reason=error.message)
    return None


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_description="All metrics.",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
async def metrics(request: Request) -> Response:
    """Return all metrics in Prometheus' text format."""
    request.app.state.registry.report()
    request.app.state.shadow.report()
    request.app.state.users_in_memory.report()
    return Response(request.app.state.telemetry.exposition(), media_type=CONTENT_TYPE_LATEST)


@router.get(
    MODELS,
    summary="Loaded models and their fronts",
    response_description="All loaded models.",
    responses={
        200: {
            "links": {
                "rank": {
                    "operationId": rank.OPERATION,
                    "requestBody": {"model": "$response.body#/models/0/name"},
                    "description": "Rank with a loaded model.",
                }
            }
        }
    },
)
async def models(request: Request) -> ModelsResponse:
    """Return all loaded models with their aliases and measured fronts."""
    registry: Registry = request.app.state.registry
    shadow: Shadow = request.app.state.shadow
    default = registry.default_label()
    return ModelsResponse(
        models=[
            ModelInfo(
                name=model.manifest.name,
                version=model.version,
                aliases=aliases,
                architecture=model.manifest.architecture,
                ranker=model.scorer.ranker,
                created=model.manifest.created.isoformat(),
                default=model.label == default,
                default_tradeoff=model.manifest.default_tradeoff,
                score_meaning=model.manifest.calibration.meaning,
                items=len(model.catalog),
                canary=_canary(registry, model),
                shadow=_shadow_info(shadow, model),
                targets=_targets_info(model),
                front=model.manifest.front,
                card=_card_path(request, model),
            )
            for model, aliases in registry.models()
        ],
        aliases=[_alias_info(state) for state in registry.aliases()],
        experiment=registry.experiments.running,
    )


@router.get(
    CARD,
    summary="A model's card",
    response_description="The card.",
    response_class=Response,
    responses={200: {"model": Card}, **_NO_CARD},
    openapi_extra=_OF_A_CARD,
)
async def card(request: Request) -> Response:
    """Return what a model ranks by, the choices of a person, data, front, exposure and limits.

    What was not measured is null or empty, and `not_measured` says why.
    """
    return Response(_card(request).document, media_type="application/json")


@router.get(
    f"{CARD}.md",
    summary="A model's card as a page",
    response_description="The same in Markdown.",
    response_class=Response,
    responses={200: {"content": {_MARKDOWN: {"schema": {"type": "string"}}}}, **_NO_CARD},
    openapi_extra=_OF_A_CARD,
)
async def card_page(request: Request) -> Response:
    """Return the card of a model for people to read."""
    return Response(_card(request).page, media_type=_MARKDOWN)


def _card(request: Request) -> CardFiles:
    """Return the card that a request names; raises CardNotFoundError if the model has none."""
    request.scope["state"]["route"] = request.scope["route"].path  # for metrics: the template
    registry: Registry = request.app.state.registry
    model = registry.resolve(request.path_params["model"])
    if model.card is None:
        raise CardNotFoundError(
            f"model: {model.label} has no card, because an earlier release made it: train it again",
            field="model",
        )
    return model.card


def _card_path(request: Request, model: LoadedModel) -> str | None:
    if model.card is None:
        return None
    return f"{request.scope.get('root_path', '')}{CARD.format(model=model.label)}"


def _canary(registry: Registry, model: LoadedModel) -> float:
    trial = registry.trials.get(model.manifest.name)
    return trial.canary if trial is not None and trial.model is model else 0.0


def _shadow_info(shadow: Shadow, model: LoadedModel) -> ShadowInfo | None:
    if (found := shadow.figures(model)) is None:
        return None
    trial, figures = found
    compared = figures.compared

    def mean(total: float) -> float | None:
        return total / compared if compared else None

    return ShadowInfo(
        against=figures.against,
        share=trial.shadow,
        compared=compared,
        dropped=figures.dropped,
        failed=figures.failed,
        agreement=mean(figures.agreement_sum),
        score_drift=figures.score_drift(),
        served_score_ms=mean(figures.served_ms_sum),
        shadow_score_ms=mean(figures.shadow_ms_sum),
    )


def _targets_info(model: LoadedModel) -> TargetsInfo:
    curves = model.targets.curves
    tradeoffs = [point.tradeoff for point in model.manifest.front.points]
    return TargetsInfo(
        reach={measure: curve.reach for measure, curve in curves.items()},
        table=[
            Meaning(tradeoff=w, **{measure: curve.value(w) for measure, curve in curves.items()})
            for w in tradeoffs
        ],
    )


def _alias_info(state: AliasState) -> AliasInfo:
    name, _, alias = state.alias.partition("@")
    return AliasInfo(
        name=name,
        alias=alias,
        wanted=int(state.wanted.partition("@")[2]),
        served=None if state.served is None else int(state.served.partition("@")[2]),
        converged=state.served == state.target,
        returned=state.returned,
        reason=state.reason,
    )
