"""A limit on lines that repeat."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from service.logs.formats import Line

INTERVAL_S = 10.0
_MOST_MESSAGES = 1000  # texts without a template are new messages each time


class RepeatLimit(logging.Filter):
    """Lets a message pass ``most`` times in ``INTERVAL_S``; says where lines were left out.

    A message is a logger's text before its arguments are put in, at one level. A ``Line`` repeats
    by its own word.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._most = most
        self._clock = clock
        self._messages: dict[tuple[str, int, str], _Count] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record passes; add a ``note`` to one next to a gap."""
        message = record.msg
        repeats = message.repeats if isinstance(message, Line) else str(message)
        if repeats is None:
            return True
        key = (record.name, record.levelno, repeats)
        now = self._clock()
        count = self._messages.get(key)
        if count is None or now >= count.ends_at:
            left_out = 0 if count is None else max(0, count.seen - self._most)
            if len(self._messages) >= _MOST_MESSAGES:
                self._messages.clear()
            count = self._messages[key] = _Count(now + INTERVAL_S)
            if left_out:
                record.note = f"{left_out} like this were left out"
        count.seen += 1
        if count.seen == self._most:
            record.note = f"more like this are left out for {count.ends_at - now:.0f} s"
        return count.seen <= self._most


class _Count:
    """How often a message was seen in its interval."""

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at
        self.seen = 0
