"""Reads of items take turns, and no request keeps another from its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from service.catalog.item_reads import BATCH_ITEMS, ItemReads, Records
from service.errors import DeadlineError, StoreError, StoreOverloadedError, StoreTimeoutError
from service.store.limit import Limit

PATIENT, SHORT, DEADLINE = Limit(5), Limit(0.001), Limit(0.001, is_deadline=True)


class _Store:
    """Answers a read once ``let`` is released for it; notes what was read and kept."""

    def __init__(self, limit: int = 1000) -> None:
        self.batches: list[list[str]] = []
        self.kept: list[str] = []
        self.begun = asyncio.Semaphore(0)
        self.let = asyncio.Semaphore(0)
        self.error: Exception | None = None
        self.reads = ItemReads(self.fetch, self.keep, self.unread, limit)

    async def fetch(self, item_ids: Sequence[str]) -> Records:
        self.batches.append(list(item_ids))
        self.begun.release()
        await self.let.acquire()
        if self.error:
            raise self.error
        return [None] * len(item_ids), [None] * len(item_ids)

    async def keep(self, item_ids: Sequence[str], records: Records) -> None:
        assert len(records[0]) == len(item_ids)
        self.kept.extend(item_ids)

    def unread(self, item_ids: Sequence[str]) -> list[str]:
        return [item_id for item_id in item_ids if item_id not in self.kept]

    def share(self, item_ids: Sequence[str], limit: Limit = PATIENT) -> asyncio.Task[None]:
        return asyncio.create_task(self.reads.share(item_ids, limit))

    def answer(self, reads: int = 1) -> None:
        for _ in range(reads):
            self.let.release()


def _run(scenario: Callable[[_Store], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario(_Store())

    asyncio.run(asyncio.wait_for(main(), 20))


def _ids(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def test_a_request_for_many_items_delays_another_by_the_batch_in_flight() -> None:
    async def scenario(store: _Store) -> None:
        many = store.share(_ids("many", 4 * BATCH_ITEMS))
        await store.begun.acquire()
        assert len(store.batches[0]) == BATCH_ITEMS  # alone it has the whole batch
        one = store.share(["one"])
        store.answer(2)
        await one
        assert len(store.batches) <= 3
        assert "one" in store.batches[1]
        assert len(store.batches[1]) == BATCH_ITEMS // 2 + 1
        assert not many.done()
        store.answer(10)
        await many
        assert sorted(store.kept) == sorted(["one", *_ids("many", 4 * BATCH_ITEMS)])

    _run(scenario)


def test_beyond_the_limit_a_request_does_not_wait() -> None:
    async def main() -> None:
        store = _Store(limit=2)
        waiting = [store.share(["a"]), store.share(["b"], SHORT)]
        await store.begun.acquire()
        with pytest.raises(StoreOverloadedError):
            await store.share(["c"])
        with pytest.raises(StoreTimeoutError):  # it leaves its place to the next
            await waiting[1]
        waiting[1] = store.share(["c"])
        store.answer(3)
        await asyncio.gather(*waiting)

    asyncio.run(asyncio.wait_for(main(), 20))


def test_more_requests_than_a_batch_holds_are_served_in_their_order() -> None:
    async def scenario(store: _Store) -> None:
        requests = [store.share([item_id, "x"]) for item_id in _ids("i", BATCH_ITEMS + 5)]
        await store.begun.acquire()
        assert store.batches == [_ids("i", BATCH_ITEMS)]
        store.answer(10)
        await asyncio.gather(*requests)
        assert store.batches[1][:5] == _ids("i", BATCH_ITEMS + 5)[-5:]
        assert store.kept.count("x") == 1

    _run(scenario)


def test_requests_of_one_turn_share_one_read_of_distinct_ids() -> None:
    async def scenario(store: _Store) -> None:
        requests = [store.share(["a", "b"]), store.share(["b", "c"])]
        store.answer()
        await asyncio.gather(*requests)
        assert store.batches == [["a", "b", "c"]]

    _run(scenario)


def test_what_another_read_has_brought_is_not_read_again() -> None:
    async def scenario(store: _Store) -> None:
        own = asyncio.create_task(store.reads.read(["a"]))
        await store.begun.acquire()
        request = store.share(["a"])
        store.answer()
        await asyncio.gather(own, request)
        assert store.batches == [["a"]]

    _run(scenario)


def test_reads_take_turns() -> None:
    async def scenario(store: _Store) -> None:
        request = store.share(["a"])
        await store.begun.acquire()
        own = asyncio.create_task(store.reads.read(["a"]))  # a change names it meanwhile
        for _ in range(5):
            await asyncio.sleep(0)
        assert store.batches == [["a"]]
        store.answer(2)
        await asyncio.gather(request, own)
        assert store.batches == [["a"], ["a"]]

    _run(scenario)


def test_a_read_goes_on_after_its_request_and_its_items_are_kept() -> None:
    async def scenario(store: _Store) -> None:
        request = store.share(_ids("i", BATCH_ITEMS + 1), DEADLINE)
        with pytest.raises(DeadlineError):
            await request
        store.answer(2)
        await store.share(["later"])
        # The rest of the request that has left is not read.
        assert store.batches == [_ids("i", BATCH_ITEMS), ["later"]]
        assert store.kept == [*_ids("i", BATCH_ITEMS), "later"]

    _run(scenario)


def test_a_request_that_is_cancelled_disturbs_no_other() -> None:
    async def scenario(store: _Store) -> None:
        leaving, staying = store.share(["a"]), store.share(["b"])
        await store.begun.acquire()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        store.answer()
        await staying
        assert store.kept == ["a", "b"]

    _run(scenario)


def test_a_deadline_that_has_passed_reads_nothing() -> None:
    async def scenario(store: _Store) -> None:
        with pytest.raises(DeadlineError):
            await store.share(["a"], Limit(0.0, is_deadline=True))
        assert store.batches == []

    _run(scenario)


def test_a_store_that_stalls_is_at_fault_for_all_that_wait() -> None:
    async def scenario(store: _Store) -> None:
        requests = [store.share(["a"], SHORT)]
        await store.begun.acquire()
        requests.append(store.share(["b"], SHORT))
        for error in await asyncio.gather(*requests, return_exceptions=True):
            assert type(error) is StoreTimeoutError

    _run(scenario)


def test_a_store_that_answers_others_is_not_at_fault() -> None:
    async def scenario(store: _Store) -> None:
        store.answer()  # the first of two batches
        with pytest.raises(StoreOverloadedError):
            await store.share(_ids("many", 2 * BATCH_ITEMS), SHORT)
        assert store.kept == _ids("many", BATCH_ITEMS)

    _run(scenario)


def test_an_error_reaches_the_requests_of_its_batch_alone() -> None:
    async def scenario(store: _Store) -> None:
        failing = store.share(["a"])
        await store.begun.acquire()
        later = store.share(["b"])
        store.error = StoreError("cut")
        store.answer()
        with pytest.raises(StoreError, match="cut"):
            await failing
        store.error = None
        store.answer()
        await later
        assert store.kept == ["b"]

    _run(scenario)


def test_a_read_in_flight_ends_at_close() -> None:
    async def scenario(store: _Store) -> None:
        with pytest.raises(DeadlineError):
            await store.share(["a"], DEADLINE)
        await store.reads.close()
        assert "read of items" not in {task.get_name() for task in asyncio.all_tasks()}
        await store.reads.close()

    _run(scenario)


def test_a_defect_reaches_its_requests_and_stops_no_later_read() -> None:
    async def scenario(store: _Store) -> None:
        store.error = ZeroDivisionError()
        store.answer()
        with pytest.raises(ZeroDivisionError):
            await store.share(["a"])
        store.error = None
        store.answer()
        await store.share(["a"])
        assert store.kept == ["a"]

    _run(scenario)
