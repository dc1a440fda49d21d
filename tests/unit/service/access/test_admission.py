"""Rankings take turns in rounds, and those beyond the queue are refused at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.access.admission import Admission, Caller
from service.errors import ClientLeftError, OverloadedError

RANKINGS, QUEUE = 4, 6


def _run(scenario: Callable[[Admission, list[int]], Awaitable[None]]) -> None:
    """Run ``scenario`` with an admission and the list of the rankings that have run."""

    async def main() -> None:
        await scenario(Admission(RANKINGS, QUEUE), [])

    asyncio.run(asyncio.wait_for(main(), 20))


def _start(
    admission: Admission, ran: list[int], numbers: range, weight: int = 1, resumed: bool = False
) -> list[asyncio.Task[None]]:
    async def ranking(number: int) -> None:
        await admission.turn(weight, resumed=resumed)
        ran.append(number)

    return [asyncio.create_task(ranking(number)) for number in numbers]


async def _runs_by_round(ran: list[int], total: int) -> list[int]:
    """Return how many rankings ran in each turn of the loop, until ``total`` have."""
    counts = []
    while len(ran) < total:
        before = len(ran)
        await asyncio.sleep(0)
        counts.append(len(ran) - before)
    return counts


def test_alone_a_ranking_does_not_wait() -> None:
    async def scenario(admission: Admission, ran: list[int]) -> None:
        for number in range(3 * RANKINGS):
            (task,) = _start(admission, ran, range(number, number + 1))
            await asyncio.sleep(0)
            assert task.done()

    _run(scenario)


@pytest.mark.parametrize("weight", [1, 3])
def test_the_loop_comes_to_other_tasks_after_a_bounded_number(weight: int) -> None:
    async def scenario(admission: Admission, ran: list[int]) -> None:
        total = RANKINGS + QUEUE
        _start(admission, ran, range(total), weight)
        counts = await _runs_by_round(ran, total)
        most = -(-RANKINGS // weight)
        assert max(counts) <= most
        assert ran == list(range(total))

    _run(scenario)


def test_beyond_the_queue_a_ranking_is_refused_at_once() -> None:
    async def scenario(admission: Admission, ran: list[int]) -> None:
        tasks = _start(admission, ran, range(2 * RANKINGS + QUEUE + 3))
        await asyncio.sleep(0)
        refused = [task for task in tasks if task.done() and task.exception()]
        assert len(refused) == 3
        assert admission.full
        with pytest.raises(OverloadedError):
            await refused[0]
        await _runs_by_round(ran, len(tasks) - 3)
        assert not admission.full

    _run(scenario)


def test_what_arrives_in_one_round_counts_until_it_has_begun() -> None:
    async def scenario(admission: Admission, _: list[int]) -> None:
        for _arrival in range(RANKINGS + QUEUE):
            assert not admission.full
            admission.arrive()
        assert admission.full
        await asyncio.sleep(0)
        assert not admission.full  # they never came

    _run(scenario)


def test_a_ranking_that_goes_on_is_before_new_ones_and_never_refused() -> None:
    async def scenario(admission: Admission, ran: list[int]) -> None:
        _start(admission, ran, range(RANKINGS + QUEUE))
        many = 3 * (RANKINGS + QUEUE)
        _start(admission, ran, range(100, 100 + many), resumed=True)
        await _runs_by_round(ran, RANKINGS + QUEUE + many)
        assert ran[RANKINGS:][:many] == list(range(100, 100 + many))

    _run(scenario)


def test_a_cancelled_ranking_gives_its_turn_to_the_next() -> None:
    async def scenario(admission: Admission, ran: list[int]) -> None:
        tasks = _start(admission, ran, range(RANKINGS + QUEUE))
        await asyncio.sleep(0)
        tasks[RANKINGS].cancel()
        await _runs_by_round(ran, RANKINGS + QUEUE - 1)
        assert RANKINGS not in ran

    _run(scenario)


@pytest.mark.parametrize("resumed", [False, True])
def test_no_turn_is_for_a_client_that_left(resumed: bool) -> None:
    left = False

    async def scenario(admission: Admission, _: list[int]) -> None:
        nonlocal left
        caller = Caller(admission, {"arrived_s": 5.0, "client_left": lambda: left}, 100)
        assert caller.arrived_s == 5.0
        if resumed:
            await caller.turn()
        left = True
        with pytest.raises(ClientLeftError):
            await caller.turn()

    _run(scenario)
