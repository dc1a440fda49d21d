"""The application: builds every part at start-up and closes it at shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api import operations, rank
from service.api.docs import add_docs
from service.api.loop_lag import observe_loop_lag
from service.api.messages import CONNECTION_ERRORS
from service.api.middleware import RequestMiddleware
from service.errors import RouteNotFoundError, error_body
from service.models.registry import Registry
from service.ranking.full_scan import FullScanQueue
from service.ranking.ranker import Ranker
from service.ranking.shadow import Shadow
from service.settings import Settings
from service.store.records import RedisStore
from service.tasks import end
from service.telemetry import Telemetry

_STOP_S = 5.0


def create_app(settings: Settings) -> FastAPI:
    """Return the ASGI application, which opens nothing before its lifespan begins."""
    telemetry = Telemetry()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = RedisStore(settings, telemetry)
        registry = Registry(settings, store, telemetry)
        app.state.store, app.state.registry = store, registry
        scans = FullScanQueue(settings.scan_queue)
        repeating = Ranker(registry, store, Telemetry(), scans)  # in metrics that nobody reads
        shadow = Shadow(registry, repeating, store.limit, telemetry, settings.shadow_queue)
        app.state.shadow = shadow
        app.state.ranker = Ranker(registry, store, telemetry, scans, shadow.offer)
        watching = asyncio.create_task(registry.watch(), name="watch models")
        timing = asyncio.create_task(observe_loop_lag(telemetry.loop_lag), name="loop lag")
        repeats = asyncio.create_task(shadow.run(), name="shadow rankings")
        try:
            yield
        finally:
            await end([watching, timing, repeats], _STOP_S)
            await registry.close()
            await store.close()

    middleware = functools.partial(
        RequestMiddleware, telemetry=telemetry, max_body_bytes=settings.max_body_bytes
    )
    app = _Application(
        middleware,
        title="Paretorank",
        version=version("paretorank"),
        description="Ranks multimedia items with the accuracy-bias tradeoff as a parameter.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=CONNECTION_ERRORS,
        redirect_slashes=False,  # behind TLS, a redirect would lead to plain HTTP
    )
    app.state.telemetry, app.state.draining = telemetry, False
    app.add_middleware(middleware)
    app.exception_handler(HTTPException)(_http_error)
    app.include_router(rank.router)
    app.include_router(operations.router)
    add_docs(app)
    return app


class _Application(FastAPI):
    """FastAPI with a fast path for the hot route ahead of it."""

    def __init__(self, middleware: Callable[[ASGIApp], ASGIApp], **options: Any) -> None:
        super().__init__(**options)
        self._fast_path = rank.FastPath(super().__call__, middleware)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        scope["app"] = self
        await self._fast_path(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, msgspec's schemas included."""
        document = super().openapi()
        rank.add_schemas(document)
        return document


async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    """Answer the framework's own errors (no such route, wrong method) with the one error body."""
    request_id = request.state.request_id
    if error.status_code == 404:
        body = RouteNotFoundError(f"{request.url.path}: no such route").body(request_id)
    else:
        body = error_body("http_error", error.detail, None, request_id)
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)
