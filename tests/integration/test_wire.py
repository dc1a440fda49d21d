"""Requests and responses on the wire agree with ``/openapi.json``."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from service.app import create_app
from service.ranking.messages import RankRequest
from service.ranking.request import Caller
from service.settings import Settings
from tests.conftest import World
from tests.integration.conftest import Running

Schema = dict[str, Any]


@pytest.fixture(scope="module")
def document(service: Running) -> Schema:
    schema: Schema = service.client.get("/openapi.json").json()
    return schema


@pytest.fixture(scope="module")
def request_schema(document: Schema) -> Schema:
    body = document["paths"]["/rank"]["post"]["requestBody"]
    schema: Schema = body["content"]["application/json"]["schema"]
    return schema


@pytest.fixture(scope="module")
def answer(document: Schema) -> Callable[[int], Draft202012Validator]:
    """Return the validator of the answer documented for a status; it forbids unknown fields."""

    def closed(schema: Any) -> Any:
        if isinstance(schema, list):
            return [closed(entry) for entry in schema]
        if not isinstance(schema, dict):
            return schema
        inner = {name: closed(entry) for name, entry in schema.items()}
        return inner | ({"additionalProperties": False} if "properties" in schema else {})

    components = closed(document["components"])

    def of(status: int) -> Draft202012Validator:
        answers = document["paths"]["/rank"]["post"]["responses"]
        schema = answers[str(status)]["content"]["application/json"]["schema"]
        return Draft202012Validator({**schema, "components": components})

    return of


def _values(schema: Schema) -> Iterator[tuple[Any, bool]]:
    """Yield values at, within and beyond each bound of a field's schema, and their validity."""
    for option in schema.get("anyOf", [schema]):
        match option.get("type"):
            case "null":
                yield None, True
            case None if "enum" in option:
                yield from ((value, True) for value in option["enum"])
                yield "none-of-them", False
            case "string":
                longest, least = option["maxLength"], option.get("minLength", 0)
                yield "x" * longest, True
                yield "é" * longest, True
                yield "x" * (longest + 1), False
                yield "x" * least, True
                if least:
                    yield "", False
            case "integer" | "number" as kind:
                number: Callable[[Any], Any] = int if kind == "integer" else float
                step = number(1) if kind == "integer" else 1e-6
                low = number(option.get("minimum", option.get("exclusiveMinimum")))
                high = number(option["maximum"])
                yield low, "minimum" in option
                yield low - step, False
                yield low + step, True
                yield high, True
                yield high + step, False
                yield "1", False
                yield True, False
                if kind == "integer":
                    yield low + 0.5, False
            case "boolean":
                yield from ((True, True), (False, True), (1, False), ("true", False))
            case "object":
                names = option["properties"]
                for name, of_name in names.items():
                    yield from (({name: value}, valid) for value, valid in _values(of_name))
                yield {}, not option.get("minProperties")
                yield {"none-of-them": 0}, False
                yield dict.fromkeys(names, 0), option["maxProperties"] >= len(names)
                yield "x", False
            case "array":
                yield ["x"] * option["maxItems"], True
                yield ["x"] * (option["maxItems"] + 1), False
                yield [], not option.get("minItems")
                yield "x", False
                yield from (([value], valid) for value, valid in _values(option["items"]))
    if not any(option.get("type") == "null" for option in schema.get("anyOf", [schema])):
        yield None, False


def _assert_refused(service: Running, body: Any, field: str, validator: Any) -> None:
    response = service.client.post("/rank", json=body)
    assert response.status_code == 422, (field, response.text[:200])
    validator(422).validate(response.json())
    error = response.json()["error"]
    assert error["field"].split(".")[0] == field
    assert error["message"].startswith(error["field"])
    assert error["code"] == "invalid_request"


def test_every_documented_bound_holds_on_the_wire(
    service: Running, request_schema: Schema, answer: Callable[[int], Draft202012Validator]
) -> None:
    documented = Draft202012Validator(request_schema)
    fields = request_schema["properties"]
    assert set(fields) == set(RankRequest.__struct_fields__)
    counts: dict[tuple[str, bool], int] = {}
    for field, schema in fields.items():
        for value, valid in _values(schema):
            body = {"user_id": "u", "candidates": ["i0001"], field: value}
            counts[field, valid] = counts.get((field, valid), 0) + 1
            assert documented.is_valid(body) == valid, (field, str(value)[:50])
            if not valid:
                _assert_refused(service, body, field, answer)
            elif field != "model" or value is None:  # any other name is a 404
                response = service.client.post("/rank", json=body)
                assert response.status_code == 200, (field, response.text[:200])
                answer(200).validate(response.json())
    assert all(counts.get((field, valid)) for field in fields for valid in (True, False))


