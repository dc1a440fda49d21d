"""The work of a request, in counts that do not depend on the machine."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.contract.keys import Keys
from service.models.scorer import Scorer
from service.store.limit import Limit
from service.store.records import RedisStore
from service.store.user_memory import StoredUser
from service.telemetry import Telemetry
from tests.conftest import World
from tests.integration.conftest import Deployment, Running, deploy, until
from training.demo.local_redis import private_redis
from training.release.publish import publish

_READ_BYTES = 'rank_store_read_bytes_total{operation="%s"}'


@dataclasses.dataclass
class Work:
    """Counts the service's work since the last ``reset``."""

    service: Running
    deployment: Deployment
    runs: Counter[str]
    encoded: Counter[str]
    bytes_before: dict[str, float] = dataclasses.field(default_factory=dict)

    def reset(self) -> None:
        self.deployment.redis.config_resetstat()
        self.runs.clear()
        self.encoded.clear()
        self.bytes_before = self._read_bytes()

    def commands(self) -> dict[str, int]:
        """Count Redis commands, less those of this test and of following changes and verdicts."""
        stats: Any = self.deployment.redis.info("commandstats")
        following = ("xread", "xrange", "xrevrange", "multi", "exec", "hgetall")
        of_test = ("config|resetstat", "info")
        counts = {name.removeprefix("cmdstat_"): entry["calls"] for name, entry in stats.items()}
        return {name: count for name, count in counts.items() if name not in following + of_test}

    def bytes_read(self) -> dict[str, float]:
        """Count bytes of records read, by operation."""
        return {name: n - self.bytes_before[name] for name, n in self._read_bytes().items()}

    def _read_bytes(self) -> dict[str, float]:
        return {name: self.service.metric(_READ_BYTES % name) for name in ("users", "items")}


@pytest.fixture
def work(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Running, Work]]:
    """Serve from a private Redis; count graph runs and items read to be encoded."""
    runs, encoded, items = Counter[str](), Counter[str](), RedisStore.items

    def counting(method: Callable[..., Any], graph: str) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            runs[graph] += 1
            return method(*arguments)

        return counted

    async def counting_items(self: RedisStore, keys: Keys, item_ids: Sequence[str]) -> Any:
        encoded.update(item_ids)
        return await items(self, keys, item_ids)

    monkeypatch.setattr(RedisStore, "items", counting_items)
    for method, graph in (
        ("encode_items", "item_encoder"),
        ("encode_user", "user_encoder"),
        ("score", "ranker"),
    ):
        monkeypatch.setattr(Scorer, method, counting(getattr(Scorer, method), graph))
    with private_redis() as url:
        deployed = deploy(world, url, tmp_path / "models", user_memory=False)
        with deployed.serve() as service:
            yield service, Work(service, deployed, runs, encoded)


def test_a_ranking_is_one_read_one_run_and_no_encoding(
    work: tuple[Running, Work], world: World
) -> None:
    service, counted = work
    record_bytes = 24 + 4 * world.artifact.manifest.record_dim
    for body in (
        {"candidates": world.dataset.item_ids[:500]},
        {"candidates": world.dataset.item_ids[:500], "format": "columns", "tradeoff": 0.1},
        {"exclude": world.dataset.item_ids[:9]},  # of the whole catalogue
        {"candidates": world.dataset.item_ids[:7], "history": world.dataset.item_ids[:5]},
    ):
        counted.reset()
        service.rank(user_id=world.dataset.user_ids[0], **body)
        assert counted.commands() == {"mget": 1}
        assert counted.runs == {"ranker": 1}
        assert not counted.encoded
        assert counted.bytes_read() == {"users": record_bytes, "items": 0}


def test_requests_of_one_turn_share_one_read(work: tuple[Running, Work], world: World) -> None:
    _, counted = work
    deployed = counted.deployment

    async def ask() -> list[StoredUser]:
        store = RedisStore(deployed.settings, Telemetry())
        try:
            users = world.dataset.user_ids[:20]
            return await asyncio.gather(*(store.user(deployed.keys, u, Limit(5)) for u in users))
        finally:
            await store.close()

    counted.reset()
    assert all(user.record for user in asyncio.run(ask()))
    assert counted.commands()["mget"] == 1


def test_an_explained_ranking_is_scored_once(work: tuple[Running, Work], world: World) -> None:
    service, counted = work
    counted.reset()
    service.rank(user_id=world.dataset.user_ids[0], explain=True)
    assert counted.runs == {"ranker": 1}
    assert counted.commands() == {"mget": 1}


