"""``clients/openapi.json`` is the document of the code, and says what everything in it means."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FILE = ROOT / "clients" / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(FILE.read_text())
    return document


def test_the_file_is_what_the_code_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "tools")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    tool = importlib.import_module("openapi")
    assert FILE.read_text() == tool.document(), "run make openapi"


def _objects(name: str, schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each schema that has fields, those within other schemas included."""
    if isinstance(schema, dict):
        if "properties" in schema and isinstance(schema["properties"], dict):
            yield name, schema
        for key, value in schema.items():
            yield from _objects(f"{name}.{key}", value)
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            yield from _objects(f"{name}.{number}", value)


def test_every_field_has_a_meaning(document: dict[str, Any]) -> None:
    objects = list(_objects("", document))
    assert len(objects) > 30
    meaningless = [
        f"{name}: {field}"
        for name, schema in objects
        for field, value in schema["properties"].items()
        if not value.get("description")
    ]
    assert not meaningless


def test_every_object_operation_parameter_and_answer_has_a_meaning(
    document: dict[str, Any],
) -> None:
    parts = dict(document["components"]["schemas"])
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            label = f"{method} {path}"
            parts[label] = operation
            assert operation["summary"]
            for parameter in operation.get("parameters", ()):
                parts[f"{label} {parameter['name']}"] = parameter
            for status, answer in operation["responses"].items():
                parts[f"{label} {status}"] = answer
    texts = {name: part.get("description") for name, part in parts.items()}
    assert [name for name, text in texts.items() if text in (None, "", "Successful Response")] == []
