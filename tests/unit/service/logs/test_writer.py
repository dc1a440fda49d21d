"""Lines are written in order, and those that find no room are counted."""

from __future__ import annotations

import logging
import os

import pytest

from service.logs import writer
from service.logs.formats import OneLineFormatter
from service.logs.writer import Writer


def _record(text: str) -> logging.LogRecord:
    return logging.LogRecord("n", logging.INFO, "f", 1, text, None, None)


def test_lines_arrive_in_order() -> None:
    read, write = os.pipe()
    handler = Writer(write)
    for number in range(100):
        handler.handle(_record(f"line {number}"))
    handler.flush()
    assert os.read(read, 1 << 16).decode() == "".join(f"line {n}\n" for n in range(100))


def test_lines_without_room_are_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MOST_PENDING_BYTES", 10_000)
    monkeypatch.setattr(writer, "_FLUSH_S", 0.05)
    read, write = os.pipe()
    handler = Writer(write)
    handler.setFormatter(OneLineFormatter())
    handler.handle(_record("x" * 100_000))  # more than the pipe holds: its thread waits
    handler.flush()
    for _ in range(100):
        handler.handle(_record("y" * 1_000))
    text = b""
    while b"were lost" not in text:
        text += os.read(read, 1 << 16)
    kept = text.count(b"y" * 1_000)
    assert kept < 100
    assert b"%d lines of the log were lost: standard error was not read" % (100 - kept) in text
