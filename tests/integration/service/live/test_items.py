"""Live changes of items over HTTP, followed by two services on one store."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from clients.python.paretorank_client import Client, RankError
from service.contract.records import decode
from tests.conftest import World
from tests.integration.conftest import Deployment, Running, deploy, until
from training.release.publish import Published, publish

_ALL = {"user_id": "u", "top_k": 1000}


@dataclasses.dataclass(frozen=True)
class Feed:
    """Two replicas of one deployment."""

    world: World
    deployment: Deployment
    first: Running
    second: Running

    def send(self, method: str, path: str, body: Any) -> httpx.Response:
        return self.first.client.request(method, path, json=body)

    def changed(self, method: str, path: str, body: Any) -> dict[str, Any]:
        response = self.send(method, path, body)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def put(self, *items: dict[str, Any]) -> dict[str, Any]:
        return self.changed("PUT", "/items", {"items": list(items)})

    def item(self, item_id: str, **fields: Any) -> dict[str, Any]:
        """Return an item with the content of the dataset's first."""
        vectors, start = {}, 0
        for modality in self.world.dataset.modalities:
            block = self.world.dataset.embedding[0, start : start + modality.dim]
            vectors[modality.name] = [round(float(value), 4) for value in block]
            start += modality.dim
        return {"item_id": item_id, "vectors": vectors, **fields}

    def ranked(self, service: Running, item_id: str, **body: Any) -> dict[str, Any]:
        ranking = service.rank(user_id="u", candidates=[item_id], **body)
        (item,) = ranking["items"]
        return dict(item)

    def seen(self, item_id: str, **expected: Any) -> None:
        """Wait until both replicas rank the item with these fields."""

        def is_seen(service: Running) -> bool:
            return expected.items() <= self.ranked(service, item_id, titles=True).items()

        until(lambda: is_seen(self.first))
        until(lambda: is_seen(self.second))

    def publish(self, **options: Any) -> Published:
        settings = self.deployment.settings
        url = settings.redis_url.get_secret_value()
        return publish(
            self.world.artifact,
            self.world.dataset,
            url=url,
            namespace=settings.namespace,
            **options,
        )

    def proxies(self, item_id: str) -> list[float]:
        (name,) = self.deployment.keys.proxies([item_id])
        count = len(self.world.artifact.manifest.proxies)
        values = decode([self.deployment.redis.get(name)], count, allow_nan=True).values
        return [float(value) for value in values[0]]


@pytest.fixture(scope="module")
def feed(world: World, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Feed]:
    models = tmp_path_factory.mktemp("live") / "models"
    deployment = deploy(world, redis_url, models)
    with deployment.serve() as first, deployment.serve() as second:
        yield Feed(world, deployment, first, second)


def test_a_new_item_is_ranked_by_every_replica(feed: Feed) -> None:
    answer = feed.put(feed.item("new-1", title="A red coat", picture="/1.jpg"))
    assert answer["models"] == ["toy@1"]
    assert (answer["changed"], answer["unknown"]) == (1, [])
    feed.seen("new-1", status="cold", title="A red coat", picture="/1.jpg")
    assert "new-1" in feed.second.ids(**_ALL)
    put = 'rank_live_changes_total{kind="items"}'
    before = feed.first.metric(put)
    feed.put(feed.item("new-1"))  # now without a title
    feed.seen("new-1", title="new-1")
    assert "picture" not in feed.ranked(feed.second, "new-1", titles=True)
    assert feed.first.metric(put) == before + 1


def test_an_item_keeps_what_the_model_learned_of_it(feed: Feed) -> None:
    target = feed.world.dataset.item_ids[int(feed.world.fitted.warm.numpy().argmax())]
    (name,) = feed.deployment.keys.items([target])
    dim = feed.world.artifact.manifest.embedding_dim
    learned = feed.world.artifact.manifest.modalities[-1].dim
    before = decode([feed.deployment.redis.get(name)], dim)
    feed.put(feed.item(target))
    after = decode([feed.deployment.redis.get(name)], dim)
    np.testing.assert_array_equal(after.values[:, -learned:], before.values[:, -learned:])
    assert after.mask[0] == before.mask[0]
    assert not np.array_equal(after.values, before.values)
    feed.put({"item_id": target})
    bare = decode([feed.deployment.redis.get(name)], dim)
    assert bare.mask[0] == feed.world.artifact.manifest.learned_mask
    assert not bare.values[:, :-learned].any()
    feed.seen(target, status="ok")


