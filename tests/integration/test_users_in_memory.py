"""Two services on one store: each ranks by the users it has seen, as they are now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conftest import World
from tests.integration.conftest import Deployment, Running, deploy, until
from training.release.publish import publish

READS = 'rank_store_seconds_count{operation="users"}'
FOLLOWED = "rank_user_memory_followed"
HITS = 'rank_user_memory_reads_total{result="hit"}'


@dataclass(frozen=True)
class Two:
    """Two replicas, and what they serve; each test has users of its own."""

    one: Running
    other: Running
    deployment: Deployment


@pytest.fixture(scope="module")
def two(world: World, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    deployment = deploy(world, redis_url, tmp_path_factory.mktemp("two") / "models")
    with deployment.serve() as one, deployment.serve() as other:
        until(lambda: one.metric(FOLLOWED) and other.metric(FOLLOWED))
        yield Two(one, other, deployment)


def click(service: Running, user_id: str, item_id: str) -> None:
    event = {"request_id": "r", "item_id": item_id, "kind": "click", "user_id": user_id}
    assert service.client.post("/events", json=[event]).status_code == 202


def order(service: Running, user_id: str) -> list[str]:
    return service.ids(user_id=user_id, top_k=1000)


def until_ids(service: Running, user_id: str, expected: list[str]) -> None:
    until(lambda: order(service, user_id) == expected, timeout_s=1.0)


def test_a_second_page_reads_nothing(two: Two, world: World) -> None:
    service = two.one
    for user_id, degraded in ((world.dataset.user_ids[0], []), ("nobody", ["unknown_user"])):
        first = service.rank(user_id=user_id)
        reads, hits = service.metric(READS), service.metric(HITS)
        second = service.rank(user_id=user_id)
        assert (second["items"], second["degraded"]) == (first["items"], degraded)
        assert (service.metric(READS), service.metric(HITS)) == (reads, hits + 1)
    assert service.metric("rank_user_memory_users") >= 2
    assert service.metric("rank_user_memory_bytes") > 1000


def test_a_click_on_one_replica_is_seen_by_both(two: Two, world: World) -> None:
    data = world.dataset
    for user_id in (data.user_ids[1], "new here"):
        before = [order(service, user_id) for service in (two.one, two.other)]
        assert before[0] == before[1]
        click(two.one, user_id, data.item_ids[4])
        after = order(two.one, user_id)  # at once
        assert after != before[0]
        until_ids(two.other, user_id, after)


def test_a_deletion_on_one_replica_is_seen_by_both(two: Two, world: World) -> None:
    user_id = world.dataset.user_ids[2]
    for service in (two.one, two.other):
        assert service.rank(user_id=user_id)["degraded"] == []
    assert two.other.client.delete(f"/users/{user_id}").status_code == 200
    unknown = ["unknown_user"]
    assert two.other.rank(user_id=user_id)["degraded"] == unknown
    until(lambda: two.one.rank(user_id=user_id)["degraded"] == unknown, timeout_s=1.0)


def test_a_publication_brings_lost_users_back(two: Two, world: World) -> None:
    user_id, settings = world.dataset.user_ids[3], two.deployment.settings
    two.deployment.redis.delete(two.deployment.keys.user(user_id))
    assert two.one.rank(user_id=user_id)["degraded"] == ["unknown_user"]
    url = settings.redis_url.get_secret_value()
    publish(world.artifact, world.dataset, url=url, namespace=settings.namespace)
    until(lambda: two.one.rank(user_id=user_id)["degraded"] == [], timeout_s=1.0)


def test_memory_can_be_off(two: Two, world: World) -> None:
    settings = two.deployment.settings.model_copy(update={"user_memory": False})
    deployment = two.deployment
    off = Deployment(settings, deployment.repository, deployment.keys, deployment.redis)
    with off.serve() as service:
        for _ in range(2):
            service.rank(user_id=world.dataset.user_ids[4])
        assert (service.metric(READS), service.metric(HITS)) == (2, 0)
        assert service.metric(FOLLOWED) == 0