def test_items_the_store_lacks_are_asked_for_once(work: tuple[Running, Work], world: World) -> None:
    service, counted = work
    body = {"user_id": world.dataset.user_ids[0], "candidates": ["no-1", "no-2", "no-1"]}
    counted.reset()
    service.rank(**body)
    # Of the user, of the items, and whether the catalogue lists those without a record.
    assert counted.commands() == {"mget": 2, "smismember": 1, "scard": 1}
    assert counted.encoded == {"no-1": 1, "no-2": 1}
    counted.reset()
    service.rank(**body)
    assert counted.commands() == {"mget": 1}


def test_a_request_reads_a_bounded_number_of_items(
    work: tuple[Running, Work], world: World
) -> None:
    service, counted = work
    body = {"user_id": world.dataset.user_ids[0], "candidates": [f"no-{n}" for n in range(2500)]}
    for read, degraded in ((1000, ["overloaded"]), (1000, ["overloaded"]), (500, []), (0, [])):
        counted.reset()
        answer = service.rank(**body)
        assert answer["degraded"] == degraded
        assert {item["status"] for item in answer["items"]} == {"missing"}
        assert counted.encoded.total() == read  # what is known to be absent is not read again
    assert service.metric('rank_shed_total{queue="items"}') == 2


def test_an_unchanged_item_is_never_read_twice(work: tuple[Running, Work], world: World) -> None:
    service, counted = work
    user_id, item_ids = world.dataset.user_ids[0], world.dataset.item_ids
    assert counted.encoded == dict.fromkeys(item_ids, 1)
    proxies = world.dataset.proxies.copy()
    proxies[[5, 6]] = proxies[[6, 5]] + 1.0
    changed = dataclasses.replace(world.dataset, proxies=proxies)
    url = counted.deployment.settings.redis_url.get_secret_value()
    counted.reset()
    publish(world.artifact, changed, url=url, namespace=counted.deployment.settings.namespace)
    # A batch is announced as one: here it is the whole catalogue, once.
    until(lambda: service.metric('rank_catalog_changes_total{cause="change",model="toy@1"}'))
    for _ in range(5):
        service.rank(user_id=user_id, candidates=item_ids[:300])
        service.rank(user_id=user_id)
    assert set(counted.encoded.values()) == {1}
    counted.reset()
    counted.deployment.redis.xadd(counted.deployment.keys.item_changes, {"ids": item_ids[9]})
    until(lambda: counted.encoded)
    assert counted.encoded == {item_ids[9]: 1}


def test_after_a_gap_each_item_is_read_once(work: tuple[Running, Work], world: World) -> None:
    service, counted = work
    keys, client = counted.deployment.keys, counted.deployment.redis
    counted.reset()
    pipeline = client.pipeline(transaction=True)
    pipeline.xadd(keys.item_changes, {"ids": world.dataset.item_ids[0]})
    pipeline.xadd(keys.item_changes, {"ids": world.dataset.item_ids[1]}, maxlen=1)
    pipeline.execute()
    until(lambda: service.metric('rank_catalog_changes_total{cause="gap",model="toy@1"}'))
    assert counted.encoded == dict.fromkeys(world.dataset.item_ids, 1)


def test_concurrent_requests_for_one_unheld_item_read_it_once(
    work: tuple[Running, Work], world: World
) -> None:
    service, counted = work
    keys, client = counted.deployment.keys, counted.deployment.redis
    record: Any = client.get(keys.items([world.dataset.item_ids[0]])[0])
    client.set(keys.items(["unlisted"])[0], record)
    counted.reset()

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=service.client.base_url, timeout=20) as web:
            body = {"user_id": "u", "candidates": ["unlisted"]}
            return list(await asyncio.gather(*(web.post("/rank", json=body) for _ in range(12))))

    answers = [response.json()["items"][0]["status"] for response in asyncio.run(ask())]
    assert answers == [answers[0]] * 12
    assert answers[0] != "missing"
    assert counted.encoded == {"unlisted": 1}


def test_what_is_encoded_for_a_request_is_what_preload_encodes(
    work: tuple[Running, Work], world: World
) -> None:
    service, counted = work
    keys, client = counted.deployment.keys, counted.deployment.redis
    for keys_of in (keys.items, keys.proxies):
        record: Any = client.get(keys_of([world.dataset.item_ids[3]])[0])
        client.set(keys_of(["copy"])[0], record)
    items = service.rank(user_id="u", candidates=["copy", world.dataset.item_ids[3]])["items"]
    np.testing.assert_allclose(items[0]["score"], items[1]["score"], rtol=1e-6)
