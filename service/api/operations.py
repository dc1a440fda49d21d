"""What operators and load balancers ask: health, metrics, loaded models."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.messages import Health, ModelInfo, ModelsResponse
from service.errors import RankError, StoreError
from service.models.registry import Registry

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
    """Answer 200 from when the default model has passed its golden replay and holds its catalogue.

    That takes a store that answers. Later on, a store that does not is told but keeps no traffic
    away: rankings from memory are better than none.
    """
    try:
        request.app.state.registry.resolve(None)
    except RankError as error:
        waiting = Health(status="waiting", reason=error.message)
        return JSONResponse(waiting.model_dump(), status_code=503)
    try:
        await request.app.state.store.ping()
    except StoreError as error:
        return Health(status="ok", reason=f"{error.message}; ranking from memory")
    return Health(status="ok")


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
async def metrics(request: Request) -> Response:
    """Return all metrics in Prometheus' text format."""
    request.app.state.registry.report()
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
                items=len(model.catalog),
                front=model.manifest.front,
            )
            for model, aliases in loaded
        ]
    )
