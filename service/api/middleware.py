"""ASGI middleware: request ids, timing, reports, the limit on bodies, and the answers to errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.guard import Guard, Headers
from service.api import trace_context
from service.api.messages import error_body
from service.api.reports import Reports
from service.errors import (
    BodyTooLargeError,
    ClientLeftError,
    DrainingError,
    OverloadedError,
    RankError,
)
from service.telemetry import Telemetry

_CLIENT_LEFT = 499  # as nginx counts it


class RequestMiddleware:
    """Gives each request an id, times it, admits it, limits its body and answers its errors.

    Routes read the id from ``scope["state"]["request_id"]`` and may replace it; the answer has it
    as a header. A known error gets its own status, an unknown one 500 with the id alone; reports
    find both in ``scope["state"]["error"]``.
    ``api.connection`` puts the time of arrival and the rest into ``scope["state"]``.
    """

    def __init__(
        self,
        app: ASGIApp,
        telemetry: Telemetry,
        guard: Guard,
        reports: Reports,
        max_body_bytes: int,
    ) -> None:
        self._app = app
        self._guard = guard
        self._telemetry = telemetry
        self._reports = reports
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, body_bytes = 0, 0
        headers: Headers = []
        state = scope.setdefault("state", {})
        state["request_id"], state["trace"] = trace_context.read(scope["headers"])
        arrived_s: float = state.get("arrived_s") or time.perf_counter()
        client_left: Callable[[], bool] = state.get("client_left", bool)

        async def bounded_receive() -> Message:
            nonlocal body_bytes
            message = await receive()
            if refusal := state.get("refusal"):
                raise refusal
            body_bytes += len(message.get("body", b""))
            if body_bytes > self._max_body_bytes:
                raise BodyTooLargeError(self._max_body_bytes)
            return message

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = _CLIENT_LEFT if client_left() else message["status"]
                own = trace_context.answer_headers(state)
                message["headers"] = [*message["headers"], *own, *headers]
            await send(message)

        self._telemetry.in_flight.inc()
        try:
            headers = await self._guard.admit(scope)
            await self._app(scope, bounded_receive, observed_send)
        except ClientDisconnect:
            status = _CLIENT_LEFT
        except ClientLeftError:
            await _hang_up(observed_send)
        except (Exception, asyncio.CancelledError) as error:
            if status:  # part of the answer is sent: the server must break the connection
                raise
            if isinstance(error, asyncio.CancelledError) and not scope["app"].state.draining:
                raise
            await self._answer(error, scope, receive, observed_send)
        finally:
            self._telemetry.in_flight.dec()
            route = state.get("route") or getattr(scope.get("route"), "path", "other")
            seconds = time.perf_counter() - arrived_s
            self._telemetry.request(route, status).observe(seconds)
            self._reports.add(scope, route, status, seconds)

    async def _answer(
        self, error: BaseException, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer ``error`` with its status."""
        if isinstance(error, asyncio.CancelledError):  # the server has waited for long enough
            error = DrainingError("the service stops; send the request again")
        if isinstance(error, OverloadedError):
            self._telemetry.shed[error.queue].inc()
        scope["state"]["error"] = error
        if not isinstance(error, RankError):
            error = RankError("internal error; find it in the log by this request id")
        body = error_body(error, scope["state"])
        response = JSONResponse(body, status_code=error.status, headers=error.headers())
        await response(scope, receive, send)


async def _hang_up(send: Send) -> None:
    """Close the connection: without any answer, the server would send one and log an error."""
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": _CLIENT_LEFT, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
