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
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from service import tracing
from service.access.admission import Admission
from service.access.guard import Guard
from service.api import events, items, open_inference, operations, rank, user_tradeoff, users
from service.api.docs import add_docs, add_keys
from service.api.explorer import routes as explorer
from service.api.loop_lag import observe_loop_lag
from service.api.messages import CONNECTION_ERRORS, error_body
from service.api.middleware import RequestMiddleware
from service.api.reports import Reports
from service.errors import FrameworkError, RankError, RouteNotFoundError
from service.exposure.decision_log import DecisionLog
from service.exposure.event_log import EventLog
from service.live.changes import LiveChanges
from service.models.registry import Registry
from service.models.target_control import TargetControl
from service.ranking.decisions import Decisions
from service.ranking.full_scan import FullScanQueue
from service.ranking.ranker import Ranker
from service.ranking.shadow import Shadow
from service.ranking.turns import TurnQueue
from service.settings import Settings
from service.settings.network import entries
from service.store.feedback import FeedbackStreams
from service.store.histories import Histories
from service.store.live import LiveStore
from service.store.records import RedisStore
from service.store.target_states import TargetStates
from service.store.user_follower import UserFollower
from service.store.user_tradeoffs import UserTradeoffs
from service.tasks import end
from service.telemetry import Telemetry

_STOP_S = 5.0
_SENT_BY_PAGES = (
    "Authorization", "Content-Type", "Traceparent", "Tracestate", "X-API-Key", "X-Request-ID",
)  # fmt: skip
_READ_BY_PAGES = ("RateLimit", "RateLimit-Policy", "Retry-After", "Traceparent", "X-Request-ID")


def create_app(settings: Settings) -> FastAPI:
    """Return the ASGI application, which opens nothing before its lifespan begins."""
    telemetry, reports = Telemetry(), Reports(settings)
    guard = Guard(settings, telemetry)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        guard.load()
        store = RedisStore(settings, telemetry)
        registry = Registry(settings, store, telemetry)
        app.state.store, app.state.registry = store, registry
        users_in_memory = store.users_in_memory
        app.state.users_in_memory = users_in_memory
        user_follower = UserFollower(settings, users_in_memory, telemetry)
        live_store = LiveStore(settings, telemetry, users_in_memory)
        app.state.live_changes = LiveChanges(settings, registry, live_store, telemetry)
        scans = FullScanQueue(settings.scan_queue)
        repeating = Ranker(registry, store, Telemetry(), scans)  # in metrics that nobody reads
        shadow = Shadow(registry, repeating, store.limit, telemetry, settings.shadow_queue)
        app.state.shadow = shadow
        streams = FeedbackStreams(settings, telemetry)
        decision_log = DecisionLog(settings, streams, telemetry)
        decisions = Decisions(settings, decision_log, telemetry) if settings.decisions else None
        histories, arms = Histories(store, settings), registry.experiments
        app.state.events = EventLog(settings, streams, histories, telemetry, arms.count_event)
        app.state.ranker = Ranker(registry, store, telemetry, scans, shadow.offer, decisions, arms)
        own = UserTradeoffs(store, settings, telemetry) if settings.user_tradeoffs else None
        app.state.user_tradeoffs = own
        watching = asyncio.create_task(registry.watch(), name="watch models")
        following = asyncio.create_task(guard.watch(), name="watch keys")
        if tracing.wanted(settings.otel):
            reports.tracer = tracing.Tracer(app.version)
        timing = asyncio.create_task(observe_loop_lag(telemetry.loop_lag), name="loop lag")
        repeats = asyncio.create_task(shadow.run(), name="shadow rankings")
        tasks = [watching, following, timing, repeats]
        if settings.user_memory:
            tasks.append(asyncio.create_task(user_follower.follow(), name="changes of users"))
        if settings.target_control:
            states = TargetStates(store, settings)
            control = TargetControl(registry, states, telemetry, settings.target_control_s)
            tasks.append(asyncio.create_task(control.run(), name="hold targets"))
        if decisions is not None:
            tasks.append(asyncio.create_task(decision_log.run(), name="decision log"))
        try:
            yield
        finally:
            await end(tasks, _STOP_S)
            await decision_log.close(_STOP_S)
            await streams.close()
            await registry.close()
            await guard.close()
            await live_store.close()
            await user_follower.close()
            await store.close()
            if reports.tracer is not None:
                reports.tracer.close()

    middleware = functools.partial(
        RequestMiddleware,
        telemetry=telemetry,
        guard=guard,
        reports=reports,
        max_body_bytes=settings.max_body_bytes,
    )
    app = _Application(
        middleware,
        settings,
        title="Paretorank",
        version=version("paretorank"),
        description="Ranks multimedia items with the accuracy-bias tradeoff as a parameter.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=CONNECTION_ERRORS,
        redirect_slashes=False,  # behind TLS, a redirect would lead to plain HTTP
    )
    app.state.telemetry, app.state.guard, app.state.reports = telemetry, guard, reports
    app.state.draining = False
    app.state.rank_port = None if settings.admin_port is None else settings.port
    app.state.admission = Admission(settings.rankings, settings.ranking_queue)
    app.add_middleware(middleware)
    app.exception_handler(HTTPException)(_http_error)
    app.state.event_age_ms = int(settings.event_age_s * 1000)
    app.include_router(rank.router)
    app.include_router(events.router)
    app.include_router(user_tradeoff.router)
    app.include_router(operations.router)
    if settings.open_inference:
        app.state.inferences = TurnQueue(
            settings.inference_queue,
            queue="inferences",
            message="too many inferences wait: try again",
        )
        app.include_router(open_inference.router)
    if settings.live_changes:
        queue = functools.partial(
            TurnQueue,
            settings.live_queue,
            queue="live",
            message="too many live changes wait: try again",
        )
        app.state.live_turns, app.state.deletion_turns = queue(), queue()
        app.include_router(items.router)
        app.include_router(users.router)
    if settings.explorer:
        app.include_router(explorer.router)
    add_docs(app)
    return app


