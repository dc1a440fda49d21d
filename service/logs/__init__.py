"""The log: where it is written, in which format, and how often a message may repeat."""

from __future__ import annotations

import logging

from service.logs.formats import FORMATTERS
from service.logs.repeats import RepeatLimit
from service.logs.writer import Writer

_STANDARD_ERROR = 2  # the descriptor; sys.stderr need not have one


def configure(level: str, form: str, repeats: int) -> None:
    """Log to standard error what is at ``level`` or above.

    ``form`` is text or json; a message passes at most ``repeats`` times per interval.
    """
    skip_details()
    handler = Writer(_STANDARD_ERROR)
    handler.setFormatter(FORMATTERS[form]())
    handler.addFilter(RepeatLimit(repeats))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def skip_details() -> None:
    """Leave out of records what no format shows; finding it costs as much as formatting a line."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # the documented way to skip the caller


def flush() -> None:
    """Wait, within a bound, until all lines are written."""
    for handler in logging.getLogger().handlers:
        handler.flush()
