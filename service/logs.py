"""The log: one line a record, whatever a request contains."""

from __future__ import annotations

import logging
from types import TracebackType

from service.errors import printable

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class OneLineFormatter(logging.Formatter):
    """Escapes what is not printable and indents tracebacks, so that no text forges a line."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Return the record's line."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: _Raised) -> str:  # noqa: N802  # logging's name
        """Return the traceback, each line indented."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  {printable(line)}" for line in lines)


def configure(level: str) -> None:
    """Log to standard error what is at ``level`` or above."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
