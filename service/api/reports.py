"""Reports of finished requests: a line of the log, and spans."""

from __future__ import annotations

import logging
import random
import time
from typing import Any, cast

from msgspec import Struct
from starlette.types import Scope

from service.errors import RankError
from service.logs.formats import Line
from service.ranking.messages import RankRequest, RankResponse
from service.settings import Settings
from service.tracing import Span, TraceContext, Tracer

log = logging.getLogger(__name__)

# OpenTelemetry has names for some of the fields.
_ATTRIBUTES = {
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
    "code": "error.type",
    "user_id": "user.id",
    **{
        name: f"paretorank.{name}"
        for name in ("request_id", "model", "tradeoff", "candidates", "items", "degraded", "key")
    },
}


class Ranked(Struct, frozen=True):
    """A ranking's request and response, and the ``time.perf_counter()`` at its end.

    The route puts it into ``scope["state"]["ranked"]``.
    """

    request: RankRequest
    response: RankResponse
    ended_s: float


class RequestLine(Line, frozen=True, omit_defaults=True, kw_only=True):
    """One request. Fields without a value are left out; times are in milliseconds."""

    request_id: str
    method: str = ""
    route: str
    status: int
    total_ms: float
    model: str | None = None
    tradeoff: float | None = None
    candidates: int | None = None  # as the request names them; None: the whole catalogue
    items: int | None = None
    degraded: list[str] | None = None
    user_ms: float | None = None
    catalog_ms: float | None = None
    score_ms: float | None = None
    select_ms: float | None = None
    key: str | None = None  # name of the caller's API key
    trace_id: str | None = None
    user_id: str | None = None
    code: str | None = None
    error: str | None = None

    @property
    def repeats(self) -> str | None:
        """Errors of one code repeat."""
        return self.code

    @property
    def title(self) -> str:
        """Method, route and status."""
        return f"{self.method or '-'} {self.route} {self.status}"


class Reports:
    """Reports each finished request as the settings ask.

    ``tracer`` is None while no spans are exported.
    """

    def __init__(self, settings: Settings) -> None:
        self.tracer: Tracer | None = None
        self._share = settings.log_requests
        self._users = settings.log_users

    def add(self, scope: Scope, route: str, status: int, seconds: float) -> None:
        """Report a request that took ``seconds``, after its answer."""
        error = scope["state"].get("error")
        is_logged = error is not None or random.random() < self._share
        if self.tracer is None and not is_logged:
            return
        line = self._line(scope, route, status, seconds)
        if is_logged:
            _log(line, error)

    def _line(self, scope: Scope, route: str, status: int, seconds: float) -> RequestLine:
        """Return the line of a request, whose spans are exported first: they name its trace."""
        state = scope["state"]
        trace: TraceContext | None = state["trace"]
        ranked: Ranked | None = state.get("ranked")
        fields: dict[str, Any] = {
            "request_id": state["request_id"],
            "method": scope["method"],
            "route": route,
            "status": status,
            "key": state.get("key_name"),
        }
        if ranked is not None:
            fields |= _ranking(ranked)
            if self._users:
                fields["user_id"] = ranked.request.user_id
        if (error := state.get("error")) is not None:
            fields |= _error(error)
        trace_id = None if trace is None else trace.trace_id
        if self.tracer is not None:
            trace_id = _export(self.tracer, fields, trace, ranked, seconds)
        return RequestLine(**fields, trace_id=trace_id, total_ms=_round(1000 * seconds))


def log_refusal(request_id: str, error: RankError, seconds: float) -> None:
    """Log a request that was refused before its head was complete."""
    _log(
        RequestLine(
            request_id=request_id,
            route="other",
            status=error.status,
            total_ms=_round(1000 * seconds),
            code=error.code,
            error=error.message,
        ),
        error,
    )


def _log(line: RequestLine, error: BaseException | None) -> None:
    if error is None or line.status < 500:
        log.info(line)
    elif isinstance(error, RankError):
        log.warning(line)
    else:
        log.error(line, exc_info=error)


def _ranking(ranked: Ranked) -> dict[str, Any]:
    request, response = ranked.request, ranked.response
    items, times = response.items, response.timing_ms
    return {
        "model": response.model,
        "tradeoff": response.tradeoff,
        "candidates": None if request.candidates is None else len(request.candidates),
        "items": len(items if isinstance(items, list) else items.item_id),
        "degraded": response.degraded or None,
        "user_ms": _round(times["user"]),
        "catalog_ms": _round(times["catalog"]),
        "score_ms": _round(times["score"]),
        "select_ms": _round(times["select"]),
    }


def _error(error: BaseException) -> dict[str, str]:
    if isinstance(error, RankError):
        return {"code": error.code, "error": error.message}
    return {"code": RankError.code, "error": type(error).__name__}


def _round(ms: float) -> float:
    return round(ms, 3)


def _export(
    tracer: Tracer,
    fields: dict[str, Any],
    trace: TraceContext | None,
    ranked: Ranked | None,
    seconds: float,
) -> str:
    """Export the spans of a request that has just ended; return the id of their trace."""
    ended_s = time.perf_counter()
    epoch_ns = time.time_ns() - int(1e9 * ended_s)  # Unix time at which the counter was 0

    def span(name: str, began_s: float, ended_s: float) -> Span:
        return Span(name, epoch_ns + int(1e9 * began_s), epoch_ns + int(1e9 * ended_s))

    stages = []
    if ranked is not None:
        # In the order in which they ran.
        times_ms = cast(dict[str, float], dict(ranked.response.timing_ms))
        began_s = ranked.ended_s - times_ms.pop("total") / 1000
        for name, stage_ms in times_ms.items():
            stages.append(span(name, began_s, began_s + stage_ms / 1000))
            began_s += stage_ms / 1000
    return tracer.record(
        span(f"{fields['method']} {fields['route']}", ended_s - seconds, ended_s),
        stages,
        {
            _ATTRIBUTES[name]: value
            for name, value in fields.items()
            if name in _ATTRIBUTES and value is not None
        },
        parent=trace,
        failed=fields["status"] >= 500,
    )
