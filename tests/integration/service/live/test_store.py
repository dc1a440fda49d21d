"""Live changes against the store alone: one server, and a cluster."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from service.contract.keys import Keys, user_mark
from service.contract.live_changes import LiveChange
from service.contract.manifest import Spaces
from service.contract.store_url import parse
from service.errors import PublishingError, StoreError
from service.settings import Settings
from service.store.erase import Erased, erase_user
from service.store.live import Answer, LiveStore, Question
from service.store.user_memory import UserMemory
from service.telemetry import Telemetry
from tests.integration import redis_servers
from training.release.store import connect


def _keys() -> Keys:
    return Keys(f"t{uuid.uuid4().hex[:12]}", Spaces(items="a", users="a", proxies="p"))


def _run(url: str, keys: Keys, use: Callable[[LiveStore], Awaitable[None]]) -> Telemetry:
    telemetry = Telemetry()
    settings = Settings(redis_url=SecretStr(url), namespace=keys.namespace)

    async def run() -> None:
        store = LiveStore(settings, telemetry, UserMemory(1 << 20, telemetry))
        try:
            await use(store)
        finally:
            await store.close()

    asyncio.run(run())
    return telemetry


def test_a_change_that_another_overtakes_is_decided_again(redis_url: str) -> None:
    keys = _keys()
    question = Question(keys.proxies(["i"]))
    seen: list[bytes | None] = []

    async def use(store: LiveStore) -> None:
        async def overtake(_: Answer) -> list[LiveChange]:
            return [LiveChange(keys=keys, proxies={"i": b"first"})]

        async def append(answer: Answer) -> list[LiveChange]:
            old = answer.records[keys.proxies(["i"])[0]]
            seen.append(old)
            if len(seen) == 1:
                await store.change([keys], question, overtake)
            return [LiveChange(keys=keys, proxies={"i": (old or b"") + b" second"})]

        await store.change([keys], question, append)
        assert await store.redis.get(keys.proxies(["i"])[0]) == b"first second"

        async def never(_: Answer) -> list[LiveChange]:
            await store.redis.append(keys.proxies(["i"])[0], b".")
            return []

        with pytest.raises(StoreError, match="others keep changing"):
            await store.change([keys], question, never)

    telemetry = _run(redis_url, keys, use)
    assert seen == [None, b"first"]
    assert telemetry.registry.get_sample_value("rank_live_conflicts_total") == 7


def test_a_publication_that_begins_meanwhile_goes_first(redis_url: str) -> None:
    keys = _keys()
    held = keys.publishing(keys.spaces.items)

    async def use(store: LiveStore) -> None:
        async def publish(_: Answer) -> list[LiveChange]:
            await store.redis.set(held, b"{}")
            return [LiveChange(keys=keys, items={"i": b"1"}, titles={"i": b"{}"})]

        with pytest.raises(PublishingError, match="another program"):
            await store.change([keys], Question(), publish)
        assert not await store.redis.exists(keys.catalog, *keys.items(["i"]))

    _run(redis_url, keys, use)


def test_in_a_cluster_items_come_and_go(tmp_path: Path) -> None:
    keys = _keys()
    item_ids = [f"i{number}" for number in range(20)]

    async def use(store: LiveStore) -> None:
        async def put(_: Answer) -> list[LiveChange]:
            records = dict.fromkeys(item_ids, b"1")
            return [LiveChange(keys=keys, items=records, titles=records, proxies=records)]

        async def remove(answer: Answer) -> list[LiveChange]:
            assert answer.listed == {keys.catalog: frozenset(item_ids[:2])}
            assert set(answer.records.values()) == {b"1"}
            return [LiveChange(keys=keys, removed=item_ids[:2])]

        await store.change([keys], Question(keys.items(item_ids)), put)
        question = Question(keys.items(item_ids), {keys.catalog: [*item_ids[:2], "none"]})
        await store.change([keys], question, remove)
        await store.redis.set(keys.user("u"), b"1")
        assert await erase_user(store, keys.namespace, [keys], "u") == Erased(1, 0, 0, 0, 0)

    with redis_servers.cluster(tmp_path / "redis") as nodes:
        url = f"redis+cluster://127.0.0.1:{redis_servers.port_of(nodes[0])}"
        _run(url, keys, use)
        client: Any = connect(parse(url))
        left = {item_id.encode() for item_id in item_ids[2:]}
        assert client.smembers(keys.catalog) == left
        assert client.exists(*keys.items(item_ids), *keys.titles(item_ids)) == 36
        assert len(client.smembers(keys.live("a"))) == len(client.smembers(keys.live("p"))) == 20
        assert client.xlen(keys.item_changes) == 2
        assert client.smembers(keys.deleted_users) == {user_mark("u").encode()}
        client.close()
