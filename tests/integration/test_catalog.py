"""Catalogues that are large, do not fit in memory, or are not read to their end yet."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.catalog.item_table import OVERHEAD_BYTES
from service.contract.keys import Keys
from service.models.scorer import Scorer
from service.store.records import RedisStore
from tests.conftest import World
from tests.integration.conftest import Deployment, Running, deploy, running, until
from training.release.publish import publish


@pytest.fixture
def small(deployment: Deployment, world: World) -> Iterator[Running]:
    """Serve with memory for 300 of the 800 items."""
    manifest = world.artifact.manifest
    item_bytes = 4 * (manifest.state_dim + manifest.trace_dim) + OVERHEAD_BYTES
    settings = deployment.settings.model_copy(
        update={"catalog_max_bytes": 300 * item_bytes, "catalog_chunk": 100}
    )
    with running(settings) as service:
        until(lambda: service.client.get("/readyz").status_code == 200)
        yield service


def test_items_that_do_not_fit_are_read_when_a_request_names_them(
    small: Running, service: Running, world: World
) -> None:
    user_id, item_ids = world.dataset.user_ids[0], world.dataset.item_ids
    assert small.metric('rank_catalog_items{model="toy@1"}') == 300
    for start in range(0, len(item_ids), 80):
        body = {"user_id": user_id, "candidates": item_ids[start : start + 80], "top_k": 80}
        assert small.rank(**body)["items"] == service.rank(**body)["items"]
        assert small.metric('rank_catalog_items{model="toy@1"}') <= 300
    again = small.rank(user_id=user_id, candidates=item_ids[:80])
    assert again["degraded"] == []


def test_a_full_scan_of_a_catalogue_that_does_not_fit_is_degraded(
    small: Running, world: World
) -> None:
    answer = small.rank(user_id=world.dataset.user_ids[0], top_k=1000)
    assert answer["degraded"] == ["partial_catalog"]
    assert len(answer["items"]) == 300


def test_changes_reach_a_catalogue_that_does_not_fit(
    small: Running, deployment: Deployment
) -> None:
    target = small.ids(user_id="u", top_k=1)[0]
    deployment.remove(target)
    deployment.announce(target)
    until(lambda: target not in small.ids(user_id="u", top_k=1000))
    second = small.ids(user_id="u", top_k=1)[0]
    deployment.remove(second)
    deployment.gap()  # the items in memory are read again
    until(lambda: second not in small.ids(user_id="u", top_k=1000))


def test_a_catalogue_that_does_not_fit_keeps_its_lost_items(
    small: Running, deployment: Deployment, world: World
) -> None:
    lost = 'rank_catalog_lost_items{model="toy@1"}'
    held = small.ids(user_id="u", top_k=1000)
    deployment.redis.delete(*deployment.keys.items(world.dataset.item_ids))
    deployment.gap()
    until(lambda: small.metric(lost) == 300)
    assert small.ids(user_id="u", top_k=1000) == held
    unheld = next(item_id for item_id in world.dataset.item_ids if item_id not in held)
    (item,) = (ranking := small.rank(user_id="u", candidates=[unheld]))["items"]
    assert item["status"] == "missing"
    assert "lost_items" in ranking["degraded"]
    url = deployment.settings.redis_url.get_secret_value()
    publish(world.artifact, world.dataset, url=url, namespace=deployment.settings.namespace)
    until(lambda: small.rank(user_id="u", candidates=[unheld])["items"][0]["status"] != "missing")
    until(lambda: small.metric(lost) == 0)


def test_memory_is_reported(service: Running) -> None:
    items = service.metric('rank_catalog_items{model="toy@1"}')
    assert 100 < service.metric('rank_catalog_bytes{model="toy@1"}') / items < 1000


def test_progress_is_logged_and_readiness_waits_for_the_preload(
    deployment: Deployment,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    read, go_on, reached = RedisStore.items, threading.Event(), threading.Event()
    asked: list[int] = []

    async def slow(self: RedisStore, keys: Keys, item_ids: Sequence[str]) -> Any:
        asked.append(len(item_ids))
        if len(asked) == 4:
            reached.set()
            while not go_on.is_set():
                await self.ping()
        return await read(self, keys, item_ids)

    monkeypatch.setattr(RedisStore, "items", slow)
    monkeypatch.setattr("service.catalog.catalog._PROGRESS_S", 0.0)
    settings = deployment.settings.model_copy(update={"catalog_chunk": 100})
    with caplog.at_level(logging.INFO, "service.catalog.catalog"), running(settings) as service:
        assert reached.wait(20)
        assert service.client.get("/readyz").status_code == 503
        go_on.set()
        until(lambda: service.client.get("/readyz").status_code == 200)
    messages = [record.getMessage() for record in caplog.records]
    total = len(world.dataset.item_ids)
    assert sum(f"of {total} items encoded" in message for message in messages) > 4
    assert f"{total} of {total} items encoded" in messages[-1]
    assert "bytes an item" in messages[-1]


@pytest.fixture
def large(
    world: World, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Running]:
    """Serve a catalogue that counts as large; one full scan may wait."""
    monkeypatch.setattr("service.ranking.ranker.RUN_ROWS", 100)
    deployed = deploy(world, redis_url, tmp_path / "models", scan_queue=1)
    with deployed.serve() as service:
        yield service


def test_a_large_catalogue_is_ranked_like_a_small_one(
    large: Running, service: Running, world: World
) -> None:
    bodies: list[dict[str, Any]] = [
        {"top_k": 1000},
        {"exclude": world.dataset.item_ids[:30]},
        {"explain": True},
    ]
    for body in bodies:
        body["user_id"] = world.dataset.user_ids[1]
        assert large.rank(**body)["items"] == service.rank(**body)["items"]


def test_a_full_scan_blocks_no_other_request_and_few_may_wait(
    large: Running, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, begun, go_on = Scorer.score, threading.Semaphore(0), threading.Event()
    user_id, item_ids = world.dataset.user_ids[0], world.dataset.item_ids
    expected = large.ids(user_id=user_id)

    def slow(self: Scorer, user: Any, state: np.ndarray, *rest: Any) -> np.ndarray:
        if len(state) > 100:
            begun.release()
            assert go_on.wait(20)
        return score(self, user, state, *rest)

    monkeypatch.setattr(Scorer, "score", slow)
    url, answers = large.client.base_url.join("/rank"), list[list[str]]()

    def ask() -> None:
        items = httpx.post(url, json={"user_id": user_id}, timeout=20).json()["items"]
        answers.append([item["item_id"] for item in items])

    asking = [threading.Thread(target=ask) for _ in range(2)]
    try:
        asking[0].start()
        assert begun.acquire(timeout=20)
        # Rankings of candidates are answered meanwhile.
        assert len(large.ids(user_id=user_id, candidates=item_ids[:50])) == 50
        asking[1].start()
        until(lambda: large.app.state.ranker._full_scans._admitted == 2)
        refused = large.client.post("/rank", json={"user_id": user_id})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    finally:
        go_on.set()
        for thread in asking:
            thread.join()
    assert answers == [expected, expected]
