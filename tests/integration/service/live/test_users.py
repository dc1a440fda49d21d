"""``DELETE /users/{user_id}``: what the store holds of a person goes, and stays away."""

from __future__ import annotations

from typing import Any

from service.contract.feedback import (
    FORGOTTEN_S,
    RECORD,
    Decision,
    Event,
    decisions_key,
    encode,
    events_key,
    forgotten_key,
    history_key,
    shard_of,
)
from service.contract.user_tradeoffs import tradeoff_key
from tests.conftest import World
from tests.integration.conftest import Deployment
from training.release.publish import publish

SHARDS = 3


def _log(deployment: Deployment, request_id: str, user_id: str, *, known: bool) -> None:
    """Log a decision with two events, which name the user where they are ``known``."""
    namespace, shard = deployment.settings.namespace, shard_of(request_id, SHARDS)
    decision = Decision(
        request_id=request_id,
        time_ms=1,
        user_id=user_id,
        model="toy@1",
        tradeoff=0.5,
        pool="catalogue",
        pool_size=2,
        item_ids=["a", "b"],
        scores=[0.2, 0.1],
        propensities=[1.0, 1.0],
    )
    deployment.redis.xadd(decisions_key(namespace, shard), {RECORD: encode(decision)})
    for kind in ("view", "click"):
        of_user = user_id if known else None
        event = Event(request_id=request_id, item_id="a", kind=kind, time_ms=2, user_id=of_user)
        deployment.redis.xadd(events_key(namespace, shard), {RECORD: encode(event)})


def _streams(deployment: Deployment) -> list[bytes]:
    names = deployment.redis.keys(f"*{deployment.settings.namespace}*")
    streams = [n for n in names if n.endswith((b":decisions", b":events"))]
    return [fields[RECORD] for n in streams for _, fields in deployment.redis.xrange(n)]


def test_a_deleted_user_is_gone_from_records_and_streams(
    deployment: Deployment, world: World
) -> None:
    user_id, other = 'u/"\n0001', world.dataset.user_ids[2]
    namespace = deployment.settings.namespace
    record: Any = deployment.redis.get(deployment.keys.user(other))
    deployment.redis.set(deployment.keys.user(user_id), record)
    deployment.redis.rpush(history_key(namespace, user_id), "i0001")
    deployment.redis.set(tradeoff_key(namespace, user_id), "0.3")
    for number in range(600):
        _log(deployment, f"r{number}", (user_id, other)[number % 2], known=number % 3 == 0)
    deployment.redis.xadd(events_key(namespace), {RECORD: b"torn"})
    with deployment.serve() as service:
        assert service.rank(user_id=user_id)["degraded"] == []
        response = service.client.delete("/users/u%2F%22%0A0001")
        answer = response.json()
        assert answer.pop("request_id") == response.headers["X-Request-ID"]
        own = {"records": 1, "histories": 1, "tradeoffs": 1}
        assert answer == {**own, "decisions": 300, "events": 600}
        assert service.rank(user_id=user_id)["degraded"] == ["unknown_user"]
        assert service.rank(user_id=other)["degraded"] == []
        again = service.client.delete("/users/u%2F%22%0A0001").json()
        assert not any(value for name, value in again.items() if name != "request_id")
        assert service.client.delete("/users/" + "x" * 129).status_code == 422
        assert service.client.delete("/users").status_code == 404
        assert 'route="/users/{user_id}",status="200"' in service.client.get("/metrics").text
    assert deployment.redis.zrange(forgotten_key(namespace), 0, -1) == [user_id.encode()]
    assert 0 < deployment.redis.ttl(forgotten_key(namespace)) <= FORGOTTEN_S
    left = _streams(deployment)
    assert len(left) == 300 + 600 + 1
    assert not any(b"0001" in entry and b"u/" in entry for entry in left)
    assert not any(user_id.encode() in name for name in deployment.redis.keys(f"*{namespace}*"))


def test_a_publication_does_not_bring_a_deleted_user_back(
    deployment: Deployment, world: World
) -> None:
    user_id = world.dataset.user_ids[5]
    url, namespace = deployment.settings.redis_url.get_secret_value(), deployment.settings.namespace
    with deployment.serve() as service:
        assert service.client.delete(f"/users/{user_id}").json()["records"] == 1
        for fresh in (False, True):
            done = publish(world.artifact, world.dataset, url=url, namespace=namespace, fresh=fresh)
            assert done.users == len(world.dataset.user_ids) - 1
        assert service.rank(user_id=user_id)["degraded"] == ["unknown_user"]
