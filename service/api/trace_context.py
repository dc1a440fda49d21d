"""The ids that a request brings along: ``X-Request-ID`` and W3C's trace context."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from service.contract.keys import MAX_ID_CHARS
from service.tracing import TraceContext

REQUEST_ID = b"x-request-id"
TRACEPARENT = b"traceparent"

_TRACESTATE = b"tracestate"
_TRACEPARENT_FORM = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def read(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, TraceContext | None]:
    """Return the request's id and its trace context, None without a valid one.

    An id that is not printable ASCII or too long is replaced by a new one.
    """
    request_id, traceparents, states = None, [], []
    for name, value in headers:
        if name == REQUEST_ID:
            request_id = request_id or _request_id(value)
        elif name == TRACEPARENT:
            traceparents.append(value)
        elif name == _TRACESTATE:
            states.append(value)
    trace = _trace(traceparents[0], states) if len(traceparents) == 1 else None
    return request_id or os.urandom(16).hex(), trace


def answer_headers(state: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer: the request's id, and the trace that it belongs to."""
    headers = [(REQUEST_ID, header_value(state["request_id"]))]
    if (trace := state["trace"]) is not None:
        headers.append((TRACEPARENT, trace.traceparent))
    return headers


def header_value(request_id: str) -> bytes:
    """Return a request's id for a header: percent-encoded where it is not printable ASCII."""
    if request_id.isascii() and request_id.isprintable():
        return request_id.encode()
    return urllib.parse.quote(request_id, safe=_PRINTABLE).encode()


def _request_id(value: bytes) -> str | None:
    text = value.decode("latin-1")
    valid = 0 < len(text) <= MAX_ID_CHARS and text.isascii() and text.isprintable()
    return text if valid else None


def _trace(traceparent: bytes, states: list[bytes]) -> TraceContext | None:
    """Return the context of a ``traceparent``; None if the standard says to ignore it."""
    match = _TRACEPARENT_FORM.fullmatch(traceparent)
    if match is None:
        return None
    version, trace_id, parent_id, flags, rest = match.groups()
    if version == b"ff" or (version == b"00" and rest):
        return None
    if not trace_id.strip(b"0") or not parent_id.strip(b"0"):
        return None
    return TraceContext(
        traceparent,
        trace_id.decode(),
        parent_id.decode(),
        int(flags, 16),
        b",".join(states).decode("latin-1"),
    )
