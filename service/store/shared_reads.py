"""Joins the reads of one turn of the event loop into one command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from service.errors import StoreOverloadedError
from service.store.limit import Limit
from service.tasks import end

Records = Sequence[bytes | None]
Read = Callable[[Sequence[str]], Awaitable[Records]]
_CLOSE_S = 5.0

_Waiter = tuple[Sequence[str], "asyncio.Future[Records]"]


class SharedReads:
    """Joins reads of a few keys each into batches; batches do not wait for each other.

    At most ``limit`` reads are open. A read stays open until its batch is answered, even if the
    caller has left, so that no queue grows while the store stalls.
    """

    def __init__(self, read: Read, limit: int) -> None:
        self._read = read
        self._limit = limit
        self._open = 0
        self._waiting: list[_Waiter] = []
        self._batches: set[asyncio.Task[None]] = set()

    async def get(self, keys: Sequence[str], wait: Limit | None) -> Records:
        """Return the record at each of ``keys``, None where there is none.

        Raises the error of ``wait`` once that has passed (None: no limit of its own),
        StoreOverloadedError at once where ``limit`` reads are open, and the error of its batch.
        """
        if wait is not None and wait.timeout_s <= 0:
            raise wait.error()
        if self._open >= self._limit:
            raise StoreOverloadedError(f"the queue is full: {self._open} reads wait for the store")
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._begin)
        answer: asyncio.Future[Records] = loop.create_future()
        self._waiting.append((keys, answer))
        self._open += 1
        return await (answer if wait is None else wait.wait(answer, wait.error))

    async def close(self) -> None:
        """Cancel the batches in flight; return within ``_CLOSE_S`` seconds."""
        await end(self._batches, _CLOSE_S)

    def _begin(self) -> None:
        waiters, self._waiting = self._waiting, []
        batch = asyncio.create_task(self._answer(waiters), name="read of users")
        self._batches.add(batch)
        batch.add_done_callback(self._batches.discard)

    async def _answer(self, waiters: list[_Waiter]) -> None:
        try:
            records = await self._read([key for keys, _ in waiters for key in keys])
        except Exception as error:  # an unknown one as well: nobody may be left to wait
            for _, answer in waiters:
                if not answer.done():
                    answer.set_exception(error)
        else:
            end = 0
            for keys, answer in waiters:
                begin, end = end, end + len(keys)
                if not answer.done():
                    answer.set_result(records[begin:end])
        finally:
            self._open -= len(waiters)
