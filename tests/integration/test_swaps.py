"""Swaps of models under load: dropped models are released, and the service still stops."""

from __future__ import annotations

import asyncio
import gc
import itertools
import shutil
import threading
import weakref

import httpx
import pytest

from service.contract.keys import Keys
from service.models.registry import Registry
from service.store.records import Changes, RedisStore
from tests.conftest import World
from tests.integration.conftest import Deployment, Running, until

SWAPS = 6


@pytest.fixture
def deaf_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reads of changes swallow cancellations, as asyncio.wait_for may before Python 3.12."""
    changes = RedisStore.changes

    async def deaf(self: RedisStore, keys: Keys, position: tuple[str, str]) -> Changes:
        try:
            return await changes(self, keys, position)
        except asyncio.CancelledError:
            return await changes(self, keys, position)

    monkeypatch.setattr(RedisStore, "changes", deaf)


def _served(service: Running) -> list[int]:
    return [model["version"] for model in service.client.get("/models").json()["models"]]


@pytest.mark.usefixtures("deaf_reads")
def test_each_loaded_model_has_one_follower_after_swaps_under_load(
    deployment: Deployment, world: World
) -> None:
    repository = deployment.repository
    shutil.copytree(repository.path("toy", 1), repository.path("toy", 2))
    numbers, done = itertools.count(), threading.Event()
    answers: list[httpx.Response] = []
    with deployment.serve() as service:
        url = service.client.base_url.join("/rank")

        def ask() -> None:
            with httpx.Client(timeout=20) as client:
                while not done.is_set():
                    unread = f"new-{next(numbers)}"  # each request reads the store
                    body = {"user_id": "u", "candidates": [unread, *world.dataset.item_ids[:50]]}
                    answers.append(client.post(url, json=body))

        asking = [threading.Thread(target=ask) for _ in range(4)]
        for thread in asking:
            thread.start()
        try:
            for number in range(SWAPS):
                version = 2 - number % 2
                repository.promote("toy", version)
                until(lambda version=version: _served(service) == [version])  # type: ignore[misc]  # binds version
        finally:
            done.set()
            for thread in asking:
                thread.join()
        until(lambda: service.metric("rank_catalog_followers") == 1)
        assert service.metric('rank_model_loads_total{result="ok"}') == 1 + SWAPS
        assert 'model="toy@2"' not in service.client.get("/metrics").text
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["model"] for answer in answers} == {"toy@1", "toy@2"}


def test_a_dropped_model_leaves_memory_without_a_collection(deployment: Deployment) -> None:
    repository = deployment.repository
    shutil.copytree(repository.path("toy", 1), repository.path("toy", 2))
    with deployment.serve() as service:
        registry: Registry = service.app.state.registry
        dropped = weakref.ref(registry.resolve(None).catalog)
        gc.disable()
        try:
            repository.promote("toy", 2)
            until(lambda: _served(service) == [2])
            until(lambda: dropped() is None)
        finally:
            gc.enable()


@pytest.mark.usefixtures("deaf_reads")
def test_a_follower_that_misses_its_cancellation_does_not_keep_the_service_from_stopping(
    deployment: Deployment,
) -> None:
    with deployment.serve() as service:  # the block's end waits for the service's
        assert service.metric("rank_catalog_followers") == 1


def test_a_watch_that_misses_its_cancellation_does_not_keep_the_service_from_stopping(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh, begun, missed = Registry.refresh, threading.Event(), threading.Event()

    async def deaf(self: Registry) -> None:
        await refresh(self)
        if missed.is_set():
            return
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            missed.set()

    monkeypatch.setattr(Registry, "refresh", deaf)
    with deployment.serve():
        assert begun.wait(20)
    assert missed.is_set()
