"""``POST /rank`` takes any body: a valid request, or an error of bounded length."""

from __future__ import annotations

import json

import msgspec
from hypothesis import example, given

from service.api.rank import parse
from service.errors import InvalidRequestError
from service.ranking.messages import REQUEST_EXAMPLE, RankRequest
from tests.fuzz.damage import VALUES, damaged_json

EVERY_FIELD = {
    **REQUEST_EXAMPLE,
    "history": ["i0004"],
    "model": "cp2rec@1",
    "exclude": ["i0005"],
    "explain": True,
    "format": "columns",
    "request_id": "b7e2",
    "deadline_ms": 10.5,
}
MAX_MESSAGE = 300  # characters

bodies = damaged_json(EVERY_FIELD) | VALUES.map(lambda value: json.dumps(value).encode())


@given(bodies)
@example(b'{"user_id": "u", "' + b"x" * 5000 + b'": 1}')
@example(b'{"user_id": "u", "a\\nb": 1}')
@example(b'{"user_id": "u", "candidates": ["a", 1], "\\ud800": 1}')
@example(b"[" * 5000)
@example(b'{"user_id": "u", "tradeoff": 1e999}')
def test_any_body_is_a_request_or_one_line(body: bytes) -> None:
    try:
        request = parse(body)
    except InvalidRequestError as error:
        assert error.field
        assert len(error.field) <= MAX_MESSAGE
        assert len(error.message) <= MAX_MESSAGE
        assert error.message.isprintable()
        msgspec.json.encode(error.body("b7e2"))
    else:
        assert parse(msgspec.json.encode(request)) == request
        assert isinstance(request, RankRequest)
