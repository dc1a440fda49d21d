"""The service with a wall clock that a file moves: ``python -m tests.chaos.clocked``.

The file that ``CHAOS_CLOCK`` names holds the clock's offset in seconds. libfaketime would do for
all of the process, but it breaks ``time.sleep``.
"""

from __future__ import annotations

import os
import runpy
import time
from pathlib import Path

_time = time.time
_offset = Path(os.environ["CHAOS_CLOCK"])


def _moved() -> float:
    return _time() + float(_offset.read_text())


time.time = _moved  # before the service imports it
runpy.run_module("service", run_name="__main__")
