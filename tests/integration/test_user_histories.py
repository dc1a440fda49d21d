"""What users engaged with moves their next ranking, unless they are not profiled."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from service.contract.alias_moves import set_candidate
from service.contract.artifact import open_artifact
from service.contract.feedback import history_key
from service.contract.files import sha256
from service.contract.rollout import Rollout
from service.models.scorer import Scorer
from service.store.histories import Histories
from service.store.records import RedisStore
from service.telemetry import Telemetry
from tests.conftest import World
from tests.integration.conftest import Deployment, Running, deploy, until
from tests.torch_ranking import assert_same_ranking, torch_ranking

MOVED, COLD = "rank_moved_users_total", 'rank_cold_users_total{source="history"}'


@dataclass(frozen=True)
class Served:
    """A service and its deployment; each test has users of its own."""

    service: Running
    deployment: Deployment
    world: World

    def engage(self, user_id: str, *items: str, later_s: float = 1.0) -> None:
        """Store engagements, ``later_s`` after the last row of the training."""
        until = self.world.artifact.manifest.trained_until
        assert until is not None
        time_ms = int((until.timestamp() + later_s) * 1000)
        settings = self.deployment.settings

        async def run() -> None:
            store = RedisStore(settings, Telemetry())
            await Histories(store, settings).add([(user_id, item, time_ms) for item in items])
            await store.close()

        asyncio.run(run())

    def order(self, user_id: str, **body: Any) -> list[str]:
        """Return the whole catalogue's order for a user."""
        return self.service.ids(user_id=user_id, top_k=1000, **body)


