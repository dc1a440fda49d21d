"""A record is one line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from typing import Any

import pytest

from service.logs.formats import JsonFormatter, Line, OneLineFormatter


def _record(message: str, error: bool = False) -> logging.LogRecord:
    raised = sys.exc_info() if error else None
    return logging.LogRecord("n", logging.INFO, "f", 1, "%s", (message,), raised)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a\nb", "a\\nb"),
        ("a\r\tb", "a\\r\\tb"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x85\u2028\u202e", "\\x85\\u2028\\u202e"),
        ("\ud800", "\\ud800"),
        ("caf\u00e9 \u4e16", "caf\u00e9 \u4e16"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, escaped: str) -> None:
    line = OneLineFormatter().format(_record(text))
    assert line.endswith(f" INFO n: {escaped}")


def test_a_traceback_is_indented() -> None:
    try:
        raise ValueError("no\n2026-01-01 00:00:00,000 INFO root: forged")
    except ValueError:
        text = OneLineFormatter().format(_record("failed", error=True))
    first, *rest = text.split("\n")
    assert first.endswith("failed")
    assert len(rest) > 3
    assert all(line.startswith("  ") for line in rest)


def _json(record: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter().format(record)
    assert line.isprintable()
    entry: dict[str, Any] = json.loads(line)
    return entry


@pytest.mark.parametrize(
    "text", ["a\nb", "\r\x1b[31m", "\x7f\x85\u2028\u202e", "\U000e0001", "caf\u00e9 \u4e16", '"{}"']
)
def test_json_is_one_printable_line_and_keeps_the_text(text: str) -> None:
    entry = _json(_record(text))
    assert entry["message"] == text
    assert (entry["level"], entry["logger"]) == ("INFO", "n")
    assert datetime.fromisoformat(entry["time"]).tzinfo is not None


def test_json_keeps_half_of_a_surrogate_pair() -> None:
    assert _json(_record("\ud800\n"))["message"] == "\ud800\n"


def test_a_traceback_in_json_is_a_field() -> None:
    try:
        raise ValueError("no\nforged")
    except ValueError:
        entry = _json(_record("failed", error=True))
    assert entry["exception"].endswith("ValueError: no\nforged")


class _Sold(Line, omit_defaults=True, kw_only=True):
    item: str
    price: float | None = None
    sizes: list[str] | None = None

    @property
    def title(self) -> str:
        return "sold"


def _line(message: object) -> logging.LogRecord:
    return logging.LogRecord("n", logging.INFO, "f", 1, message, None, None)


def test_fields_of_a_line() -> None:
    sold = _line(_Sold(item='a "b"\nc', price=0.5, sizes=["s", "m"]))
    text = OneLineFormatter().format(sold)
    assert text.endswith(r' INFO n: sold {"item":"a \"b\"\nc","price":0.5,"sizes":["s","m"]}')
    entry = _json(sold)
    assert entry["message"] == "sold"
    assert (entry["item"], entry["price"], entry["sizes"]) == ('a "b"\nc', 0.5, ["s", "m"])
    assert "price" not in _json(_line(_Sold(item="x")))


@pytest.mark.parametrize("value", ["", "x\x1b\x85", "\ud800", '"} {"price":2'])
def test_a_field_forges_no_other(value: str) -> None:
    text = OneLineFormatter().format(_line(_Sold(item=value, price=1.0)))
    assert text.isprintable()
    assert json.loads(text.partition(" sold ")[2]) == {"item": value, "price": 1.0}