class _Application(FastAPI):
    """FastAPI with a fast path for the hot route ahead of it."""

    def __init__(
        self, middleware: Callable[[ASGIApp], ASGIApp], settings: Settings, **options: Any
    ) -> None:
        super().__init__(**options)
        self._root_path = settings.root_path
        self._needs_keys = settings.access == "keys"
        self._has_open_inference = settings.open_inference
        self._has_live_changes = settings.live_changes
        self._serve: ASGIApp = rank.FastPath(super().__call__, middleware, settings.root_path)
        if origins := entries(settings.cors_origins):
            self._serve = CORSMiddleware(
                self._serve,
                allow_origins=origins,
                allow_methods=("GET", "POST"),
                allow_headers=_SENT_BY_PAGES,
                expose_headers=_READ_BY_PAGES,
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        scope["app"] = self
        if self._root_path:
            scope["root_path"] = self._root_path
        await self._serve(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, with msgspec's schemas and, where they are needed, keys."""
        if self.openapi_schema is not None:  # made by an earlier call, and kept by FastAPI
            return self.openapi_schema
        document = super().openapi()
        rank.add_schemas(document)
        events.add_schemas(document)
        user_tradeoff.add_schemas(document)
        if self._has_open_inference:
            open_inference.add_schemas(document)
        if self._has_live_changes:
            items.add_schemas(document)
        if self._needs_keys:
            add_keys(document)
        return document


async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    """Answer the framework's own errors (no such route, wrong method) with the one error body."""
    answer: RankError = FrameworkError(error.status_code, error.detail)
    if error.status_code == 404:
        answer = RouteNotFoundError(f"{request.url.path}: no such route")
    headers = dict(error.headers or {})
    if error.status_code == 405 and (methods := _methods(request)):
        headers["Allow"] = ", ".join(methods)  # the framework names those of one route alone
    body = error_body(answer, request.scope["state"])
    return JSONResponse(body, status_code=error.status_code, headers=headers)


def _methods(request: Request) -> list[str]:
    """Return the methods that the path of a request has, in order."""
    routers = (
        rank.router, operations.router, items.router, user_tradeoff.router, users.router,
        open_inference.router,
    )  # fmt: skip
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in matching for method in route.methods or ()})
