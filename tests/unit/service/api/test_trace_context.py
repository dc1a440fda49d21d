"""Ids of callers are taken where they are valid, and never break a header."""

from __future__ import annotations

import pytest

from service.api.trace_context import answer_headers, read

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01".encode()


@pytest.mark.parametrize("value", [b"b7e2", b"x" * 128, b"a b/c:1"])
def test_an_id_is_taken(value: bytes) -> None:
    assert read([(b"host", b"h"), (b"x-request-id", value)])[0] == value.decode()


@pytest.mark.parametrize("value", [b"", b"x" * 129, b"a\tb", b"caf\xe9", b"\x7f"])
def test_an_id_that_is_not_printable_or_too_long_is_replaced(value: bytes) -> None:
    made = read([(b"x-request-id", value)])[0]
    assert len(made) == 32
    assert made != read([])[0]


@pytest.mark.parametrize(
    "value", [VALID, VALID[:-2] + b"00", b"cc" + VALID[2:], b"cc" + VALID[2:] + b"-what-may-come"]
)
def test_a_valid_trace_context_is_taken(value: bytes) -> None:
    request_id, trace = read(
        [(b"traceparent", value), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")]
    )
    assert trace is not None
    assert (trace.trace_id, trace.parent_id, trace.tracestate) == (TRACE, PARENT, "a=1,b=2")
    assert trace.flags == int(value[53:55], 16)
    headers = dict(answer_headers({"request_id": request_id, "trace": trace}))
    assert headers[b"traceparent"] == value


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"ff" + VALID[2:],
        VALID + b"-more",
        VALID.upper(),
        VALID[:-1],
        b"cc" + VALID[2:] + b".more",
        VALID.replace(TRACE.encode(), b"0" * 32),
        VALID.replace(PARENT.encode(), b"0" * 16),
        VALID.replace(b"4b", b"4x"),
    ],
)
def test_a_malformed_trace_context_is_ignored(value: bytes) -> None:
    assert read([(b"traceparent", value), (b"tracestate", b"a=1")])[1] is None


def test_two_trace_contexts_are_none() -> None:
    assert read([(b"traceparent", VALID), (b"traceparent", VALID)])[1] is None


@pytest.mark.parametrize(
    ("request_id", "value"),
    [
        ("b7e2", b"b7e2"),
        ("x\r\nSet-Cookie: a", b"x%0D%0ASet-Cookie: a"),
        ("\u4e16 5%", b"%E4%B8%96 5%25"),
    ],
)
def test_the_header_of_an_answer_is_one_line(request_id: str, value: bytes) -> None:
    assert answer_headers({"request_id": request_id, "trace": None}) == [(b"x-request-id", value)]
