"""Rankings of whole catalogues: off the event loop, one at a time, few waiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from service.errors import OverloadedError


class FullScanQueue:
    """Gives turns to what would hold the event loop up: memory bandwidth is one for all."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = 0
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it; raises OverloadedError where ``limit`` wait already."""
        if self._open > self._limit:
            raise OverloadedError("too many rankings of a whole catalogue wait already")
        self._open += 1
        try:
            async with self._turn:
                yield
        finally:
            self._open -= 1
