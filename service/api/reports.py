"""Reports of finished requests: a line of the log, and spans."""

from __future__ import annotations

import logging
import random
import time
from typing import cast

from msgspec import Struct
from starlette.types import Scope

from service.errors import RankError
from service.logs.formats import Line
from service.ranking.messages import Degraded, RankRequest, RankResponse
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


class RequestLine(Line, omit_defaults=True, kw_only=True):
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
    degraded: list[Degraded] | None = None
    user_ms: float | None = None
    catalog_ms: float | None = None
    score_ms: float | None = None
    select_ms: float | None = None
    key: str | None = None  # name of the caller's API key
    trace_id: str | None = None
    user_id: str | None = None
    code: str | None = None
    error: str | None = None

    def add_ranking(self, ranked: Ranked) -> None:
        """Set the fields that a ranking has."""
        request, response = ranked.request, ranked.response
        items, times_ms = response.items, response.timing_ms
        self.model, self.tradeoff = response.model, response.tradeoff
        if request.candidates is not None:
            self.candidates = len(request.candidates)
        self.items = len(items if isinstance(items, list) else items.item_ids)
        self.degraded = response.degraded or None
        self.user_ms, self.catalog_ms = round(times_ms["user"], 3), round(times_ms["catalog"], 3)
        self.score_ms, self.select_ms = round(times_ms["score"], 3), round(times_ms["select"], 3)

    def add_error(self, error: BaseException) -> None:
        """Set the fields that an error has; of an unknown one, its class alone."""
        if isinstance(error, RankError):
            self.code, self.error = error.code, error.message
        else:
            self.code, self.error = RankError.code, type(error).__name__

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
        line = RequestLine(
            request_id=state["request_id"],
            method=scope["method"],
            route=route,
            status=status,
            total_ms=round(1000 * seconds, 3),
            key=state.get("key_name"),
        )
        ranked: Ranked | None = state.get("ranked")
        if ranked is not None:
            line.add_ranking(ranked)
            if self._users:
                line.user_id = ranked.request.user_id or None  # empty without profiling
        if (error := state.get("error")) is not None:
            line.add_error(error)
        trace: TraceContext | None = state["trace"]
        if self.tracer is not None:
            line.trace_id = _export(self.tracer, line, trace, ranked, seconds)
        elif trace is not None:
            line.trace_id = trace.trace_id
        return line


def log_refusal(request_id: str, error: RankError, seconds: float) -> None:
    """Log a request that was refused before its head was complete."""
    line = RequestLine(
        request_id=request_id, route="other", status=error.status, total_ms=round(1000 * seconds, 3)
    )
    line.add_error(error)
    _log(line, error)


def _log(line: RequestLine, error: BaseException | None) -> None:
    if error is None or line.status < 500:
        log.info(line)
    elif isinstance(error, RankError):
        log.warning(line)
    else:
        log.error(line, exc_info=error)


def _export(
    tracer: Tracer,
    line: RequestLine,
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
    fields = line.fields().items()
    return tracer.record(
        span(f"{line.method} {line.route}", ended_s - seconds, ended_s),
        stages,
        {_ATTRIBUTES[name]: value for name, value in fields if name in _ATTRIBUTES},
        parent=trace,
        failed=line.status >= 500,
    )