def test_proxies_move_one_by_one(feed: Feed) -> None:
    first, *others = [proxy.name for proxy in feed.world.artifact.manifest.proxies]
    target = feed.world.dataset.item_ids[3]
    before, score = feed.proxies(target), feed.ranked(feed.second, target, tradeoff=1)["score"]
    answer = feed.changed(
        "PATCH",
        "/items/proxies",
        {
            "items": [
                {"item_id": target, "proxies": {first: 1e4}},
                {"item_id": "none", "proxies": {first: 1}},
            ]
        },
    )
    assert (answer["changed"], answer["unknown"]) == (1, ["none"])
    assert feed.proxies(target) == [1e4, *before[1:]]
    assert feed.deployment.redis.get(feed.deployment.keys.proxies(["none"])[0]) is None
    until(lambda: feed.ranked(feed.second, target, tradeoff=1)["score"] != score)
    feed.put(feed.item(target, proxies={first: None}))
    assert np.isnan(feed.proxies(target)[0])
    assert feed.proxies(target)[1:] == before[1:]
    assert len(others) == len(before) - 1


def test_a_removed_item_is_missing_everywhere(feed: Feed) -> None:
    feed.put(feed.item("old-1"), feed.item("old-2"))
    feed.seen("old-2", status="cold")
    answer = feed.changed("DELETE", "/items", {"item_ids": ["old-1", "never"]})
    assert (answer["changed"], answer["unknown"]) == (1, ["never"])
    feed.seen("old-1", status="missing")
    feed.seen("old-2", status="cold")
    assert "old-1" not in feed.second.ids(**_ALL)
    assert feed.changed("DELETE", "/items", {"item_ids": ["old-1"]})["unknown"] == ["old-1"]


def test_the_last_items_stay(feed: Feed) -> None:
    item_ids = [i.decode() for i in feed.deployment.redis.smembers(feed.deployment.keys.catalog)]
    assert len(item_ids) <= 1000
    response = feed.send("DELETE", "/items", {"item_ids": item_ids})
    assert response.status_code == 422
    assert "these are all items of toy@1" in response.json()["error"]["message"]
    assert feed.deployment.redis.scard(feed.deployment.keys.catalog) == len(item_ids)


_GOOD = {"item_id": "good"}
BAD = {
    "items.1.item_id": {"item_id": "good"},
    "items.1.title": {"item_id": "b", "title": "x" * 501},
    "items.1.picture": {"item_id": "b", "picture": "javascript:alert(1)"},
    "items.1.link": {"item_id": "b", "link": "https://shop.example/7\n"},
    "items.1.colour": {"item_id": "b", "colour": "red"},
    "items.1.vectors.sound": {"item_id": "b", "vectors": {"sound": [1.0]}},
    "items.1.proxies.likes": {"item_id": "b", "proxies": {"likes": 1}},
}


@pytest.mark.parametrize("field", BAD)
def test_one_bad_item_leaves_all_unwritten(feed: Feed, field: str) -> None:
    _refused(feed, field, {"items": [_GOOD, BAD[field]]})


def _refused(feed: Feed, field: str, body: Any) -> str:
    response = feed.send("PUT", "/items", body)
    assert response.status_code == 422, response.text
    error = response.json()["error"]
    assert (error["code"], error["field"]) == ("invalid_request", field)
    assert error["message"].startswith(f"{field}: ")
    assert feed.deployment.redis.get(feed.deployment.keys.items(["good"])[0]) is None
    return str(error["message"])


def test_vectors_are_those_of_the_model(feed: Feed) -> None:
    modality = feed.world.dataset.modalities[0]
    name, place = modality.name, f"items.0.vectors.{modality.name}"

    def refused(vector: Any, field: str) -> str:
        return _refused(feed, field, {"items": [{"item_id": "b", "vectors": {name: vector}}]})

    assert f"has 2 numbers, toy@1 needs {modality.dim}" in refused([1, 2], place)
    assert "Expected `float`" in refused([0.5, "x"], f"{place}.1")
    assert "beyond 1e+06" in refused([0.0, 2e6] + [0.0] * (modality.dim - 2), f"{place}.1")
    _refused(feed, "items.0.item_id", {"items": [{"item_id": "a\nb"}]})
    _refused(feed, "items", {"items": [{"item_id": str(n)} for n in range(1001)]})
    proxy = feed.world.artifact.manifest.proxies[0].name
    body = {"items": [{"item_id": "b", "proxies": {proxy: "many"}}]}
    assert "needs a number or null" in _refused(feed, f"items.0.proxies.{proxy}", body)
    body["items"][0]["proxies"] = {proxy: 1e39}
    assert "32-bit" in _refused(feed, f"items.0.proxies.{proxy}", body)


