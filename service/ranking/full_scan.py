"""A queue for rankings of a large catalogue."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from service.errors import OverloadedError


class FullScanQueue:
    """Runs full-catalogue rankings one at a time.

    They would block the event loop, and they share memory bandwidth: two at once take twice as
    long.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._admitted = 0  # the running one and those that wait
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it; raises OverloadedError if ``limit`` rankings wait."""
        if self._admitted > self._limit:
            raise OverloadedError(
                "too many rankings of the whole catalogue wait: try again, or name candidates",
                queue="scans",
            )
        self._admitted += 1
        try:
            async with self._turn:
                yield
        finally:
            self._admitted -= 1
