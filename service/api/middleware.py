"""ASGI middleware: request ids, timing, the limit on bodies, and the answers to errors."""

from __future__ import annotations

import logging
import os
import time

from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLargeError, OverloadedError, RankError
from service.telemetry import Telemetry

log = logging.getLogger(__name__)


class RequestMiddleware:
    """Gives each request an id, times it, limits its body and answers its errors.

    Routes read the id from ``scope["state"]["request_id"]`` and may replace it. A known error
    gets its own status; an unknown one is logged and answered by 500 with the id alone.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry, max_body_bytes: int) -> None:
        self._app = app
        self._telemetry = telemetry
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, body_bytes = time.perf_counter(), 0, 0
        state = scope.setdefault("state", {})
        state["request_id"] = os.urandom(16).hex()

        async def bounded_receive() -> Message:
            nonlocal body_bytes
            message = await receive()
            body_bytes += len(message.get("body", b""))
            if body_bytes > self._max_body_bytes:
                raise BodyTooLargeError(
                    f"body: longer than {self._max_body_bytes} bytes", field="body"
                )
            return message

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._telemetry.in_flight.inc()
        try:
            await self._app(scope, bounded_receive, observed_send)
        except ClientDisconnect:
            status = 499  # as nginx counts it
        except Exception as error:
            if status:  # part of the answer is sent: the server must break the connection
                raise
            if isinstance(error, OverloadedError):
                self._telemetry.shed["scans"].inc()
            if isinstance(error, RankError):
                log.info("request %s: %d %s", state["request_id"], error.status, error.message)
            else:
                log.exception("request %s failed", state["request_id"])
                error = RankError("internal error; find it in the log by this request id")
            response = JSONResponse(error.body(state["request_id"]), status_code=error.status)
            await response(scope, receive, observed_send)
        finally:
            self._telemetry.in_flight.dec()
            route = state.get("route") or getattr(scope.get("route"), "path", "other")
            self._telemetry.request(route, status).observe(time.perf_counter() - start)