def test_a_repeated_publication_writes_the_touched_batches_again(feed: Feed) -> None:
    target, other = feed.world.dataset.item_ids[150], feed.world.dataset.item_ids[250]
    proxy = feed.world.artifact.manifest.proxies[0].name
    feed.publish(batch=100)
    assert feed.publish(batch=100).written == 0
    feed.put({"item_id": target, "title": "Live"}, {"item_id": "live"})
    feed.changed("DELETE", "/items", {"item_ids": ["live"]})
    patch = {"items": [{"item_id": other, "proxies": {proxy: 5}}]}
    feed.changed("PATCH", "/items/proxies", patch)
    assert feed.publish(batch=100).written == 300  # titles, items; proxies of another batch
    assert feed.publish(batch=100).written == 0
    feed.seen(target, title=feed.world.dataset.titles[150], status="ok")
    assert feed.proxies(other)[0] == float(feed.world.dataset.proxies[250, 0])


def test_while_a_publication_runs_nothing_is_written(feed: Feed) -> None:
    keys = feed.deployment.keys
    held = keys.publishing(keys.spaces.items)
    owner = {"owner": "publish of ann on host, process 7", "since": "2026-01-01 00:00:00 UTC"}
    feed.deployment.redis.set(held, json.dumps(owner))
    try:
        response = feed.send("PUT", "/items", {"items": [_GOOD]})
        deleted = feed.first.client.delete("/users/u0001")
    finally:
        feed.deployment.redis.delete(held)
    for answer in (response, deleted):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json()["error"]["code"] == "publishing"
        assert "publish of ann" in answer.json()["error"]["message"]
    assert feed.deployment.redis.get(keys.items(["good"])[0]) is None


def test_the_python_client_does_the_same(feed: Feed) -> None:
    proxy = feed.world.artifact.manifest.proxies[0].name
    with Client(str(feed.second.client.base_url)) as client:
        item: Any = feed.item("by-client", title="By client", proxies={proxy: 2})
        assert client.put_items([item])["changed"] == 1
        feed.seen("by-client", status="cold", title="By client")
        assert client.patch_proxies({"by-client": {proxy: 3.0}})["unknown"] == []
        assert feed.proxies("by-client")[0] == 3.0
        assert client.delete_items(["by-client", "never"])["unknown"] == ["never"]
        assert client.delete_user(feed.world.dataset.user_ids[9])["records"] == 1
        with pytest.raises(RankError, match=r"items\.0\.vectors\.sound: no loaded model has it"):
            client.put_items([{"item_id": "i", "vectors": {"sound": [1.0]}}])


def test_a_wrong_method_names_all_that_the_path_has(feed: Feed) -> None:
    response = feed.first.client.post("/items", json={})
    assert (response.status_code, response.headers["Allow"]) == (405, "DELETE, PUT")


PAGE = Path(__file__).parents[4] / "docs" / "live-items.md"
_EXAMPLE = re.compile(
    r"^```sh\n(curl .*?)^```\n(?:\n```json\n(.*?)^```$)?", re.MULTILINE | re.DOTALL
)


def test_the_examples_of_the_page_are_answered_as_shown(feed: Feed) -> None:
    examples = _EXAMPLE.findall(PAGE.read_text())
    assert len(examples) == 4
    url = feed.first.client.base_url
    for command, shown in examples:
        line = command.replace("127.0.0.1:8000", f"{url.host}:{url.port}")
        done = subprocess.run(["bash", "-ec", line], capture_output=True, text=True, check=True)
        answer = json.loads(done.stdout)
        assert "error" not in answer, answer
        if shown:
            example = json.loads(shown)
            assert list(example) == list(answer)
            changeable = {"request_id", "models"}
            assert all(answer[key] == example[key] for key in answer.keys() - changeable)
