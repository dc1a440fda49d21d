"""Background tasks end within a bound, also those that miss a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from service.tasks import end, finish

LONG_S = 20.0


async def _deaf(let: asyncio.Event, swallowed: list[int], most: int) -> None:
    """Wait for ``let``; swallow cancellations up to ``most``."""
    while not let.is_set():
        try:
            await let.wait()
        except asyncio.CancelledError:
            swallowed.append(1)
            if len(swallowed) > most:
                raise


def test_a_swallowed_cancellation_is_repeated() -> None:
    async def main() -> None:
        swallowed: list[int] = []
        task = asyncio.create_task(_deaf(asyncio.Event(), swallowed, most=1))
        await asyncio.sleep(0)  # the task begins
        await end([task], LONG_S)
        assert task.cancelled()
        assert len(swallowed) == 2

    asyncio.run(main())


def test_a_task_that_never_ends_is_left_behind_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        let = asyncio.Event()
        task = asyncio.create_task(_deaf(let, [], most=1000), name="deaf")
        await asyncio.sleep(0)
        await end([task], 0.05)
        assert not task.done()
        let.set()
        await task

    asyncio.run(main())
    assert caplog.messages == ["deaf: has not ended after 0.05 s; going on without"]


def test_a_task_may_finish_by_itself() -> None:
    async def main() -> None:
        let, swallowed = asyncio.Event(), list[int]()
        task = asyncio.create_task(_deaf(let, swallowed, most=0))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(let.set)
        assert await finish([task], LONG_S)
        assert not task.cancelled()
        assert swallowed == []

    asyncio.run(main())


def test_a_task_that_does_not_finish_is_cancelled() -> None:
    async def main() -> None:
        task = asyncio.create_task(_deaf(asyncio.Event(), [], most=0))
        await asyncio.sleep(0)
        assert not await finish([task], 0.01)
        assert task.cancelled()

    asyncio.run(main())


def test_no_tasks_are_finished() -> None:
    async def main() -> None:
        await end([], LONG_S)
        assert await finish([], LONG_S)

    asyncio.run(main())
