"""What is made once a test run, by the worker that needs it first, and read by the others."""

from __future__ import annotations

import fcntl
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """Return ``make(folder)``, of which every worker gets a copy; no test may change the folder.

    ``name`` is one of the whole run. Workers that come while it is made wait for it.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # of all workers
    made = root / f"{name}.pickle"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=root))
            content = pickle.dumps(make(folder))
            made.write_bytes(content)
    result: T = pickle.loads(made.read_bytes())
    return result
