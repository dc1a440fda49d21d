"""Stored histories: each item once, newest last, bounded, forgotten in time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from service.contract.feedback import history_key
from service.contract.histories import MAX_HISTORY, Engagement, decode
from service.errors import StoreError
from service.settings import Settings
from service.store.histories import Histories
from service.store.records import RedisStore
from service.telemetry import Telemetry
from tests.integration import redis_servers

Engaged = Sequence[tuple[str, str, int]]


@pytest.fixture
def settings(redis_url: str) -> Settings:
    namespace = f"t{uuid.uuid4().hex[:12]}"
    url = SecretStr(redis_url)
    return Settings(redis_url=url, namespace=namespace, history_ttl_s=60, store_timeout_ms=2000)


def add(settings: Settings, *batches: Engaged) -> None:
    async def run() -> None:
        store = RedisStore(settings, Telemetry())
        histories = Histories(store, settings)
        await asyncio.gather(*(histories.add(batch) for batch in batches))
        await store.close()

    asyncio.run(run())


def stored(settings: Settings, user_id: str) -> list[Engagement] | None:
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        value = client.get(history_key(settings.namespace, user_id))
        return None if value is None else decode(bytes(value))


def test_each_item_is_kept_once_the_newest_last(settings: Settings) -> None:
    times = 1_790_000_000_000
    first = [("u", "b", times + 2), ("ü", "é" * 60, times), ("u", "a", times)]
    add(settings, first)
    add(settings, [("u", "b", times + 1), ("u", "c", times + 3), ("u", "a", times + 4)])
    expected = [("b", times + 2), ("c", times + 3), ("a", times + 4)]
    assert stored(settings, "u") == expected
    assert stored(settings, "ü") == [("é" * 60, times)]
    add(settings, first)  # once more
    assert stored(settings, "u") == expected
    assert stored(settings, "another") is None


def test_the_oldest_leave_and_all_are_forgotten(settings: Settings) -> None:
    add(settings, [("u", f"i{n}", n) for n in range(MAX_HISTORY + 2)])
    history = stored(settings, "u")
    assert history is not None
    assert (history[0], len(history)) == (("i2", 2), MAX_HISTORY)
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        assert 0 < int(client.ttl(history_key(settings.namespace, "u"))) <= 60


def test_replicas_that_add_at_once_lose_nothing(settings: Settings) -> None:
    add(settings, *([("u", f"i{n}", n)] for n in range(40)))
    assert stored(settings, "u") == [(f"i{n}", n) for n in range(40)]


def test_what_is_no_history_is_replaced(settings: Settings) -> None:
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        client.set(history_key(settings.namespace, "u"), b"\xc1 no history")
    assert stored(settings, "u") is None
    add(settings, [("u", "a", 1)])
    assert stored(settings, "u") == [("a", 1)]


def test_a_store_that_is_away_raises_its_error(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1")})
    with pytest.raises(StoreError):
        add(away, [("u", "a", 1)])


def test_a_cluster_keeps_histories_on_all_nodes(settings: Settings, tmp_path: Path) -> None:
    with redis_servers.cluster(tmp_path / "redis") as nodes:
        ports = [redis_servers.port_of(node) for node in nodes]
        url = SecretStr(f"redis+cluster://127.0.0.1:{ports[0]}")
        cluster = settings.model_copy(update={"redis_url": url})
        add(cluster, [(f"u{n}", "a", 1) for n in range(30)])
        sizes = [len(node.keys("*:_history:*")) for node in nodes]
    assert sum(sizes) == 30
    assert all(sizes)
