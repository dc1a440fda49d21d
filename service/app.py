"""The application: start-up, run, drain."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from service.errors import error_body
from service.middleware import Envelope
from service.ranker import Ranker
from service.registry import Registry
from service.routes import operations, rank
from service.settings import Settings
from service.store import RedisStore
from service.telemetry import Telemetry


def create_app(settings: Settings) -> FastAPI:
    """Return the ASGI application; nothing is opened before its lifespan begins."""
    telemetry = Telemetry()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = RedisStore(settings)
        registry = Registry(settings, store, telemetry)
        app.state.store, app.state.registry, app.state.telemetry = store, registry, telemetry
        app.state.ranker = Ranker(registry, store, telemetry)
        watching = asyncio.create_task(registry.watch(), name="watch models")
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            await registry.close()
            await store.close()

    app = FastAPI(
        title="Paretorank",
        version=version("paretorank"),
        description="Ranks multimedia items with the accuracy-bias tradeoff as a parameter.",
        lifespan=lifespan,
    )
    app.add_middleware(Envelope, telemetry=telemetry, max_body_bytes=settings.max_body_bytes)
    app.exception_handler(HTTPException)(_http_error)
    app.include_router(rank.router)
    app.include_router(operations.router)
    return app


async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    """Give the framework's own answers (no such route, wrong method) the one error body."""
    code = "not_found" if error.status_code == 404 else "http_error"
    body = error_body(code, error.detail, None, request.state.request_id)
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)
