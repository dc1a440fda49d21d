"""What replicas share of a target: one tradeoff, and the counts since it began."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest
import redis
from pydantic import SecretStr

from service.settings import Settings
from service.store.records import RedisStore
from service.store.target_states import TargetState, TargetStates
from service.telemetry import Telemetry

NAME = "toy@1:tail_share:0.3"


@pytest.fixture
def settings(redis_url: str) -> Settings:
    namespace = f"t{uuid.uuid4().hex[:12]}"
    return Settings(redis_url=SecretStr(redis_url), namespace=namespace, store_timeout_ms=2000)


def use(settings: Settings, run: Callable[[TargetStates], Awaitable[None]]) -> None:
    async def used() -> None:
        store = RedisStore(settings, Telemetry())
        await run(TargetStates(store, settings))
        await store.close()

    asyncio.run(used())


async def replicas(states: TargetStates) -> None:
    def add(
        epoch: int, tradeoff: float, rankings: int, excess: float
    ) -> Awaitable[list[TargetState | None]]:
        return states.add([(NAME, TargetState(epoch, tradeoff, rankings, excess))])

    assert await add(0, 0.4, 10, 2.5) == [TargetState(0, 0.4, 10, 2.5)]
    assert await add(0, 0.4, 30, 7.5) == [TargetState(0, 0.4, 40, 10.0)]
    assert await states.move(NAME, 0, 0.35)
    assert not await states.move(NAME, 0, 0.1)  # by another replica, at the same time
    assert await add(0, 0.4, 10, 2.5) == [TargetState(1, 0.35, 10, 2.5)]  # who did not know yet
    assert await add(1, 0.35, 5, -1.5) == [TargetState(1, 0.35, 15, 1.0)]


def test_the_counts_of_all_replicas_begin_anew_at_a_new_tradeoff(settings: Settings) -> None:
    use(settings, replicas)


def test_a_lost_state_begins_where_a_replica_is_and_a_corrupt_one_ends(
    settings: Settings,
) -> None:
    key = f"{settings.namespace}:_target:{NAME}"

    async def run(states: TargetStates) -> None:
        known = TargetState(7, 0.25, 3, 1.0)
        assert await states.add([(NAME, known)]) == [known]
        with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
            assert 0 < client.ttl(key) <= 86_400
            for field, value in (("tradeoff", "far"), ("tradeoff", "1.5"), ("excess", "nan")):
                client.delete(key)
                client.hset(key, mapping={"epoch": 8, "tradeoff": 0.3, field: value})
                assert await states.add([(NAME, known)]) == [None]
                assert not client.exists(key)
            client.set(key, "no hash")
            assert await states.add([(NAME, known)]) == [None]
            assert await states.add([(NAME, known)]) == [known]

    use(settings, run)
