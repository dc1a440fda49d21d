"""Reads of one turn of the event loop are one read, and no waiter affects another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from service.errors import (
    DeadlineError,
    StoreError,
    StoreOverloadedError,
    StoreTimeoutError,
)
from service.store.limit import Limit
from service.store.shared_reads import SharedReads

PATIENT, HASTY = Limit(5), Limit(0.001)


class _Store:
    """Answers once ``let`` is set; records the keys of each read."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.begun = asyncio.Semaphore(0)
        self.let = asyncio.Event()
        self.let.set()
        self.error: Exception | None = None

    async def read(self, keys: Sequence[str]) -> list[bytes | None]:
        self.batches.append(list(keys))
        self.begun.release()
        await self.let.wait()
        if self.error:
            raise self.error
        return [None if key == "absent" else key.encode() for key in keys]


def _run(scenario: Callable[[_Store, SharedReads], Awaitable[None]], limit: int = 100) -> None:
    async def main() -> None:
        store = _Store()
        reads = SharedReads(store.read, limit)
        await scenario(store, reads)
        await reads.close()

    asyncio.run(main())


def test_reads_of_one_turn_are_one_read_in_order() -> None:
    async def scenario(store: _Store, reads: SharedReads) -> None:
        answers = await asyncio.gather(
            *(reads.get(keys, PATIENT) for keys in (["a"], ["absent", "b"], [], ["a"]))
        )
        assert answers == [[b"a"], [None, b"b"], [], [b"a"]]
        assert store.batches == [["a", "absent", "b", "a"]]
        assert await reads.get(["c"], PATIENT) == [b"c"]
        assert store.batches[1:] == [["c"]]

    _run(scenario)


def test_a_read_in_flight_is_not_waited_for() -> None:
    async def scenario(store: _Store, reads: SharedReads) -> None:
        store.let.clear()
        first = asyncio.create_task(reads.get(["a"], PATIENT))
        await store.begun.acquire()
        second = asyncio.create_task(reads.get(["b"], PATIENT))
        await store.begun.acquire()
        assert store.batches == [["a"], ["b"]]
        store.let.set()
        assert (await first, await second) == ([b"a"], [b"b"])

    _run(scenario)


def test_each_waiter_has_its_own_timeout_and_may_leave() -> None:
    async def scenario(store: _Store, reads: SharedReads) -> None:
        store.let.clear()
        patient, leaving = (asyncio.create_task(reads.get(key, PATIENT)) for key in ("a", "b"))
        hasty = asyncio.create_task(reads.get(["c"], HASTY))
        with pytest.raises(StoreTimeoutError):
            await hasty
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        store.let.set()
        assert await patient == [b"a"]
        assert store.batches == [["a", "b", "c"]]

    _run(scenario)


def test_the_limit_says_what_ran_out() -> None:
    async def scenario(store: _Store, reads: SharedReads) -> None:
        store.let.clear()
        with pytest.raises(DeadlineError):
            await reads.get(["a"], Limit(0.001, is_deadline=True))
        with pytest.raises(StoreTimeoutError) as caught:
            await reads.get(["a"], HASTY)
        assert not isinstance(caught.value, DeadlineError)

    _run(scenario)


def test_a_deadline_that_has_passed_reads_nothing() -> None:
    async def scenario(store: _Store, reads: SharedReads) -> None:
        with pytest.raises(DeadlineError):
            await reads.get(["a"], Limit(0.0, is_deadline=True))
        assert await reads.get(["b"], PATIENT) == [b"b"]
        assert store.batches == [["b"]]

    _run(scenario)


def test_a_waiter_without_a_timeout_waits_for_the_read() -> None:
    async def scenario(store: _Store, reads: SharedReads) -> None:
        store.let.clear()
        patient = asyncio.create_task(reads.get(["a"], None))
        with pytest.raises(StoreTimeoutError):
            await reads.get(["b"], HASTY)
        assert not patient.done()
        store.let.set()
        assert await patient == [b"a"]

    _run(scenario)


def test_too_many_waiting_are_refused_until_the_store_answers() -> None:
    async def scenario(store: _Store, reads: SharedReads) -> None:
        store.let.clear()
        # These callers leave before the store answers.
        for _ in range(2):
            with pytest.raises(StoreTimeoutError):
                await reads.get(["a"], HASTY)
        with pytest.raises(StoreOverloadedError):
            await reads.get(["b"], PATIENT)
        store.let.set()
        while True:
            await asyncio.sleep(0)
            try:
                assert await reads.get(["b"], PATIENT) == [b"b"]
                break
            except StoreOverloadedError:
                continue

    _run(scenario, limit=2)


@pytest.mark.parametrize("error", [StoreError("down"), RuntimeError("down")])
def test_an_error_reaches_every_waiter_and_no_later_read(error: Exception) -> None:
    async def scenario(store: _Store, reads: SharedReads) -> None:
        store.error = error
        errors = await asyncio.gather(
            *(reads.get([key], PATIENT) for key in ("a", "b")), return_exceptions=True
        )
        assert [str(error) for error in errors] == ["down", "down"]
        store.error = None
        assert await reads.get(["a"], PATIENT) == [b"a"]

    _run(scenario)
