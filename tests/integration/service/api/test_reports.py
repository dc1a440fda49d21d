"""Requests in the log and as spans, and the ids that answers return."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.access.admission import Caller
from service.api.reports import RequestLine
from service.errors import OverloadedError
from service.ranking.items import RankedItem
from service.ranking.messages import Degraded, RankRequest, RankResponse
from tests.integration.conftest import Running, until
from tests.integration.service.api.conftest import Edge, port_of
from tests.integration.service.api.wire import connected

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"
BODY = {"user_id": "ada", "candidates": ["a", "b"], "tradeoff": 0.25}


class Ranks:
    """Ranks one item in 10 ms, or raises ``error``."""

    error: Exception | None = None

    async def rank(
        self, request: RankRequest, request_id: str, _: Caller, **_options: bool
    ) -> RankResponse:
        if self.error is not None:
            raise self.error
        return RankResponse(
            request_id=request_id,
            model="toy@3",
            tradeoff=request.tradeoff or 0.0,
            items=[RankedItem("a", 1, 0.5, "ok")],
            degraded=[Degraded.UNKNOWN_USER],
            timing_ms={"catalog": 1.0, "user": 2.0, "score": 3.0, "select": 4.0, "total": 10.0},
        )


@contextlib.contextmanager
def ranking(edge: Edge, **settings: Any) -> Iterator[tuple[Running, Ranks]]:
    with edge(**settings) as (service, _):
        service.app.state.ranker = ranks = Ranks()
        yield service, ranks


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[RequestLine]]:
    """Collect the lines of requests."""
    caplog.set_level(logging.INFO)
    found: list[RequestLine] = []
    logger = logging.getLogger("service.api.reports")

    def collect(record: logging.LogRecord) -> bool:
        assert isinstance(record.msg, RequestLine)
        found.append(record.msg)
        return True

    logger.addFilter(collect)
    yield found
    logger.removeFilter(collect)


def test_a_ranking_is_a_line_with_what_a_search_needs(edge: Edge, lines: list[RequestLine]) -> None:
    with ranking(edge, log_requests=1.0) as (service, _):
        headers = {"x-request-id": "b7e2", "traceparent": TRACEPARENT}
        assert service.client.post("/rank", json=BODY, headers=headers).status_code == 200
        service.client.post("/rank", json={"user_id": "ada"})
        until(lambda: len(lines) == 2)
    fields = lines[0].fields()
    assert fields.pop("total_ms") > 0
    assert fields == {
        "request_id": "b7e2",
        "method": "POST",
        "route": "/rank",
        "status": 200,
        "model": "toy@3",
        "tradeoff": 0.25,
        "candidates": 2,
        "items": 1,
        "degraded": ["unknown_user"],
        "catalog_ms": 1.0,
        "user_ms": 2.0,
        "score_ms": 3.0,
        "select_ms": 4.0,
        "trace_id": TRACE,
    }
    assert lines[1].candidates is None  # the whole catalogue
    assert lines[1].request_id != "b7e2"


def test_users_are_named_if_asked_for(edge: Edge, lines: list[RequestLine]) -> None:
    with ranking(edge, log_requests=1.0, log_users=True) as (service, _):
        service.client.post("/rank", json=BODY)
        until(lambda: [line.user_id for line in lines] == ["ada"])


def test_without_sampling_only_errors_have_a_line(
    edge: Edge, lines: list[RequestLine], caplog: pytest.LogCaptureFixture
) -> None:
    with ranking(edge) as (service, ranks):
        assert service.client.post("/rank", json=BODY).status_code == 200
        for error in (OverloadedError("too much", queue="scans"), ZeroDivisionError("secret")):
            ranks.error = error
            service.client.post("/rank", json=BODY)
        service.client.post("/rank", json={})
        until(lambda: len(lines) == 3)
    assert [(line.status, line.code) for line in lines] == [
        (503, "overloaded"),
        (500, "internal"),
        (422, "invalid_request"),
    ]
    assert lines[0].error == "too much"
    assert lines[1].error == "ZeroDivisionError"
    (traceback,) = [record.exc_info for record in caplog.records if record.exc_info]
    assert traceback[0] is ZeroDivisionError


def test_half_of_the_requests_have_a_line(
    edge: Edge, lines: list[RequestLine], monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = iter([0.1, 0.7, 0.4, 0.9])
    with ranking(edge, log_requests=0.5) as (service, _):
        monkeypatch.setattr("random.random", lambda: next(draws))
        for number in range(4):
            service.client.get("/livez", headers={"x-request-id": str(number)})
        until(lambda: [line.request_id for line in lines] == ["0", "2"])


@pytest.mark.parametrize("path", ["/rank", "/livez", "/nothing", "/docs"])
def test_every_answer_returns_the_request_id_and_the_trace(edge: Edge, path: str) -> None:
    with ranking(edge) as (service, _):
        for method in ("GET", "POST"):
            headers = {"x-request-id": "b7e2", "traceparent": TRACEPARENT}
            answer = service.client.request(method, path, json=BODY, headers=headers)
            assert answer.headers["x-request-id"] == "b7e2"
            assert answer.headers["traceparent"] == TRACEPARENT
            made = service.client.request(method, path, json=BODY, headers={"traceparent": "00-1"})
            assert len(made.headers["x-request-id"]) == 32
            assert "traceparent" not in made.headers


def test_the_id_of_the_body_wins(edge: Edge) -> None:
    with ranking(edge) as (service, _):
        body = {**BODY, "request_id": "mine\r\nX-Forged: 1"}
        answer = service.client.post("/rank", json=body, headers={"x-request-id": "b7e2"})
        assert answer.json()["request_id"] == body["request_id"]
        assert answer.headers["x-request-id"] == "mine%0D%0AX-Forged: 1"
        assert "x-forged" not in answer.headers


def test_refused_bytes_have_an_id_too(edge: Edge, lines: list[RequestLine]) -> None:
    with edge() as (service, _), connected(port_of(service)) as wire:
        answer = wire.ask(b"GET / HTTP/9.9\r\n\r\n")
        assert answer.headers["x-request-id"] == answer.json["error"]["request_id"]
        until(lambda: [(line.status, line.code) for line in lines] == [(400, "bad_request")])
        assert lines[0].request_id == answer.headers["x-request-id"]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Receive spans over HTTP, as an OpenTelemetry collector does."""
    spans: list[Any] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["content-length"]))
            export = ExportTraceServiceRequest.FromString(body)
            for resource in export.resource_spans:
                names = {a.key: a.value.string_value for a in resource.resource.attributes}
                assert names["service.name"] == "paretorank"
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        yield spans
        server.shutdown()
        thread.join()


