"""What a request does not wait for: its answer is a ranking that names what ran out."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import World
from tests.integration.conftest import Deployment, Running, deploy, running, until
from training.demo.local_redis import private_redis


def test_a_deadline_within_a_read_of_items_is_no_error(service: Running, world: World) -> None:
    user_id = world.dataset.user_ids[0]
    for deadline_ms in (0.2, 1.5, 3.0):
        for number in range(40):
            candidates = [f"{deadline_ms}-{number}-{n}" for n in range(100)]
            body = {"user_id": user_id, "candidates": candidates, "deadline_ms": deadline_ms}
            assert service.rank(**body)["degraded"] in ([], ["deadline"])


def test_what_a_deadline_cut_short_is_not_read_again(service: Running, world: World) -> None:
    body = {"user_id": world.dataset.user_ids[0], "candidates": ["cut-short"]}
    assert service.rank(**body, deadline_ms=0.01)["degraded"] == ["deadline"]
    assert service.rank(**body)["degraded"] == []


def test_a_missed_deadline_is_not_the_stores_fault(deployment: Deployment, world: World) -> None:
    outcomes = Counter[str]()
    # A user in memory is there in time.
    with running(deployment.settings.model_copy(update={"user_memory": False})) as service:
        until(lambda: service.client.get("/readyz").status_code == 200)
        for deadline_ms in (0.05, 0.5, 1.0):
            for number in range(100):
                user_id = world.dataset.user_ids[number % 20]
                answer = service.rank(user_id=user_id, top_k=1, deadline_ms=deadline_ms)
                outcomes.update(answer["degraded"] or ["in time"])
        assert service.metric("rank_store_breaker_opened_total") == 0
    assert set(outcomes) <= {"deadline", "in time"}
    assert outcomes["deadline"] >= 100  # nothing is answered within 50 microseconds


def test_deadlines_of_items_do_not_open_the_breaker(world: World, tmp_path: Path) -> None:
    with private_redis() as url:
        deployment = deploy(world, url, tmp_path / "models", store_timeout_ms=30_000)
        with deployment.serve() as service:
            deployment.redis.execute_command("CLIENT PAUSE", 60_000)
            for number in range(5):
                answer = service.rank(user_id="u", candidates=[f"new-{number}"], deadline_ms=20)
                assert answer["degraded"] == ["deadline"]
            assert service.metric("rank_store_breaker_state") == 0


def test_a_short_timeout_of_the_store_is_no_error_for_many_at_once(
    world: World, redis_url: str, tmp_path: Path
) -> None:
    deployment = deploy(world, redis_url, tmp_path / "models", store_timeout_ms=5)
    allowed = {"overloaded", "store_unavailable"}

    async def ask(base_url: httpx.URL) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=base_url, timeout=30) as web:
            bodies: list[dict[str, Any]] = [
                {"user_id": "u", "top_k": 1, "candidates": [f"{k}-{n}" for n in range(2000)]}
                for k in range(36)
            ]
            return list(await asyncio.gather(*(web.post("/rank", json=body) for body in bodies)))

    with deployment.serve() as service:
        responses = asyncio.run(ask(service.client.base_url))
    assert [response.status_code for response in responses] == [200] * 36
    for response in responses:
        assert set(response.json()["degraded"]) - {"unknown_user"} <= allowed
        assert response.json()["items"][0]["status"] == "missing"
