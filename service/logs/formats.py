"""The formats of the log: one line a record, whatever a request contains."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import msgspec

from service.errors import printable

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

_encode = msgspec.json.Encoder().encode


class Line(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A message with fields: ``log.info(line)``. Fields at their default are left out.

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
        return f"{self.title} {' '.join(f'{k}={_text(v)}' for k, v in self.fields().items())}"


class OneLineFormatter(logging.Formatter):
    """Escapes what is not printable and indents tracebacks, so that no text forges a line."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Return the record's line."""
        line = printable(super().formatMessage(record))
        note = getattr(record, "note", None)
        return f"{line} [{note}]" if note else line

    def formatException(self, ei: _Raised) -> str:  # noqa: N802  # logging's name
        """Return the traceback, each line indented."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  {printable(line)}" for line in lines)


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


def _text(value: object) -> str:
    """Return a value as one word; what is no word stands in quotation marks."""
    match value:
        case float():
            return f"{value:g}"
        case list():
            value = ",".join(value)
    text = str(value)
    return text if text and not _NO_WORD.intersection(text) else json.dumps(text)


_NO_WORD = frozenset(' "=')


def _one_line(entry: dict[str, Any]) -> str:
    """Return the JSON of ``entry`` with escapes for what is not printable."""
    try:
        text = _encode(entry).decode()
    except UnicodeEncodeError:  # half of a surrogate pair
        text = json.dumps(entry, default=str)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
