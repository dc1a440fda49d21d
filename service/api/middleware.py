"""Pure ASGI middleware: request ids, timing, the longest body, and the last word on errors."""

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
    """Wraps every request; ``scope["state"]["request_id"]`` is set before the routes run."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry, max_body_bytes: int) -> None:
        self._app = app
        self._telemetry = telemetry
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, read = time.perf_counter(), 0, 0
        state = scope.setdefault("state", {})
        state["request_id"] = os.urandom(16).hex()

        async def bounded_receive() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_body_bytes:
                raise BodyTooLargeError(
                    f"body: longer than {self._max_body_bytes} bytes", field="body"
                )
            return message

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._telemetry.in_flight.inc()
        try:
            await self._app(scope, bounded_receive, noting_send)
        except ClientDisconnect:
            status = 499  # as nginx counts it
        except Exception as error:
            if status:  # half an answer is out: the server must break the connection
                raise
            if isinstance(error, OverloadedError):
                self._telemetry.shed["scans"].inc()
            if isinstance(error, RankError):
                log.info("request %s: %d %s", state["request_id"], error.status, error.message)
            else:
                log.exception("request %s failed", state["request_id"])
                error = RankError("internal error; the log has it under this request id")
            response = JSONResponse(error.body(state["request_id"]), status_code=error.status)
            await response(scope, receive, noting_send)
        finally:
            self._telemetry.in_flight.dec()
            route = state.get("route") or getattr(scope.get("route"), "path", "other")
            self._telemetry.request(route, status).observe(time.perf_counter() - start)
