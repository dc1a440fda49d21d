"""PaInvRL learns from a feed with skips and is served like any other model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import World, trained_world
from tests.integration.conftest import deploy
from tests.short_inference import short_inference
from tests.torch_ranking import assert_same_ranking, torch_ranking
from training.config import load_config
from training.data.dataset import Dataset

TINY = ("net.mask_steps=3", "net.rounds=1", "train.epochs=2", "front.bootstrap=20")


@pytest.fixture(scope="module", params=["painvrl", "painvrl-faithful"])
def painvrl_world(
    request: pytest.FixtureRequest, toy_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> World:
    config = load_config(request.param, overrides=TINY)
    with short_inference():
        return trained_world(toy_dataset, config, tmp_path_factory.mktemp("models"))


def test_the_service_ranks_as_torch_does(
    painvrl_world: World, redis_url: str, tmp_path: Path
) -> None:
    dataset, fitted = painvrl_world.dataset, painvrl_world.fitted
    with deploy(painvrl_world, redis_url, tmp_path / "models").serve() as running:
        for tradeoff in (0.0, 0.4, 1.0):
            body = {"user_id": dataset.user_ids[2], "tradeoff": tradeoff, "top_k": 1000}
            answer = running.client.post("/rank", json=body).json()
            expected, logits = torch_ranking(fitted, dataset, 2, tradeoff)
            assert_same_ranking([item["item_id"] for item in answer["items"]], expected, logits)
        history = dataset.item_ids[:3]
        new = {"user_id": "new", "history": history, "candidates": dataset.item_ids[:5]}
        ranked = running.client.post("/rank", json=new).json()
        assert ranked["degraded"] == []
        assert sorted(item["item_id"] for item in ranked["items"]) == dataset.item_ids[:5]
        (model,) = running.client.get("/models").json()["models"]
    assert model["architecture"] == "painvrl"
    assert painvrl_world.artifact.manifest.front.axis == "auc"
