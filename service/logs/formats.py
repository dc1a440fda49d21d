"""The formats of the log: one line a record, whatever a request contains."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from service.errors import printable

_encode = msgspec.json.Encoder().encode


class Line(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A message with fields, which are JSON in every format: ``log.info(line)``.

    Fields at their default are left out.
    ``repeats`` is equal for lines of which ``RepeatLimit`` lets a few pass; None: all pass.
    """

    @property
    def repeats(self) -> str | None:
        """What a repeated line has in common with the one before."""
        return None

    @property
    def title(self) -> str:
        """The line without its fields."""
        raise NotImplementedError

    def fields(self) -> dict[str, Any]:
        """Return the fields that are set."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields

    def __str__(self) -> str:
        return f"{self.title} {_one_line(self)}"


class OneLineFormatter(logging.Formatter):
    """Escapes what is not printable and indents tracebacks, so that no text forges a line."""

    def __init__(self) -> None:
        super().__init__()
        self._second, self._stamp = 0, ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, and the indented lines of its traceback."""
        head = f"{self._time(record)} {record.levelname} {record.name}"
        line = printable(f"{head}: {record.getMessage()}")
        if note := getattr(record, "note", None):
            line += f" [{note}]"
        if not record.exc_info:
            return line
        traceback = self.formatException(record.exc_info).split("\n")
        return "\n".join([line, *(f"  {printable(each)}" for each in traceback)])

    def _time(self, record: logging.LogRecord) -> str:
        """Return the record's local time; the text of a second is made once."""
        if (second := int(record.created)) != self._second:
            self._second = second
            self._stamp = self.formatTime(record, self.default_time_format)
        return f"{self._stamp},{int(record.msecs):03}"


class JsonFormatter(logging.Formatter):
    """One JSON object a record, on one line of printable text; a traceback is its ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
        }
        if isinstance(record.msg, Line):
            entry["message"] = record.msg.title
            entry |= record.msg.fields()
        else:
            entry["message"] = record.getMessage()
        if note := getattr(record, "note", None):
            entry["note"] = note
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _one_line(entry)


FORMATTERS = {"text": OneLineFormatter, "json": JsonFormatter}


def _one_line(entry: Line | dict[str, Any]) -> str:
    """Return the JSON of ``entry`` with escapes for what is not printable."""
    try:
        text = _encode(entry).decode()
    except UnicodeEncodeError:  # half of a surrogate pair
        text = json.dumps(entry.fields() if isinstance(entry, Line) else entry, default=str)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
