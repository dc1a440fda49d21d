"""The explorer's files and its own routes."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.access.guard import PAGE_FILES
from service.access.keys import add
from service.contract.measures import in_tail
from tests.conftest import World
from tests.integration.conftest import Deployment, Running
from tests.integration.service.api.conftest import Edge

MOST_BYTES = 150_000


def test_the_page_is_small_and_strict(service: Running) -> None:
    sizes = {}
    for path in PAGE_FILES:
        answer = service.client.get(path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'; connect-src" in policy
        assert answer.headers["cache-control"] == "no-cache"
        sizes[path] = len(answer.content)
        again = service.client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert service.client.head(path).status_code == 200
    assert sum(sizes.values()) < MOST_BYTES
    page = service.client.get("/").text
    assert page.startswith("<!doctype html>")
    assert "<script>" not in page
    assert "://" not in page


def test_some_users_can_be_picked(service: Running, world: World) -> None:
    start = service.client.get("/explorer/start", params={"model": "toy@1"}).json()
    assert start["rank_port"] is None
    assert len(start["users"]) == 20
    assert set(start["users"]) <= set(world.dataset.user_ids)
    refused = service.client.get("/explorer/start", params={"model": "other"})
    assert refused.json()["error"]["code"] == "model_not_found"


def test_it_ranks_like_rank_and_adds_popularity(service: Running, world: World) -> None:
    body = {
        "user_id": world.dataset.user_ids[0],
        "candidates": [*world.dataset.item_ids[:30], "unheld"],
        "tradeoff": 0.3,
        "titles": True,
        "explain": True,
    }
    explored = service.client.post("/explorer/rank", json=body).json()
    ranking = service.rank(**body)
    assert explored["ranking"]["items"] == ranking["items"]
    reference = world.artifact.bias_reference()
    assert reference is not None
    percentile = dict(zip(reference.item_ids, reference.click_percentile, strict=True))
    ids = [item["item_id"] for item in ranking["items"]]
    expected = [float(percentile.get(item_id, 0)) for item_id in ids]
    assert explored["percentiles"] == pytest.approx(expected, abs=0.06)
    held = [percentile[item_id] for item_id in ids[:-1]]
    assert explored["popularity_percentile"] == pytest.approx(sum(held) / 30, rel=1e-5)
    assert explored["tail_share"] == pytest.approx(
        in_tail(
            reference.click_percentile[[reference.item_ids.index(item_id) for item_id in ids[:-1]]]
        ).mean()
    )
    columns = service.client.post("/explorer/rank", json={**body, "format": "columns"}).json()
    assert columns["percentiles"] == explored["percentiles"]


def test_what_the_page_ranks_is_no_exposure(service: Running) -> None:
    at = 'rank_exposure_rankings_total{model="toy@1",pool="catalogue",tradeoff="0.9"}'
    before = service.metric(at)
    explored = service.client.post("/explorer/rank", json={"user_id": "u", "tradeoff": 0.9})
    assert explored.json()["ranking"]["degraded"] == ["unknown_user"]
    assert service.metric(at) == before
    service.rank(user_id="u", tradeoff=0.9)
    assert service.metric(at) == before + 1


def test_without_a_bias_reference_popularity_is_unknown(deployment: Deployment) -> None:
    with deployment.serve() as service:
        monitor = service.app.state.registry.resolve(None).exposure
        monitor._popularity = None
        explored = service.client.post("/explorer/rank", json={"user_id": "u"}).json()
        assert explored["ranking"]["items"]
        assert (explored["percentiles"], explored["tail_share"]) == (None, None)


def test_a_key_of_both_scopes_opens_the_page(edge: Edge, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = {
        scopes: add(path, "-".join(scopes), frozenset(scopes))
        for scopes in (("rank",), ("admin",), ("admin", "rank"))
    }
    with edge(access="keys", keys_file=path) as (service, _):
        for file in PAGE_FILES:
            assert service.client.get(file).status_code == 200
        assert service.client.post("/explorer/rank", json={}).status_code == 401
        statuses = {
            scopes: service.client.post(
                "/explorer/rank", json={"user_id": ""}, headers={"X-API-Key": key}
            ).status_code
            for scopes, key in keys.items()
        }
    assert statuses == {("rank",): 403, ("admin",): 403, ("admin", "rank"): 422}


def test_a_setting_turns_it_off(edge: Edge) -> None:
    with edge(explorer=False) as (service, _):
        for path in (*PAGE_FILES, "/explorer/start"):
            assert service.client.get(path).status_code == 404
        assert service.client.post("/explorer/rank", json={"user_id": "u"}).status_code == 404
