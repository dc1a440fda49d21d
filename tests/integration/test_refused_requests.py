"""Requests that are refused: status, field and message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.contract.keys import MAX_ID_CHARS
from service.ranking.messages import MAX_CANDIDATES
from tests.integration.conftest import Running


@pytest.mark.parametrize("model", ["toy@2", "toy@challenger", "other", "@", "../toy@1"])
def test_a_model_that_is_not_loaded_is_404(service: Running, model: str) -> None:
    response = service.client.post("/rank", json={"user_id": "u", "model": model})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (
        404,
        "model_not_found",
        "model",
    )
    assert "toy@1" in error["message"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"user_id": ""}, "user_id"),
        ({"user_id": "u" * (MAX_ID_CHARS + 1)}, "user_id"),
        ({"user_id": 7}, "user_id"),
        ({"user_id": None}, "user_id"),
        ({"tradeoff": 1.01}, "tradeoff"),
        ({"tradeoff": -0.01}, "tradeoff"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 1001}, "top_k"),
        ({"candidates": []}, "candidates"),
        ({"candidates": ["i"] * (MAX_CANDIDATES + 1)}, "candidates"),
        ({"candidates": ["i", "x" * (MAX_ID_CHARS + 1)]}, "candidates.1"),
        ({"history": ["i"] * 501}, "history"),
        ({"exclude": [""]}, "exclude.0"),
        ({"context": {}}, "context"),
        ({"deadline_ms": 0}, "deadline_ms"),
        ({"tradeof": 0.5}, "tradeof"),
    ],
)
def test_a_bad_field_is_422_and_named(service: Running, change: dict[str, Any], field: str) -> None:
    response = service.client.post("/rank", json={"user_id": "u", **change})
    error = response.json()["error"]
    assert (response.status_code, error["field"]) == (422, field)
    assert error["message"].startswith(field)
    assert error["request_id"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff\xfe", b'{"user_id": "u", "tradeoff": NaN}']
)
def test_a_body_that_is_no_request_is_422(service: Running, body: bytes) -> None:
    response = service.client.post("/rank", content=body)
    assert response.status_code == 422
    assert response.json()["error"]["field"] in ("body", "tradeoff")


@pytest.mark.parametrize("chunked", [True, False])
def test_a_long_body_is_413(service: Running, chunked: bool) -> None:
    body = json.dumps({"user_id": "u", "exclude": ["x" * 100] * 12_000}).encode()
    content: Any = (body[i : i + 65536] for i in range(0, len(body), 65536)) if chunked else body
    response = service.client.post("/rank", content=content)
    assert response.status_code == 413
    assert response.json()["error"]["field"] == "body"
