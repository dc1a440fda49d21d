"""Errors of a body name the field at fault."""

from __future__ import annotations

import json

import pytest

from service.api.rank import parse
from service.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({}, "user_id", "Object missing required field `user_id`"),
        ({"tradeof": 1}, "tradeof", "Object contains unknown field `tradeof`"),
        ({"user_id": "u", "tradeoff": 1.5}, "tradeoff", "Expected `float` <= 1.0"),
        ({"user_id": "u", "history": ["a", 3]}, "history.1", "Expected `str`, got `int`"),
        ([], "body", "Expected `object`, got `array`"),
    ],
)
def test_the_field_at_fault_is_named(body: object, field: str, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse(json.dumps(body).encode())
    assert caught.value.field == field
    assert caught.value.message == f"{field}: {message}"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"user_id": "\xff"}', rb'{"user_id": "\ud800"}', b'{"user_id": "u"} {}'],
)
def test_a_body_that_is_not_json_is_itself_at_fault(body: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse(body)
    assert caught.value.field == "body"


def test_defaults_are_not_shared() -> None:
    first, second = parse(b'{"user_id": "a"}'), parse(b'{"user_id": "b"}')
    first.exclude.append("x")
    assert second.exclude == []


def test_without_profiling_nothing_of_the_user_is_left() -> None:
    body = {"user_id": "u", "history": ["a"], "profiling": False}
    request = parse(json.dumps(body).encode())
    assert (request.user_id, request.history) == ("", [])
    assert parse(json.dumps({**body, "profiling": True}).encode()).user_id == "u"
