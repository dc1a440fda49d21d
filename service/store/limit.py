"""How long one request may wait for the store, and whose limit that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct

from service.errors import DeadlineError, StoreError, StoreTimeoutError

T = TypeVar("T")


class Limit(Struct, frozen=True):
    """The longest wait in seconds; ``is_deadline`` if the request's own deadline set it.

    The limit that was set says what ran out. The clock cannot: timers fire up to a millisecond
    early.
    """

    timeout_s: float
    is_deadline: bool = False

    def error(self) -> StoreTimeoutError:
        """Return the error of a wait that this limit ended."""
        if self.is_deadline:
            return DeadlineError("the deadline passed before the store answered")
        return StoreTimeoutError("the store did not answer in time")

    async def wait(self, answer: asyncio.Future[T], late: Callable[[], StoreError]) -> T:
        """Return the ``answer``; past the limit, raise the error that ``late`` returns.

        The work behind the answer goes on: others may wait for it, and a read that is cancelled
        half-way costs its connection.
        """

        def expire() -> None:
            if not answer.done():
                answer.set_exception(late())

        timer = asyncio.get_running_loop().call_later(self.timeout_s, expire)
        try:
            return await answer
        finally:
            timer.cancel()