@pytest.fixture(scope="module")
def served(
    world: World, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    models = tmp_path_factory.mktemp("moving") / "models"
    # These tests write to the store behind the service's back, and look at once.
    deployment = deploy(world, redis_url, models, decisions=1.0, user_memory=False)
    with deployment.serve() as service:
        yield Served(service, deployment, world)


def moved_vector(world: World, row: int, items: list[int]) -> torch.Tensor:
    """Return the vector that torch gives a user after engagements."""
    net, data = world.fitted.net, world.dataset
    moves = net.user_moves()
    assert moves is not None
    width = net.learned_items().shape[1]
    embedding = torch.nn.functional.pad(torch.from_numpy(data.embedding), (0, width))
    mask = torch.nn.functional.pad(torch.from_numpy(data.modality_mask).float(), (0, 1))
    with torch.inference_mode():
        trace = moves.history_encoder(embedding, mask)[items]
        vector: torch.Tensor = moves.user_update(net.user_records()[row : row + 1], trace)
    return vector


def test_a_known_user_moves_by_what_the_training_has_not_seen(served: Served) -> None:
    data, service = served.world.dataset, served.service
    user_id, before = data.user_ids[3], served.order(data.user_ids[3])
    served.engage(user_id, data.item_ids[7], later_s=0)  # the training saw it
    assert served.order(user_id) == before
    moved = service.metric(MOVED)
    served.engage(user_id, data.item_ids[4], data.item_ids[9], "removed since")
    answer = service.rank(user_id=user_id, top_k=1000)
    ids = [item["item_id"] for item in answer["items"]]
    vector = moved_vector(served.world, 3, [4, 9])
    assert_same_ranking(ids, *torch_ranking(served.world.fitted, data, vector, 0.5))
    assert ids != before
    assert answer["degraded"] == []
    assert service.metric(MOVED) == moved + 1


def test_an_unknown_user_is_known_after_the_first_click(served: Served) -> None:
    data, service = served.world.dataset, served.service
    assert service.rank(user_id="new")["degraded"] == ["unknown_user"]
    served.engage("new", "never heard of")
    assert service.rank(user_id="new")["degraded"] == ["unknown_user"]
    served.engage("new", data.item_ids[5], later_s=-9e6)  # before a training without this user
    counted = service.metric(COLD)
    answer = service.rank(user_id="new", top_k=1000)
    assert answer["degraded"] == []
    assert service.metric(COLD) == counted + 1
    expected = service.rank(user_id="another", history=[data.item_ids[5]], top_k=1000)
    assert answer["items"] == expected["items"]
    both = [data.item_ids[8], data.item_ids[5]]
    expected = service.rank(user_id="another", history=both, top_k=1000)
    answer = service.rank(user_id="new", history=both, top_k=1000)  # each item counts once
    assert answer["items"] == expected["items"]


def test_a_click_changes_the_next_ranking_of_its_user_alone(served: Served) -> None:
    data, client = served.world.dataset, served.service.client
    user_id, other = data.user_ids[10:12]
    before, others = served.order(user_id), served.order(other)
    event = {"request_id": "r", "item_id": data.item_ids[2], "user_id": user_id}
    assert client.post("/events", json=[{**event, "kind": "view"}]).status_code == 202
    assert served.order(user_id) == before  # a view is no engagement
    assert client.post("/events", json=[{**event, "kind": "click"}]).status_code == 202
    assert served.order(user_id) != before
    assert served.order(other) == others


def test_without_profiling_a_ranking_is_the_average_users(served: Served) -> None:
    data, service = served.world.dataset, served.service
    user_id = data.user_ids[6]
    served.engage(user_id, data.item_ids[4])
    body = {"user_id": user_id, "history": [data.item_ids[1]], "top_k": 1000}
    counts = 'rank_store_seconds_count{operation="users"}', 'rank_decisions_total{policy="fixed"}'
    before = [service.metric(count) for count in counts]
    answer = service.rank(**body, profiling=False)
    assert [service.metric(count) for count in counts] == before
    assert answer["degraded"] == []
    assert answer["items"] == service.rank(user_id="stranger", top_k=1000)["items"]
    assert answer["items"] != service.rank(**body)["items"]


def test_a_corrupt_history_is_named_and_left_out(served: Served) -> None:
    user_id = served.world.dataset.user_ids[8]
    before = served.service.rank(user_id=user_id)
    key = history_key(served.deployment.settings.namespace, user_id)
    served.deployment.redis.set(key, b"\xc1")
    answer = served.service.rank(user_id=user_id)
    assert answer["items"] == before["items"]
    assert answer["degraded"] == ["corrupt_record"]
    assert served.service.metric('rank_corrupt_records_total{record="history"}') == 1


def test_without_profiling_no_user_is_in_a_canary(deployment: Deployment) -> None:
    shutil.copytree(deployment.repository.path("toy", 1), deployment.repository.path("toy", 2))
    set_candidate(deployment.repository, "toy", Rollout(version=2, salt="s", canary=1.0))
    with deployment.serve() as service:
        until(lambda: service.rank(user_id="u")["model"] == "toy@2")
        assert service.rank(user_id="u", profiling=False)["model"] == "toy@1"


def test_histories_can_be_off(world: World, deployment: Deployment) -> None:
    off = deployment.settings.model_copy(update={"user_histories": False})
    served = Served(None, deployment, world)  # type: ignore[arg-type]  # only to store
    user_id = world.dataset.user_ids[3]
    served.engage(user_id, world.dataset.item_ids[4])
    served.engage("new", world.dataset.item_ids[4])
    with Deployment(off, deployment.repository, deployment.keys, deployment.redis).serve() as still:
        catalogue = still.app.state.registry.models()[0][0].catalog
        assert catalogue.traces(np.array([0])).shape == (1, 0)  # no memory for them
        expected, logits = torch_ranking(world.fitted, world.dataset, 3, 0.5)
        assert_same_ranking(still.ids(user_id=user_id, top_k=1000), expected, logits)
        assert still.rank(user_id="new")["degraded"] == ["unknown_user"]


def test_an_older_artifact_serves_and_its_users_stay(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "toy" / "1"
    shutil.copytree(world.artifact.path, folder)
    document = json.loads((folder / "manifest.json").read_text())
    for graph in ("history_encoder", "user_update"):
        del document["graphs"][graph], document["files"][f"{graph}.onnx"]
        (folder / f"{graph}.onnx").unlink()
    del document["trained_until"]
    golden: dict[str, Any] = dict(np.load(folder / "golden.npz"))
    del golden["record"], golden["moved_user"]
    np.savez(folder / "golden.npz", **golden)
    document["files"]["golden.npz"] = sha256(folder / "golden.npz")
    (folder / "manifest.json").write_text(json.dumps(document))
    manifest = open_artifact(folder).manifest
    Scorer(open_artifact(folder)).replay()
    assert (manifest.moves_users, manifest.record_dim) == (False, manifest.user_dim)
