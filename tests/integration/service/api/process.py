"""The service as a process."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.integration.conftest import until
from tests.integration.service.api.wire import Wire, connected, get


@dataclass
class Process:
    process: subprocess.Popen[str]
    port: int
    admin_port: int  # ``port`` unless the settings name one

    def stop(self) -> None:
        """Signal the service to stop, and wait until it accepts no more connections."""
        self.process.send_signal(signal.SIGTERM)
        until(lambda: not _accepts(self.port))

    def end(self) -> str:
        """Wait for the end; returns the rest of the log."""
        _, log = self.process.communicate(timeout=30)
        return log


@contextlib.contextmanager
def serving(
    models: Path, program: Sequence[str] = (sys.executable, "-m", "service"), **settings: str
) -> Iterator[Process]:
    environment = {**os.environ, "RANK_PORT": "0", "RANK_MODELS_DIR": str(models), **settings}
    process = subprocess.Popen(program, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        lines = iter(process.stderr.readline, "")
        port = admin_port = _listened_to(lines)
        if "RANK_ADMIN_PORT" in settings:
            admin_port = _listened_to(lines)
        with connected(port) as wire:
            assert wire.ask(get("/livez")).status == 200
        yield Process(process, port, admin_port)
    finally:
        process.kill()
        process.communicate()


def _listened_to(lines: Iterator[str]) -> int:
    matches = (re.search(r"http://[^, ]+:(\d+)", line) for line in lines)
    return next(int(match[1]) for match in matches if match)


def _accepts(port: int) -> bool:
    try:
        Wire(port).close()
    except OSError:
        return False
    return True
