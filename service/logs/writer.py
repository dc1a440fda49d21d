"""Writes the log from a thread of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time

MOST_PENDING_BYTES = 1 << 22
_GATHER_S = 0.02
_FLUSH_S = 2.0


class Writer(logging.Handler):
    """Writes lines to a file descriptor, in batches, without making their authors wait.

    A pipe that nobody reads, or a slow disk, would otherwise stop the event loop. Beyond
    ``MOST_PENDING_BYTES`` lines are lost; the log then says how many. A kill loses the lines of the
    last 20 ms. ``logging.handlers.QueueListener`` costs more than a direct write: it wakes its
    thread for each record.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._guard = threading.Lock()
        self._lines: list[str] = []
        self._bytes = self._lost = 0
        self._wake, self._idle = threading.Event(), threading.Event()
        self._idle.set()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take the record's line."""
        try:
            line = self.format(record)
        except Exception:  # a record that cannot be formatted is a defect of its author
            self.handleError(record)
            return
        with self._guard:
            if self._bytes > MOST_PENDING_BYTES:
                self._lost += 1
                return
            self._lines.append(line)
            self._bytes += len(line)
            if self._idle.is_set():
                self._idle.clear()
                self._wake.set()

    def flush(self) -> None:
        """Wait until all lines are written, but not for a reader that does not read."""
        self._idle.wait(_FLUSH_S)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(_GATHER_S)
            with self._guard:
                self._wake.clear()
                lines, self._lines = self._lines, []
            self._write("\n".join(lines) + "\n")
            with self._guard:
                lost, self._lost = self._lost, 0
                self._bytes = sum(map(len, self._lines))
            if lost:
                text = "%d lines of the log were lost: standard error was not read"
                self.emit(logging.LogRecord(__name__, logging.WARNING, "", 0, text, (lost,), None))
            with self._guard:
                if self._lines:
                    self._wake.set()
                else:
                    self._idle.set()

    def _write(self, text: str) -> None:
        data = memoryview(text.encode(errors="backslashreplace"))
        with contextlib.suppress(OSError):  # nobody can read why
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:  # whoever shares the descriptor has made it so
                    select.select([], [self._descriptor], [])
