"""An answer, in both formats, and its documented schema agree."""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from service.catalog.item_table import Pool
from service.contract.titles import ItemTitle
from service.ranking.items import (
    Columns,
    ItemColumns,
    RankedPool,
    add_titles,
    as_columns,
    as_rows,
)
from service.ranking.messages import Degraded, RankResponse, response_schemas
from service.ranking.request import Clock
from service.store.limit import Limit
from service.telemetry import Telemetry
from service.telemetry.rankings import STAGES

Format = Literal["rows", "columns"]

LOGITS = np.array([0.5, 2.0, 1.0], np.float32)  # of a, b, c; b is the best, then c
POOL = Pool(["a", "b", "c"], np.zeros((64, 4), np.float32), np.array([False, True, False]))


OPTIONAL = {
    "explain", "title", "picture", "link", "titles", "pictures", "links", "explored", "rank", "arm",
    "tradeoff_from", "target_missed",
}  # fmt: skip


def _ranked(logits: np.ndarray[Any, np.dtype[np.float32]], scores: list[float]) -> RankedPool:
    return RankedPool(POOL, np.array([1, 2]), ["x", "y"], logits, np.array(scores))


def _columns(explain: bool, *, titles: bool = False) -> Columns:
    ends = [_ranked(-LOGITS, [0.1, 0.2]), _ranked(LOGITS[[0, 2, 1]], [0.3, 0.4])]
    columns = as_columns(_ranked(LOGITS, [0.9, 0.8]), ends if explain else [])
    if titles:
        add_titles(columns, [ItemTitle("A coat", link="/7"), None, ItemTitle("B"), None])
    return columns


def _answer(format_: Format, explain: bool, *, titles: bool = False) -> dict[str, Any]:
    """Encode an answer and read it back."""
    columns = _columns(explain, titles=titles)
    clock = Clock(None, Limit(1.0))
    for stage in STAGES:
        clock.lap(stage)
    answer = RankResponse(
        request_id="r",
        model="toy@1",
        tradeoff=0.5,
        items=ItemColumns(**columns) if format_ == "columns" else as_rows(columns),
        degraded=list(Degraded),
        timing_ms=clock.finish(Telemetry()),
    )
    read: dict[str, Any] = json.loads(msgspec.json.encode(answer))
    return read


def _closed(schema: Any) -> Any:
    """Return ``schema`` with every field required and no other allowed, ``explain`` apart."""
    if isinstance(schema, list):
        return [_closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(entry) for name, entry in schema.items()}
    if "properties" in schema:
        assert set(schema["properties"]) - set(schema["required"]) <= OPTIONAL
        closed["additionalProperties"] = False
    return closed


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    return response_schemas("#/$defs/{name}")


@pytest.mark.parametrize("explain", [True, False])
@pytest.mark.parametrize("format_", ["rows", "columns"])
def test_an_answer_is_what_is_documented(
    schemas: dict[str, Any], format_: Format, explain: bool
) -> None:
    answer = _answer(format_, explain)

    Draft202012Validator({"$ref": "#/$defs/RankResponse", "$defs": _closed(schemas)}).validate(
        answer
    )
    items = answer["items"]
    explained = items if format_ == "columns" else items[0]
    assert ("explain" in explained) == explain


def test_every_field_is_described(schemas: dict[str, Any]) -> None:
    assert {"RankResponse", "RankedItem", "ItemColumns", "EndPoint", "Timing"} <= set(schemas)
    for name, schema in schemas.items():
        assert schema["description"]
        for field, entry in schema.get("properties", {}).items():
            assert entry.get("description"), f"{name}.{field} is not described"


def test_columns_hold_the_best_then_the_missing_items() -> None:
    items = _answer("columns", explain=True)["items"]

    assert items == {
        "item_ids": ["b", "c", "x", "y"],
        "ranks": [1, 2, 3, 4],
        "scores": [0.9, 0.8, None, None],
        "status": ["cold", "ok", "missing", "missing"],
        "explain": {
            "debiased": {"scores": [0.1, 0.2, None, None], "ranks": [3, 2, None, None]},
            "logged": {"scores": [0.3, 0.4, None, None], "ranks": [2, 1, None, None]},
        },
    }


def test_rows_hold_the_same_and_explain_no_missing_item() -> None:
    items = _answer("rows", explain=True)["items"]

    assert items == [
        {
            "item_id": "b",
            "rank": 1,
            "score": 0.9,
            "status": "cold",
            "explain": {
                "debiased": {"score": 0.1, "rank": 3},
                "logged": {"score": 0.3, "rank": 2},
            },
        },
        {
            "item_id": "c",
            "rank": 2,
            "score": 0.8,
            "status": "ok",
            "explain": {
                "debiased": {"score": 0.2, "rank": 2},
                "logged": {"score": 0.4, "rank": 1},
            },
        },
        {"item_id": "x", "rank": 3, "score": None, "status": "missing"},
        {"item_id": "y", "rank": 4, "score": None, "status": "missing"},
    ]
    assert [list(item) for item in items[2:]] == [["item_id", "rank", "score", "status"]] * 2


@pytest.mark.parametrize("explain", [True, False])
def test_titles_stand_beside_the_items_in_both_formats(
    schemas: dict[str, Any], explain: bool
) -> None:
    rows = _answer("rows", explain, titles=True)
    columns = _answer("columns", explain, titles=True)["items"]

    assert rows["items"][0]["title"] == "A coat"
    assert rows["items"][0]["link"] == "/7"
    assert [row.get("title") for row in rows["items"]] == columns["titles"]
    assert columns["titles"] == ["A coat", None, "B", None]
    assert columns["pictures"] == [None] * 4
    assert columns["links"] == ["/7", None, None, None]
    assert ("explain" in rows["items"][0]) == explain
    document = {"$ref": "#/$defs/RankResponse", "$defs": _closed(schemas)}
    Draft202012Validator(document).validate(rows)
