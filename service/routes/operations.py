"""What operators and load balancers ask: health, metrics, loaded models."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from service.errors import RankError
from service.registry import Registry
from service.schemas import Health, ModelInfo, ModelsResponse

router = APIRouter(tags=["operations"])


@router.get("/livez", summary="Is the process alive?")
async def livez() -> Health:
    """Answer as long as the event loop turns."""
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="May traffic come?",
    responses={503: {"model": Health, "description": "Not yet; `reason` says why."}},
    response_model=Health,
)
async def readyz(request: Request) -> Health | JSONResponse:
    """Answer 200 once the default model has passed its golden replay and the store answers."""
    try:
        if request.app.state.draining:
            return _waiting("shutting down")
        request.app.state.registry.resolve(None)
        await request.app.state.store.ping()
    except RankError as error:
        return _waiting(error.message)
    return Health(status="ok")


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
async def metrics(request: Request) -> Response:
    """Return all metrics in Prometheus' text format."""
    return Response(request.app.state.telemetry.exposition(), media_type=CONTENT_TYPE_LATEST)


@router.get("/models", summary="Loaded models and their fronts")
async def models(request: Request) -> ModelsResponse:
    """Return what is loaded, under which aliases, and what each tradeoff was measured to give."""
    registry: Registry = request.app.state.registry
    loaded = registry.models()
    default = registry.default_label()
    return ModelsResponse(
        models=[
            ModelInfo(
                name=model.manifest.name,
                version=model.version,
                aliases=aliases,
                kind=model.manifest.kind,
                created=model.manifest.created.isoformat(),
                default=model.label == default,
                default_tradeoff=model.manifest.default_tradeoff,
                context=[field.name for field in model.manifest.context],
                items=len(model.catalog),
                front=model.manifest.front,
            )
            for model, aliases in loaded
        ]
    )


def _waiting(reason: str) -> JSONResponse:
    return JSONResponse(Health(status="waiting", reason=reason).model_dump(), status_code=503)
