"""The service with a probe of its event loop: ``GET /probe`` answers the longest stall since then.

``python -m tests.bench.swaps.probed`` takes the service's settings from the environment.
"""

from __future__ import annotations

import asyncio
import sys
import time

from fastapi import FastAPI

from service import __main__ as service
from service.app import create_app
from service.settings import Settings

_WAKE_S = 0.001


class Probe:
    """A task that wakes every millisecond; a stall is the time by which it wakes too late."""

    def __init__(self) -> None:
        self._longest_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def read(self) -> dict[str, float]:
        """Return the longest stall since the last call in ms, and the number of followers."""
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name="probe")
        longest_s, self._longest_s = self._longest_s, 0.0
        followers = sum(task.get_name().startswith("follow ") for task in asyncio.all_tasks())
        return {"stall_ms": 1e3 * longest_s, "followers": followers}

    async def _watch(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_WAKE_S)
            self._longest_s = max(self._longest_s, time.perf_counter() - began - _WAKE_S)


def _probed(settings: Settings) -> FastAPI:
    app = create_app(settings)
    app.add_api_route("/probe", Probe().read)
    return app


if __name__ == "__main__":
    service.create_app = _probed  # type: ignore[attr-defined]  # no part of its interface
    sys.exit(service.serve(Settings()))
