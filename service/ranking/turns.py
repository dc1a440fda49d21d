"""Turns for work that would hold up the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from service.errors import OverloadedError


class TurnQueue:
    """Runs work one at a time, and lets ``limit`` more of it wait.

    Beyond the limit, the error has the ``message``; ``queue`` is its label of ``rank_shed_total``.
    """

    def __init__(self, limit: int, *, queue: str, message: str) -> None:
        self._limit = limit
        self._queue = queue
        self._message = message
        self._admitted = 0  # the running one and those that wait
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it; raises OverloadedError if too many wait already."""
        if self._admitted > self._limit:
            raise OverloadedError(self._message, queue=self._queue)
        self._admitted += 1
        try:
            async with self._turn:
                yield
        finally:
            self._admitted -= 1