def test_a_ranking_is_five_spans(
    edge: Edge, collector: list[Any], lines: list[RequestLine]
) -> None:
    with ranking(edge, log_requests=1.0) as (service, ranks):
        headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=1", "x-request-id": "b7e2"}
        service.client.post("/rank", json=BODY, headers=headers)
        ranks.error = OverloadedError("too much", queue="scans")
        service.client.post("/rank", json=BODY)
        until(lambda: len(lines) == 2)
    # The stop has exported what was left.
    request, failed = sorted(
        (span for span in collector if span.name == "POST /rank"), key=lambda span: span.status.code
    )
    stages = {span.name: span for span in collector if span.parent_span_id == request.span_id}
    assert request.trace_id.hex() == lines[0].trace_id == TRACE
    assert request.parent_span_id.hex() == CALLER
    assert request.trace_state == "vendor=1"
    values = {a.key: a.value for a in request.attributes}
    assert values["http.response.status_code"].int_value == 200
    assert values["paretorank.model"].string_value == "toy@3"
    assert values["paretorank.request_id"].string_value == "b7e2"
    assert "user.id" not in values
    took_ms = {
        name: (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
        for name, span in stages.items()
    }
    assert took_ms == pytest.approx({"catalog": 1, "user": 2, "score": 3, "select": 4}, abs=1e-3)
    assert stages["catalog"].end_time_unix_nano == pytest.approx(
        stages["user"].start_time_unix_nano, abs=1000
    )
    assert stages["select"].end_time_unix_nano <= request.end_time_unix_nano
    assert failed.status.code == 2
    assert failed.trace_id.hex() == lines[1].trace_id != TRACE
    assert len(collector) == 6


def test_a_caller_that_does_not_sample_is_followed(edge: Edge, collector: list[Any]) -> None:
    with ranking(edge) as (service, _):
        service.client.post("/rank", json=BODY, headers={"traceparent": TRACEPARENT[:-1] + "0"})
        service.client.get("/livez")
    assert [span.name for span in collector] == ["GET /livez"]


def test_a_collector_that_is_away_keeps_nothing_waiting(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("service.tracing._CLOSE_S", 0.5)
    with ranking(edge) as (service, _):
        assert service.client.post("/rank", json=BODY).status_code == 200


def test_without_tracing_no_span_is_made(edge: Edge, collector: list[Any]) -> None:
    with ranking(edge, otel=False) as (service, _):
        service.client.post("/rank", json=BODY)
        assert service.app.state.reports.tracer is None
    assert collector == []
