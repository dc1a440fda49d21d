"""OpenTelemetry spans of finished requests: the only file that knows the library.

The library is optional (the extra ``otel``) and reads its ``OTEL_*`` variables itself: exporter,
sampler, service name and batches.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter

MEND = "install the packages of the extra otel (pip install 'paretorank[otel]')"

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SERVICE_NAME = "paretorank"
_CLOSE_S = 5.0

log = logging.getLogger(__name__)

Value = str | bool | int | float | Sequence[str]


class TraceContext(Struct, frozen=True):
    """The caller's span by W3C's trace context: the header, its parts, and ``tracestate``."""

    traceparent: bytes
    trace_id: str
    parent_id: str
    flags: int
    tracestate: str


class Span(Struct, frozen=True):
    """A name with its begin and end in nanoseconds of Unix time."""

    name: str
    began_ns: int
    ended_ns: int


def wanted(setting: bool | None) -> bool:
    """Return whether spans are to be exported: by ``RANK_OTEL``, else by the OTEL_* variables."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if setting is not None:
        return setting
    is_named = any(os.environ.get(name) for name in _ENDPOINTS)
    return is_named and os.environ.get("OTEL_TRACES_EXPORTER") != "none"


def is_installed() -> bool:
    """Return whether the library and its exporter are there."""
    try:
        return all(
            importlib.util.find_spec(name)
            for name in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
        )
    except ImportError:
        return False


class Tracer:
    """Exports spans, in the library's batches and from its thread."""

    def __init__(self, version: str, exporter: SpanExporter | None = None) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create({SERVICE_VERSION: version})
        if not {"OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"} & os.environ.keys():
            resource = resource.merge(Resource({SERVICE_NAME: _SERVICE_NAME}))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("service", version)

    def record(
        self,
        span: Span,
        stages: Sequence[Span],
        attributes: Mapping[str, Value],
        *,
        parent: TraceContext | None,
        failed: bool,
    ) -> str:
        """Export a request's ``span`` and those of its ``stages``; returns the trace's id.

        Without a ``parent`` it begins a trace. The library's sampler may leave it out.
        """
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

        request = self._tracer.start_span(
            span.name,
            context=_context(parent),
            kind=SpanKind.SERVER,
            attributes=attributes,
            start_time=span.began_ns,
        )
        if request.is_recording():
            within = set_span_in_context(request)
            for stage in stages:
                child = self._tracer.start_span(stage.name, within, start_time=stage.began_ns)
                child.end(stage.ended_ns)
            if failed:
                request.set_status(StatusCode.ERROR)
            request.end(span.ended_ns)
        return f"{request.get_span_context().trace_id:032x}"

    def close(self) -> None:
        """Export what is left, but do not wait long for a collector that does not answer."""
        closing = threading.Thread(target=self._provider.shutdown, name="close spans", daemon=True)
        closing.start()
        closing.join(_CLOSE_S)
        if closing.is_alive():
            log.warning("the collector of spans has not answered for %g s; some are lost", _CLOSE_S)


def _context(parent: TraceContext | None) -> Context:
    from opentelemetry.context import Context
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        TraceState,
        set_span_in_context,
    )

    if parent is None:
        return Context()
    caller = SpanContext(
        int(parent.trace_id, 16),
        int(parent.parent_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(parent.flags),
        trace_state=TraceState.from_header([parent.tracestate]),
    )
    return set_span_in_context(NonRecordingSpan(caller), Context())
