"""Unit tests do no input or output: a test that touches files, sockets or processes fails."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# Python and its libraries may load themselves; the kernel's own files are not input.
_READABLE = (sys.prefix, sys.base_prefix, "/dev/", "/proc/", "/sys/", "/usr/", "/etc/")
_PACKAGES = tuple(str(ROOT / package) for package in ("service", "training", "tests"))
_FORBIDDEN = ("socket.connect", "socket.bind", "subprocess.Popen", "os.mkdir", "os.remove")
_PROBES = ("lscpu", "torchinductor")  # libraries look at the machine once a process
_WRITING = set("wax+")


class _Watch:
    """Records the input and output of the running test; servers in other threads do not count."""

    def __init__(self) -> None:
        self.seen: list[str] | None = None
        self.thread = threading.get_ident()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.seen is None or threading.get_ident() != self.thread:
            return
        if event in _FORBIDDEN and not any(probe in str(arguments[0]) for probe in _PROBES):
            self.seen.append(f"{event} {arguments[0]}")
        elif event == "open" and not _is_loading(arguments[0], arguments[1]):
            self.seen.append(f"open {arguments[0]}")


def _is_loading(path: object, mode: object) -> bool:
    """Return whether Python opens a file of its own: code and data of installed packages."""
    if isinstance(path, int):  # a descriptor: its file was opened before
        return True
    name = path.decode() if isinstance(path, bytes) else str(path)
    if isinstance(mode, str) and _WRITING & set(mode):
        return name.startswith("/dev/") or name.endswith(".pyc") or "__pycache__" in name
    return name.startswith((*_READABLE, *_PACKAGES)) or ".egg-info" in name


_watch = _Watch()
sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def no_input_or_output() -> Iterator[None]:
    """Fail a test that opens files, connects, or starts a process."""
    seen: list[str] = []
    _watch.seen, _watch.thread = seen, threading.get_ident()
    yield
    _watch.seen = None
    assert not seen, f"a unit test did input or output: {seen[:3]}; move it to tests/integration"
