"""Records that the store holds and the service must not trust."""

from __future__ import annotations

import numpy as np

from service.contract.records import encode
from tests.conftest import World
from tests.integration.conftest import Deployment, until


def test_a_corrupt_user_record_is_refused(deployment: Deployment, world: World) -> None:
    user_id = world.dataset.user_ids[0]
    deployment.redis.set(deployment.keys.user(user_id), b"\x01\x00 not a record")
    with deployment.serve() as service:
        answer = service.rank(user_id=user_id)
        assert answer["degraded"] == ["corrupt_record"]
        assert service.metric('rank_corrupt_records_total{record="user"}') == 1


def test_a_user_record_of_absurd_numbers_is_refused(deployment: Deployment, world: World) -> None:
    user_id = world.dataset.user_ids[0]
    (record,) = encode(np.full((1, world.artifact.manifest.record_dim), 3e38, np.float32))
    deployment.redis.set(deployment.keys.user(user_id), record)
    with deployment.serve() as service:
        answer = service.rank(user_id=user_id, top_k=3)
        assert answer["degraded"] == ["corrupt_record"]
        assert answer["items"] == service.rank(user_id="nobody", top_k=3)["items"]


def test_a_record_that_is_not_finite_never_reaches_the_ranking(
    deployment: Deployment, world: World
) -> None:
    dim = world.artifact.manifest.embedding_dim
    huge = np.full((1, dim), 3e38, np.float32)  # finite, but products with it are not
    (record,) = encode(huge, np.array([7], np.uint64))
    spoiled = world.dataset.item_ids[8]
    deployment.redis.set(deployment.keys.items([spoiled])[0], record)
    with deployment.serve() as service:
        items = service.rank(user_id="u", top_k=1000)["items"]
        assert spoiled not in [item["item_id"] for item in items]
        assert len(items) == len(world.dataset.item_ids) - 1
        (item,) = service.rank(user_id="u", candidates=[spoiled])["items"]
        assert item["status"] == "missing"
        assert service.metric('rank_corrupt_records_total{record="item"}') >= 1


def test_ids_that_are_not_utf8_do_not_stop_following_changes(
    deployment: Deployment, world: World
) -> None:
    keys, client = deployment.keys, deployment.redis
    target = world.dataset.item_ids[0]
    client.sadd(keys.catalog, b"\xff\xfe")
    with deployment.serve() as service:
        client.xadd(keys.item_changes, {"ids": b"\xff\xfe"})
        client.xadd(keys.item_changes, {"other": "field"})
        deployment.remove(target)
        deployment.announce(target)
        until(lambda: target not in service.ids(user_id="u", top_k=1000))


def test_an_item_without_proxies_is_ranked(deployment: Deployment, world: World) -> None:
    item_id = world.dataset.item_ids[8]
    deployment.redis.delete(deployment.keys.proxies([item_id])[0])
    user_id = world.dataset.user_ids[0]
    with deployment.serve() as service:
        at = {w: service.rank(user_id=user_id, candidates=[item_id], tradeoff=w) for w in (0, 1)}
    assert all(answer["items"][0]["status"] == "ok" for answer in at.values())
