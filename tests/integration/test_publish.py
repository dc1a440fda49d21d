"""Publishing to a real Redis while a service follows the changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import redis

from service.contract.keys import Keys
from service.contract.records import decode
from service.contract.titles import ItemTitle
from service.errors import StoreError
from service.store.records import RedisStore
from tests.conftest import World
from tests.integration.conftest import Deployment, until
from training.data.dataset import Dataset
from training.errors import PublishError
from training.release.publish import Published, publish


def _again(deployment: Deployment, world: World, dataset: Dataset, **options: Any) -> Published:
    return publish(
        world.artifact,
        dataset,
        url=deployment.settings.redis_url.get_secret_value(),
        namespace=deployment.settings.namespace,
        **options,
    )


def test_published_records_hold_the_learned_features(deployment: Deployment, world: World) -> None:
    user_id, item_ids = world.dataset.user_ids[2], world.dataset.item_ids[:50]
    raw: Any = deployment.redis.get(deployment.keys.user(user_id))
    record = decode([raw], world.artifact.manifest.record_dim).values
    expected = world.fitted.net.user_records()[2:3].detach().numpy()
    np.testing.assert_array_equal(record, expected)
    records: Any = deployment.redis.mget(deployment.keys.items(item_ids))
    items = decode(records, world.artifact.manifest.embedding_dim)
    content = world.dataset.embedding.shape[1]
    np.testing.assert_array_equal(items.values[:, :content], world.dataset.embedding[:50])
    warm = world.fitted.warm.numpy()[:50]
    learned = world.fitted.net.learned_items().detach().numpy()[:50] * warm[:, None]
    np.testing.assert_array_equal(items.values[:, content:], learned)
    proxies: Any = deployment.redis.mget(deployment.keys.proxies(item_ids))
    values = decode(proxies, len(world.dataset.proxy_fields), allow_nan=True).values
    np.testing.assert_array_equal(values, world.dataset.proxies[:50])
    assert deployment.redis.scard(deployment.keys.catalog) == len(world.dataset.item_ids)


def test_publishing_again_writes_nothing(deployment: Deployment, world: World) -> None:
    done = _again(deployment, world, world.dataset)
    assert done == Published(len(world.dataset.user_ids), len(world.dataset.item_ids), 0)
    assert _again(deployment, world, world.dataset, fresh=True).written == (
        3 * len(world.dataset.item_ids) + len(world.dataset.user_ids)
    )


def test_items_that_the_dataset_lacks_leave_the_catalogue(
    deployment: Deployment, world: World
) -> None:
    data, remaining = world.dataset, len(world.dataset.item_ids) - 100
    smaller = dataclasses.replace(
        data,
        item_ids=data.item_ids[:remaining],
        embedding=data.embedding[:remaining],
        modality_mask=data.modality_mask[:remaining],
        proxies=data.proxies[:remaining],
    )
    deployment.redis.sadd(deployment.keys.catalog, b"\xff no id of ours")
    with deployment.serve() as service:
        assert len(service.ids(user_id="u", top_k=1000)) == remaining + 100
        assert _again(deployment, world, smaller).removed == 101
        until(lambda: len(service.ids(user_id="u", top_k=1000)) == remaining)
        assert service.metric('rank_catalog_items{model="toy@1"}') == remaining
    assert deployment.redis.scard(deployment.keys.catalog) == remaining
    assert deployment.redis.exists(*deployment.keys.items(data.item_ids[remaining:])) == 0
    assert _again(deployment, world, smaller).removed == 0


def test_proxies_that_another_model_overwrote_are_written_again(
    deployment: Deployment, world: World
) -> None:
    """Models that share a proxy space share its mark of what is published."""
    other = dataclasses.replace(world.dataset, proxies=world.dataset.proxies + 1)
    spaces = world.artifact.manifest.spaces.model_copy(update={"items": "other", "users": "other"})
    manifest = world.artifact.manifest.model_copy(update={"spaces": spaces})
    artifact = dataclasses.replace(world.artifact, manifest=manifest)
    url = deployment.settings.redis_url.get_secret_value()
    publish(artifact, other, url=url, namespace=deployment.settings.namespace)
    assert _again(deployment, world, world.dataset).written == len(world.dataset.item_ids)
    key = deployment.keys.proxies(world.dataset.item_ids[:1])
    record: Any = deployment.redis.get(key[0])
    values = decode([record], len(world.dataset.proxy_fields), allow_nan=True).values
    np.testing.assert_array_equal(values, world.dataset.proxies[:1])


def test_records_that_were_lost_are_written_again(deployment: Deployment, world: World) -> None:
    deployment.redis.delete(deployment.keys.items([world.dataset.item_ids[3]])[0])
    assert _again(deployment, world, world.dataset).written == len(world.dataset.item_ids)
    assert _again(deployment, world, world.dataset).written == 0


def test_an_interrupted_publishing_continues_where_it_stopped(
    world: World, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dropped(redis.client.Pipeline):
        left = 4

        def execute(self, raise_on_error: bool = True) -> Any:
            if Dropped.left == 0:
                raise redis.ConnectionError("cut")
            Dropped.left -= 1
            return super().execute(raise_on_error)

    def pipeline(self: redis.Redis, transaction: bool = True) -> redis.client.Pipeline:
        return Dropped(self.connection_pool, self.response_callbacks, transaction, None)

    options: dict[str, Any] = {"url": redis_url, "namespace": "interrupted", "batch": 100}
    with monkeypatch.context() as patch:
        patch.setattr(redis.Redis, "pipeline", pipeline)
        with pytest.raises(PublishError, match=r"cut.*run the same command"):
            publish(world.artifact, world.dataset, **options)
    done = publish(world.artifact, world.dataset, **options)
    total = 3 * len(world.dataset.item_ids) + len(world.dataset.user_ids)
    assert done.written == total - 4 * 100


def test_a_dataset_that_does_not_fit_the_model_is_refused(
    deployment: Deployment, world: World
) -> None:
    renamed = [m.model_copy(update={"name": "text"}) for m in world.dataset.modalities]
    other = dataclasses.replace(world.dataset, modalities=tuple(renamed))
    with pytest.raises(PublishError, match="was trained on modalities"):
        _again(deployment, world, other)


def test_an_unreachable_store_is_named_without_its_password(world: World) -> None:
    with pytest.raises(PublishError) as caught:
        publish(world.artifact, world.dataset, url="redis://:hunter2@127.0.0.1:1/0", namespace="x")
    assert "127.0.0.1:1" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_password_in_a_query_is_not_shown_either(world: World) -> None:
    url = "redis://127.0.0.1:1/0?password=hunter2"
    with pytest.raises(PublishError) as caught:
        publish(world.artifact, world.dataset, url=url, namespace="x")
    assert "hunter2" not in str(caught.value)


def test_changed_proxies_reach_rankings_through_the_change_stream(
    deployment: Deployment, world: World
) -> None:
    user_id, item_ids = world.dataset.user_ids[0], world.dataset.item_ids
    target = item_ids[5]
    proxies = world.dataset.proxies.copy()
    proxies[5] = proxies[np.argmax(proxies[:, 0])]
    proxies[5, 0] += 1.0
    changed = dataclasses.replace(world.dataset, proxies=proxies)
    with deployment.serve() as service:

        def score(tradeoff: float) -> float:
            (item,) = service.rank(user_id=user_id, candidates=[target], tradeoff=tradeoff)["items"]
            return float(item["score"])

        before = {w: score(w) for w in (0.0, 1.0)}
        assert _again(deployment, world, changed, batch=len(item_ids)).written > 0
        until(lambda: score(1.0) != before[1.0])
        assert score(0.0) == before[0.0]  # proxies do not move the debiased head


def test_a_new_item_joins_the_catalogue_of_a_running_service(
    deployment: Deployment, world: World
) -> None:
    data = world.dataset
    grown = dataclasses.replace(
        data,
        item_ids=[*data.item_ids, "brand-new"],
        embedding=np.concatenate([data.embedding, data.embedding[:1]]),
        modality_mask=np.concatenate([data.modality_mask, data.modality_mask[:1]]),
        proxies=np.concatenate([data.proxies, data.proxies[:1]]),
        shown=[*data.shown, ItemTitle("Brand new", picture="/new.jpg")],
    )
    with deployment.serve() as service:
        (absent,) = service.rank(user_id="u", candidates=["brand-new"])["items"]
        assert absent["status"] == "missing"
        _again(deployment, world, grown)
        until(lambda: "brand-new" in service.ids(user_id="u", top_k=1000))
        (item,) = service.rank(user_id="u", candidates=["brand-new"])["items"]
        assert item["status"] == "cold"
        (named,) = service.rank(user_id="u", candidates=["brand-new"], titles=True)["items"]
        assert named == {**item, "title": "Brand new", "picture": "/new.jpg"}


def test_a_removed_item_leaves_the_catalogue_when_announced(
    deployment: Deployment, world: World
) -> None:
    target = world.dataset.item_ids[0]
    with deployment.serve() as service:
        assert target in service.ids(user_id="u", top_k=1000)
        deployment.remove(target)
        deployment.announce(target)
        until(lambda: target not in service.ids(user_id="u", top_k=1000))


def test_after_a_trimmed_change_stream_all_items_are_read_again(
    deployment: Deployment, world: World
) -> None:
    target = world.dataset.item_ids[0]
    with deployment.serve() as service:
        deployment.remove(target)
        deployment.gap()
        until(lambda: target not in service.ids(user_id="u", top_k=1000))
        assert service.metric('rank_catalog_changes_total{cause="gap",model="toy@1"}') > 0


def test_a_full_read_that_fails_starts_again(
    deployment: Deployment, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = world.dataset.item_ids[0]
    read = RedisStore.items
    failures = iter([True])

    async def failing_once(
        self: RedisStore, keys: Keys, item_ids: Sequence[str]
    ) -> tuple[list[bytes | None], list[bytes | None]]:
        if next(failures, False):
            raise StoreError("cut")
        return await read(self, keys, item_ids)

    with deployment.serve() as service:
        monkeypatch.setattr(RedisStore, "items", failing_once)
        deployment.remove(target)
        deployment.gap()
        until(lambda: target not in service.ids(user_id="u", top_k=1000))
    assert next(failures, False) is False


def test_publishing_announces_at_most_a_batch_in_an_entry(world: World, redis_url: str) -> None:
    publish(world.artifact, world.dataset, url=redis_url, namespace="announced", batch=300)
    client = redis.Redis.from_url(redis_url)
    names = Keys("announced", world.artifact.manifest.spaces)
    entries: Any = client.xrange(names.item_changes)
    sizes = [len(fields[b"ids"].split(b"\n")) for _, fields in entries]
    items = len(world.dataset.item_ids)
    assert sizes == [300] * (items // 300) + ([items % 300] if items % 300 else [])
