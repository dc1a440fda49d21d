"""Reads of items in turn, shared by the requests that wait for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from service.errors import StoreError, StoreOverloadedError
from service.store.limit import Limit
from service.tasks import end

BATCH_ITEMS = 256  # of one read for requests: a few milliseconds of the event loop
_CLOSE_S = 5.0

Records = tuple[list[bytes | None], list[bytes | None]]


class _Waiter:
    """The ids of one request that are still to be read."""

    def __init__(self, item_ids: Sequence[str], answer: asyncio.Future[None]) -> None:
        self._item_ids = item_ids
        self._taken = 0
        self.answer = answer

    @property
    def complete(self) -> bool:
        return self._taken >= len(self._item_ids)

    def take(self, count: int) -> Sequence[str]:
        """Return the next ``count`` ids, or as many as are left."""
        taken = self._item_ids[self._taken : self._taken + count]
        self._taken += count
        return taken


class ItemReads:
    """Reads items one batch at a time, so that no old record overwrites a newer one.

    Requests share each batch evenly: one that names thousands of items delays no other by more
    than two batches. A batch goes on after its requests have left, so what was read is kept.
    """

    def __init__(
        self,
        fetch: Callable[[Sequence[str]], Awaitable[Records]],
        keep: Callable[[Sequence[str], Records], Awaitable[None]],
        unread: Callable[[Sequence[str]], list[str]],
        limit: int,
    ) -> None:
        """``fetch`` reads the store, ``keep`` puts records in memory.

        ``unread`` returns those ids that other reads have not brought meanwhile. At most ``limit``
        requests wait.
        """
        self._fetch = fetch
        self._keep = keep
        self._unread = unread
        self._limit = limit
        self._requests = 0  # that wait, those of the batch in flight included
        self._turn = asyncio.Lock()
        self._fetching = False
        self._fetched = 0
        self._waiting: deque[_Waiter] = deque()
        self._serving: asyncio.Task[None] | None = None

    async def read(self, item_ids: Sequence[str]) -> None:
        """Read items in one batch; raises StoreError."""
        if item_ids:
            async with self._turn:
                await self._read(item_ids)

    async def share(self, item_ids: Sequence[str], limit: Limit) -> None:
        """Read the items of one request in batches that it shares with others.

        Raises the StoreError of a batch, and StoreOverloadedError at once if too many requests
        wait. After ``limit`` raises DeadlineError if that is the request's deadline,
        StoreOverloadedError if the store answered others meanwhile, else StoreTimeoutError.
        """
        if limit.timeout_s <= 0:
            raise limit.error()
        if self._requests >= self._limit:
            raise StoreOverloadedError(f"{self._requests} requests wait for reads of items")
        fetched = self._fetched

        def late() -> StoreError:
            stalled = self._fetching and self._fetched == fetched
            if stalled or limit.is_deadline:
                return limit.error()
            return StoreOverloadedError("too many reads of items wait for their turn")

        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiter(item_ids, answer))
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve(), name="read of items")
        self._requests += 1
        try:
            await limit.wait(answer, late)
        finally:
            self._requests -= 1

    async def close(self) -> None:
        """Cancel the batch in flight; return within ``_CLOSE_S`` seconds."""
        if self._serving is not None:
            await end([self._serving], _CLOSE_S)

    async def _serve(self) -> None:
        """Read batches while requests wait."""
        try:
            while self._waiting:
                item_ids, waiters = self._deal()
                try:
                    async with self._turn:
                        if unread := self._unread(item_ids):
                            await self._read(unread)
                except Exception as error:
                    for waiter in waiters:
                        if not waiter.answer.done():
                            waiter.answer.set_exception(error)
                for waiter in waiters:
                    if waiter.answer.done():
                        continue
                    if waiter.complete:
                        waiter.answer.set_result(None)
                    else:
                        self._waiting.append(waiter)
        finally:
            self._serving = None

    def _deal(self) -> tuple[list[str], list[_Waiter]]:
        """Return the distinct ids of the next batch and the requests that share it evenly."""
        item_ids: dict[str, None] = {}
        waiters = []
        share = max(1, BATCH_ITEMS // len(self._waiting))
        while self._waiting and len(item_ids) + share <= BATCH_ITEMS:
            waiter = self._waiting.popleft()
            if not waiter.answer.done():  # done: it has left
                item_ids.update(dict.fromkeys(waiter.take(share)))
                waiters.append(waiter)
        return list(item_ids), waiters

    async def _read(self, item_ids: Sequence[str]) -> None:
        self._fetching = True
        try:
            records = await self._fetch(item_ids)
            self._fetched += 1
        finally:
            self._fetching = False
        await self._keep(item_ids, records)
