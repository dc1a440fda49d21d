"""Redis loses items that nobody removed: memory keeps them, rankings name the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.conftest import World
from tests.integration.conftest import Deployment, until
from training.release.publish import publish

_LOST = 'rank_catalog_lost_items{model="toy@1"}'
_ALL = {"user_id": "u", "top_k": 1000}


def _lose(deployment: Deployment, item_ids: Sequence[str]) -> None:
    """Delete records that the catalogue still lists, as an eviction does."""
    deployment.redis.delete(*deployment.keys.items(item_ids))


def _publish(deployment: Deployment, world: World, **options: Any) -> None:
    url = deployment.settings.redis_url.get_secret_value()
    publish(
        world.artifact, world.dataset, url=url, namespace=deployment.settings.namespace, **options
    )


def test_all_records_are_lost_and_every_item_is_still_ranked(
    deployment: Deployment, world: World
) -> None:
    with deployment.serve() as service:
        before = service.rank(**_ALL)["items"]
        _lose(deployment, world.dataset.item_ids)
        deployment.gap()
        until(lambda: service.metric(_LOST) == len(before))
        after = service.rank(**_ALL)
        assert after["items"] == before
        assert after["degraded"] == ["lost_items", "unknown_user"]
        readiness = service.client.get("/readyz")
        assert readiness.status_code == 200
        assert "the store has lost 800 items of toy@1" in readiness.json()["reason"]
        _publish(deployment, world)
        until(lambda: service.metric(_LOST) == 0)
        assert service.rank(**_ALL)["degraded"] == ["unknown_user"]
        assert service.client.get("/readyz").json()["reason"] is None


def test_one_lost_item_degrades_the_rankings_that_name_it(
    deployment: Deployment, world: World
) -> None:
    target, other = world.dataset.item_ids[:2]
    user_id = world.dataset.user_ids[0]
    with deployment.serve() as service:
        before = service.rank(user_id=user_id, candidates=[target])["items"]
        _lose(deployment, [target])
        deployment.announce(target)
        until(lambda: service.metric(_LOST) == 1)
        ranking = service.rank(user_id=user_id, candidates=[target])
        assert (ranking["items"], ranking["degraded"]) == (before, ["lost_items"])
        assert service.rank(user_id=user_id, candidates=[other])["degraded"] == []
        deployment.remove(target)  # now on purpose
        deployment.announce(target)
        until(lambda: service.metric(_LOST) == 0)
        assert target not in service.ids(**_ALL)


def test_a_record_that_becomes_corrupt_does_not_replace_the_state_in_memory(
    deployment: Deployment, world: World
) -> None:
    target = world.dataset.item_ids[0]
    with deployment.serve() as service:
        before = service.rank(user_id="u", candidates=[target])["items"]
        deployment.redis.set(deployment.keys.items([target])[0], b"\x01\x00 not a record")
        deployment.announce(target)
        until(lambda: service.metric(_LOST) == 1)
        assert service.rank(user_id="u", candidates=[target])["items"] == before
        assert service.metric('rank_corrupt_records_total{record="item"}') == 1


@pytest.mark.parametrize("rest", [0, 10])
def test_a_catalogue_set_that_is_lost_or_begun_anew_removes_nothing(
    deployment: Deployment, world: World, rest: int
) -> None:
    item_ids = world.dataset.item_ids
    with deployment.serve() as service:
        before = service.ids(**_ALL)
        deployment.redis.delete(deployment.keys.catalog)
        if rest:
            deployment.redis.sadd(deployment.keys.catalog, *item_ids[:rest])
        deployment.gap()
        until(lambda: service.metric(_LOST) == len(item_ids) - rest)
        ranking = service.rank(**_ALL)
        assert [item["item_id"] for item in ranking["items"]] == before
        assert ranking["degraded"] == ["lost_items", "unknown_user"]
        if not rest:  # a change that names a lost item does not remove it
            _lose(deployment, item_ids[:1])
            deployment.announce(item_ids[0], "unheard-of")
            until(
                lambda: service.metric('rank_catalog_changes_total{cause="change",model="toy@1"}')
            )
            assert service.ids(**_ALL) == before
        _publish(deployment, world, fresh=True)
        until(lambda: service.metric(_LOST) == 0)


def test_a_replica_that_starts_with_part_of_the_records_says_so(
    deployment: Deployment, world: World
) -> None:
    item_ids = world.dataset.item_ids
    _lose(deployment, item_ids[100:])
    with deployment.serve() as service:
        assert service.metric(_LOST) == len(item_ids) - 100
        ranking = service.rank(**_ALL)
        assert len(ranking["items"]) == 100
        assert ranking["degraded"] == ["lost_items", "unknown_user"]
        (item,) = (ranking := service.rank(user_id="u", candidates=[item_ids[200]]))["items"]
        assert item["status"] == "missing"
        assert ranking["degraded"] == ["lost_items", "unknown_user"]
        _publish(deployment, world)
        until(lambda: service.metric(_LOST) == 0)
        assert len(service.ids(**_ALL)) == len(item_ids)


def test_a_replica_that_starts_without_any_record_is_not_ready(
    deployment: Deployment, world: World
) -> None:
    _lose(deployment, world.dataset.item_ids)
    with deployment.serve(ready=False) as service:
        until(lambda: "holds no items" in (service.client.get("/readyz").json()["reason"] or ""))
        assert service.client.get("/readyz").status_code == 503
