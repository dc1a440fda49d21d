"""A record is one line."""

from __future__ import annotations

import logging
import sys

import pytest

from service.logs import OneLineFormatter


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
