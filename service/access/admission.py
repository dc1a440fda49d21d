"""How many rankings the process works on at once, and how many wait."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from service.errors import ClientLeftError, OverloadedError

MESSAGE = "too many rankings wait: try again"
_BYTES_OF_ONE = 8192  # of a body with 500 candidates


class Admission:
    """Gives rankings turns on the event loop, and refuses those for which there is no room.

    A ranking runs from its start to its wait for the store in one turn, and from there to its
    answer in another. The event loop gives ``rankings`` turns in one round, and answers probes
    between the rounds. ``queue`` more rankings may wait for their first turn. A ranking that waits
    for the store or for a full scan holds neither a turn nor a place in the queue.

    All methods run on the event loop.
    """

    def __init__(self, rankings: int, queue: int) -> None:
        self._turns = self._left = rankings
        self._room = rankings + queue
        self._arriving = 0  # since the last round
        self._new: deque[_Waiter] = deque()
        self._resumed: deque[_Waiter] = deque()
        self._scheduled = False

    @property
    def full(self) -> bool:
        """Whether there is no room for one more ranking."""
        return len(self._new) + self._arriving >= self._room

    def arrive(self) -> None:
        """Count a ranking whose task starts in the next round."""
        self._arriving += 1
        self._schedule()

    async def turn(self, weight: int, *, resumed: bool) -> None:
        """Wait for a turn; raises OverloadedError at once if a new ranking has no room to wait.

        A ranking that has had a turn is ``resumed``: it goes before new ones. ``weight`` is the
        number of turns that a ranking counts for.
        """
        self._schedule()
        if self._left > 0 and not self._resumed and (resumed or not self._new):
            self._left -= weight
            return
        if not resumed and len(self._new) >= self._room:
            raise OverloadedError(MESSAGE, queue="rankings")
        begin: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._resumed if resumed else self._new).append((weight, begin))
        await begin

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._round)

    def _round(self) -> None:
        """Give the turns of one round, which the event loop runs after its other tasks."""
        self._scheduled = False
        self._arriving = 0
        self._left = self._turns
        for waiting in (self._resumed, self._new):
            while waiting and self._left > 0:
                weight, begin = waiting.popleft()
                if not begin.done():  # done: it was cancelled
                    begin.set_result(None)
                    self._left -= weight
        if self._left < self._turns:
            self._schedule()


class Caller:
    """The client that waits for one ranking; ``arrived_s`` is the time of its first byte.

    ``state`` is that of the request's ASGI scope, with what ``api.connection`` puts there.
    """

    def __init__(self, admission: Admission, state: Mapping[str, Any], body_bytes: int) -> None:
        self.arrived_s: float = state.get("arrived_s") or time.perf_counter()
        self._left: Callable[[], bool] = state.get("client_left", bool)
        self._admission = admission
        self._weight = 1 + body_bytes // _BYTES_OF_ONE
        self._resumed = False

    async def turn(self) -> None:
        """Wait until the ranking may run; raises OverloadedError and ClientLeftError."""
        await self._admission.turn(self._weight, resumed=self._resumed)
        self._resumed = True
        self.ensure_connected()

    def ensure_connected(self) -> None:
        """Raise ClientLeftError if no one waits for the answer."""
        if self._left():
            raise ClientLeftError


_Waiter = tuple[int, "asyncio.Future[None]"]
