"""``POST /rank`` over real HTTP, compared with torch and with its documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from scipy.special import expit

from service.contract.records import encode
from service.ranking.messages import RankResponse
from tests.conftest import World
from tests.integration.conftest import Deployment, Running, deploy
from tests.torch_ranking import assert_same_ranking, item_states, torch_ranking

TRADEOFFS = (0.0, 0.25, 0.5, 0.75, 1.0)


@pytest.mark.parametrize("tradeoff", TRADEOFFS)
def test_ranking_equals_torch_id_for_id(service: Running, world: World, tradeoff: float) -> None:
    user = 3
    expected, logits = torch_ranking(world.fitted, world.dataset, user, tradeoff)
    answer = service.rank(
        user_id=world.dataset.user_ids[user], tradeoff=tradeoff, top_k=len(expected)
    )
    assert_same_ranking([item["item_id"] for item in answer["items"]], expected, logits)
    calibration = world.artifact.manifest.calibration
    scores = expit(calibration.slope * logits + calibration.intercept)
    np.testing.assert_allclose([item["score"] for item in answer["items"]], scores, atol=1e-5)
    assert answer["tradeoff"] == tradeoff
    assert answer["model"] == "toy@1"
    assert answer["degraded"] == []


def test_learned_interactions_are_served_by_the_same_service(
    interaction_world: World, redis_url: str, tmp_path: Path
) -> None:
    dataset = interaction_world.dataset
    with deploy(interaction_world, redis_url, tmp_path / "models").serve() as service:
        for tradeoff in TRADEOFFS:
            expected, logits = torch_ranking(interaction_world.fitted, dataset, 3, tradeoff)
            got = service.ids(user_id=dataset.user_ids[3], tradeoff=tradeoff, top_k=1000)
            assert_same_ranking(got, expected, logits)
        answer = service.rank(user_id="nobody", history=dataset.item_ids[:3])
        assert answer["degraded"] == []


def test_both_ends_differ(service: Running, world: World) -> None:
    user_id = world.dataset.user_ids[3]
    assert service.ids(user_id=user_id, tradeoff=0.0) != service.ids(user_id=user_id, tradeoff=1.0)


def test_default_tradeoff_is_the_models(service: Running, world: World) -> None:
    user_id = world.dataset.user_ids[0]
    answer = service.rank(user_id=user_id)
    assert answer["tradeoff"] == world.artifact.manifest.default_tradeoff == 0.5
    assert answer["items"] == service.rank(user_id=user_id, tradeoff=0.5)["items"]


def test_ranks_count_from_one_and_scores_descend(service: Running, world: World) -> None:
    items = service.rank(user_id=world.dataset.user_ids[0], top_k=7)["items"]
    assert [item["rank"] for item in items] == [1, 2, 3, 4, 5, 6, 7]
    scores = [item["score"] for item in items]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)


def test_candidates_are_ranked_like_the_whole_catalogue(service: Running, world: World) -> None:
    user_id, candidates = world.dataset.user_ids[5], world.dataset.item_ids[40:90]
    everything = service.ids(user_id=user_id, top_k=1000)
    ranked = service.ids(user_id=user_id, candidates=candidates, top_k=1000)
    assert ranked == [item_id for item_id in everything if item_id in set(candidates)]


def test_repeated_candidates_count_once(service: Running, world: World) -> None:
    user_id, (a, b) = world.dataset.user_ids[0], world.dataset.item_ids[:2]
    assert sorted(service.ids(user_id=user_id, candidates=[a, b, a, a])) == sorted([a, b])


@pytest.mark.parametrize("of_candidates", [True, False])
def test_excluded_items_are_left_out(service: Running, world: World, of_candidates: bool) -> None:
    user_id, item_ids = world.dataset.user_ids[0], world.dataset.item_ids
    body: dict[str, Any] = {"user_id": user_id, "top_k": 1000}
    if of_candidates:
        body["candidates"] = item_ids[:30]
    before = service.ids(**body)
    after = service.ids(**body, exclude=[before[0], before[4], "never-heard-of"])
    assert after == [item_id for item_id in before if item_id not in (before[0], before[4])]


def test_excluding_every_candidate_leaves_nothing(service: Running, world: World) -> None:
    item_ids = world.dataset.item_ids[:3]
    assert service.ids(user_id="anyone", candidates=item_ids, exclude=item_ids) == []


def test_unknown_user_gets_the_average_users_ranking(service: Running, world: World) -> None:
    with torch.inference_mode():
        average = world.fitted.net.user_encoder(torch.zeros(0, world.artifact.manifest.state_dim))
    expected, logits = torch_ranking(world.fitted, world.dataset, average, 0.0)
    before = service.metric('rank_cold_users_total{source="average"}')
    answer = service.rank(user_id="nobody-knows-me", tradeoff=0.0, top_k=1000)
    assert_same_ranking([item["item_id"] for item in answer["items"]], expected, logits)
    assert answer["degraded"] == ["unknown_user"]
    assert service.metric('rank_cold_users_total{source="average"}') == before + 1


def test_unknown_user_is_known_by_history(service: Running, world: World) -> None:
    history = world.dataset.item_ids[10:14]
    state = item_states(world.fitted, world.dataset)[10:14]
    with torch.inference_mode():
        user = world.fitted.net.user_encoder(state)
    expected, logits = torch_ranking(world.fitted, world.dataset, user, 0.5)
    answer = service.rank(user_id="nobody", history=[*history, "never-heard-of"], top_k=1000)
    assert_same_ranking([item["item_id"] for item in answer["items"]], expected, logits)
    assert answer["degraded"] == []
    assert expected != service.ids(user_id="nobody", tradeoff=0.5, top_k=1000)


def test_history_of_unknown_items_does_not_count(service: Running) -> None:
    answer = service.rank(user_id="nobody", history=["never-heard-of"])
    assert answer["degraded"] == ["unknown_user"]


def test_history_does_not_move_a_known_user(service: Running, world: World) -> None:
    user_id, history = world.dataset.user_ids[0], world.dataset.item_ids[:5]
    assert service.ids(user_id=user_id, history=history) == service.ids(user_id=user_id)


def test_unknown_items_come_last_by_id_without_a_score(service: Running, world: World) -> None:
    known = world.dataset.item_ids[:2]
    before = service.metric("rank_missing_items_total")
    items = service.rank(
        user_id=world.dataset.user_ids[0], candidates=["zz", known[0], "aa", known[1]]
    )["items"]
    assert {item["item_id"] for item in items[:2]} == set(known)
    assert items[2:] == [
        {"item_id": "aa", "rank": 3, "score": None, "status": "missing"},
        {"item_id": "zz", "rank": 4, "score": None, "status": "missing"},
    ]
    assert service.metric("rank_missing_items_total") == before + 2


def test_top_k_counts_missing_items_after_all_others(service: Running, world: World) -> None:
    known = world.dataset.item_ids[0]
    ids = service.ids(user_id="nobody", candidates=["aa", "bb", known], top_k=2)
    assert ids == [known, "aa"]
    assert service.ids(user_id="nobody", candidates=["aa", "bb", known], top_k=1) == [known]


def test_only_unknown_items_are_no_error(service: Running) -> None:
    items = service.rank(user_id="nobody", candidates=["b", "a"])["items"]
    assert [(item["item_id"], item["status"]) for item in items] == [
        ("a", "missing"),
        ("b", "missing"),
    ]


def test_an_item_lacking_a_modality_is_ranked(service: Running, world: World) -> None:
    incomplete = np.flatnonzero(~world.dataset.modality_mask.all(axis=1))
    item_id = world.dataset.item_ids[incomplete[0]]
    (item,) = service.rank(user_id=world.dataset.user_ids[0], candidates=[item_id])["items"]
    assert item["status"] == ("ok" if world.fitted.warm[incomplete[0]] else "cold")
    assert item["score"] is not None


def test_an_item_never_trained_on_is_cold(deployment: Deployment, world: World) -> None:
    manifest = world.artifact.manifest
    values = np.zeros((1, manifest.embedding_dim), np.float32)
    values[0, : manifest.modalities[0].dim] = world.dataset.embedding[
        0, : manifest.modalities[0].dim
    ]
    (record,) = encode(values, np.array([1], np.uint64))
    deployment.redis.set(deployment.keys.items(["brand-new"])[0], record)
    warm = int(torch.nonzero(world.fitted.warm)[0])
    with deployment.serve() as service:
        items = service.rank(
            user_id=world.dataset.user_ids[0],
            candidates=["brand-new", world.dataset.item_ids[warm]],
        )["items"]
    assert {item["item_id"]: item["status"] for item in items} == {
        "brand-new": "cold",
        world.dataset.item_ids[warm]: "ok",
    }


def test_equal_scores_are_ordered_by_id(deployment: Deployment, world: World) -> None:
    twins = ["twin-c", "twin-a", "twin-b"]
    keys, redis = deployment.keys, deployment.redis
    for keys_of in (keys.items, keys.proxies):
        record = redis.get(keys_of([world.dataset.item_ids[4]])[0])
        assert isinstance(record, bytes)
        for key in keys_of(twins):
            redis.set(key, record)
    with deployment.serve() as service:
        answer = service.rank(user_id=world.dataset.user_ids[1], candidates=twins)
        assert [item["item_id"] for item in answer["items"]] == sorted(twins)
        assert len({item["score"] for item in answer["items"]}) == 1
        # The tie crosses the last place.
        assert service.ids(user_id="x", candidates=twins, top_k=2) == ["twin-a", "twin-b"]


def test_explain_adds_score_and_rank_at_both_ends(service: Running, world: World) -> None:
    body = {"user_id": world.dataset.user_ids[2], "candidates": world.dataset.item_ids[:60]}
    explained = service.rank(**body, tradeoff=0.5, top_k=5, explain=True)["items"]
    assert len(explained) == 5
    for name, end in (("debiased", 0.0), ("logged", 1.0)):
        full = {item["item_id"]: item for item in service.rank(**body, tradeoff=end)["items"]}
        full |= {i["item_id"]: i for i in service.rank(**body, tradeoff=end, top_k=60)["items"]}
        for item in explained:
            there = full[item["item_id"]]
            assert item["explain"][name]["rank"] == there["rank"]
            assert item["explain"][name]["score"] == pytest.approx(there["score"], abs=1e-7)
    plain = service.rank(**body, tradeoff=0.5, top_k=5)["items"]
    assert [{k: v for k, v in item.items() if k != "explain"} for item in explained] == plain


@pytest.mark.parametrize("model", ["toy", "toy@1", "toy@champion"])
def test_a_model_may_be_pinned(service: Running, model: str) -> None:
    assert service.rank(user_id="nobody", model=model)["model"] == "toy@1"


def test_request_id_is_returned_or_made(service: Running) -> None:
    assert service.rank(user_id="u", request_id="r-17")["request_id"] == "r-17"
    first, second = (service.rank(user_id="u")["request_id"] for _ in range(2))
    assert first != second


def test_the_documented_response_reads_the_wire(service: Running) -> None:
    document = service.client.get("/openapi.json").json()
    operation = document["paths"]["/rank"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    (example,) = schema["examples"]
    answer = service.rank(**example)
    assert set(schema["properties"]) >= set(example)
    # The response's definition reads the wire and drops nothing of it.
    for body in (example, {"user_id": "u", "explain": True, "candidates": ["x", "i0001"]}):
        wire = service.rank(**body)
        assert msgspec.to_builtins(msgspec.convert(wire, RankResponse)) == wire
    reference = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    described = document["components"]["schemas"][reference.rpartition("/")[2]]
    sometimes = {"arm", "explored", "target_missed", "tradeoff_from"}
    assert set(described["properties"]) == {*answer, *sometimes}
    for name in ("RankResponse", "RankedItem", "EndPoint", "Timing", "ErrorDetail"):
        for field, entry in document["components"]["schemas"][name]["properties"].items():
            assert entry.get("description"), f"{name}.{field} is not described"
    for field, entry in schema["properties"].items():
        assert entry.get("description"), f"RankRequest.{field} is not described"