def test_missing_and_unknown_fields_are_refused_as_documented(
    service: Running, request_schema: Schema, answer: Callable[[int], Draft202012Validator]
) -> None:
    documented = Draft202012Validator(request_schema)
    for body, field in (({}, "user_id"), ({"user_id": "u", "tradeof": 1}, "tradeof")):
        assert not documented.is_valid(body)
        _assert_refused(service, body, field, answer)


def test_random_requests_are_answered_as_documented(
    service: Running,
    world: World,
    request_schema: Schema,
    answer: Callable[[int], Draft202012Validator],
) -> None:
    rng, documented = random.Random(11), Draft202012Validator(request_schema)
    ids = [*world.dataset.item_ids, "zz-1", "zz-2", "zz-3"]
    fields: dict[str, Callable[[], Any]] = {
        "history": lambda: rng.sample(ids, rng.randrange(6)),
        "candidates": lambda: rng.choices(ids, k=rng.randrange(1, 80)),
        "titles": lambda: rng.random() < 0.5,
        "tradeoff": rng.random,
        "target": lambda: rng.choice([{"tail_share": 0.4}, {"popularity_percentile": 3}]),
        "top_k": lambda: rng.randrange(1, 60),
        "model": lambda: rng.choice(["toy", "toy@1", "toy@champion"]),
        "exclude": lambda: rng.sample(ids, rng.randrange(20)),
        "explain": lambda: rng.random() < 0.5,
        "format": lambda: rng.choice(["rows", "columns"]),
        "request_id": lambda: "r",
        "deadline_ms": lambda: 5_000,
        "profiling": lambda: rng.random() < 0.5,
        "explore": lambda: rng.random() < 0.5,
    }
    assert set(fields) | {"user_id"} == set(request_schema["properties"])
    for _ in range(80):
        body = {"user_id": rng.choice([*world.dataset.user_ids, "nobody"])}
        body |= {field: make() for field, make in fields.items() if rng.random() < 0.5}
        if "target" in body:
            body.pop("tradeoff", None)
        documented.validate(body)
        wire = service.rank(**body)
        answer(200).validate(wire)
        _assert_formats_agree(service, body, wire)


def _assert_formats_agree(service: Running, body: dict[str, Any], wire: dict[str, Any]) -> None:
    """Assert that both formats of a ranking hold the same values."""
    columns = (
        wire if body.get("format") == "columns" else service.rank(**{**body, "format": "columns"})
    )["items"]
    rows = service.rank(**{**body, "format": "rows"})["items"]
    for name, column in (
        ("item_id", "item_ids"),
        ("rank", "ranks"),
        ("score", "scores"),
        ("status", "status"),
    ):
        assert [row[name] for row in rows] == columns[column]
    assert ("explain" in columns) == bool(body.get("explain"))
    for end, at in columns.get("explain", {}).items():
        explained = [row["explain"][end] if "explain" in row else None for row in rows]
        assert [entry and entry["score"] for entry in explained] == at["scores"]
        assert [entry and entry["rank"] for entry in explained] == at["ranks"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'{"user_id": "\xff"}', b"null"])
def test_a_body_that_is_no_json_object_is_refused_as_documented(
    service: Running, body: bytes, answer: Callable[[int], Draft202012Validator]
) -> None:
    response = service.client.post("/rank", content=body)
    assert response.status_code == 422
    answer(422).validate(response.json())


@pytest.mark.parametrize("body", [b'{"user_id": "u", "request_id": "r"}', b'{"user_id": 3}'])
def test_both_ways_into_the_route_answer_alike(body: bytes) -> None:
    """Under a root path FastAPI's route serves, elsewhere the fast path."""

    class Echo:
        async def rank(
            self, request: RankRequest, request_id: str, _: Caller, **_options: bool
        ) -> dict[str, str]:
            return {"user_id": request.user_id, "request_id": request_id}

    app = create_app(Settings())
    app.state.ranker = Echo()

    async def post(root_path: str) -> tuple[int, dict[str, Any]]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": f"{root_path}/rank",
            "root_path": root_path,
            "headers": [],
            "query_string": b"",
        }
        await app(scope, receive, send)
        answer = json.loads(b"".join(message.get("body", b"") for message in sent))
        answer.get("error", {}).pop("request_id", None)
        return sent[0]["status"], answer

    direct, framework = asyncio.run(post("")), asyncio.run(post("/v1"))
    assert direct == framework
    assert direct[0] == (200 if b'"u"' in body else 422)
