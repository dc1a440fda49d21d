"""A request's target: solved from the model's front, and held where traffic differs from it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.contract.targets import curves
from tests.conftest import World
from tests.integration.conftest import Deployment, Running, deploy, until

TARGET = {"tail_share": 0.3}
Traffic = list[tuple[str, list[str]]]


@pytest.fixture(scope="module")
def percentiles(world: World) -> dict[str, float]:
    reference = world.artifact.bias_reference()
    assert reference is not None
    return dict(zip(reference.item_ids, reference.click_percentile.tolist(), strict=True))


@pytest.fixture(scope="module")
def traffic(world: World, percentiles: dict[str, float]) -> Traffic:
    """Users with candidates: half of them of the tail, which is four fifths of the catalogue."""
    rng = random.Random(0)
    tail = [item_id for item_id, percentile in percentiles.items() if percentile <= 80]
    head = [item_id for item_id, percentile in percentiles.items() if percentile > 80]
    users = rng.sample(list(world.dataset.user_ids), 50)
    return [(user_id, rng.sample(tail, 30) + rng.sample(head, 30)) for user_id in users]


@pytest.fixture(scope="module")
def deployment(
    world: World, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Deployment:
    models = tmp_path_factory.mktemp("targets") / "models"
    return deploy(world, redis_url, models, target_control_s=0.02)


def _shown(
    service: Running, percentiles: dict[str, float], user_id: str, pool: list[str], **body: Any
) -> float:
    """Return the tail share of a ranking's first 10 places."""
    answer = service.rank(user_id=user_id, candidates=pool, top_k=10, format="columns", **body)
    return float(np.mean([percentiles[i] <= 80 for i in answer["items"]["item_ids"]]))


def test_two_replicas_hold_a_target_in_traffic_unlike_the_front(
    deployment: Deployment, percentiles: dict[str, float], traffic: Traffic, world: World
) -> None:
    with deployment.serve() as first, deployment.serve() as second:
        body = {"user_id": traffic[0][0], "target": TARGET}
        by_front = first.rank(**body)
        curve = curves(world.artifact.manifest.front)["tail_share"]
        assert by_front["tradeoff"] == pytest.approx(curve.tradeoff(0.3))
        assert by_front["tradeoff_from"] == "target"
        assert "target_missed" not in by_front
        uncorrected = [
            _shown(first, percentiles, *pair, tradeoff=by_front["tradeoff"]) for pair in traffic
        ]
        assert 0.3 - np.mean(uncorrected) > 0.08
        shown = [
            _shown(replica, percentiles, *pair, target=TARGET)
            for _ in range(18)
            for pair, replica in zip(traffic, (first, second) * 25, strict=True)
        ]
        assert len(shown) == 900
        assert np.mean(shown[-300:]) == pytest.approx(0.3, abs=0.03)  # noise is a point of it
        tradeoffs = [replica.rank(**body)["tradeoff"] for replica in (first, second)]
        assert max(tradeoffs) < by_front["tradeoff"] - 0.05  # neither is where the front put it
        assert tradeoffs[0] == pytest.approx(tradeoffs[1], abs=0.1)
        labels = '{measure="tail_share",model="toy@1",target="0.3"}'
        assert first.metric(f"rank_target{labels}") == 0.3
        assert first.metric(f"rank_target_correction{labels}") > 0.05
        assert 0 < first.metric(f"rank_target_shown{labels}") < 1
        assert first.metric('rank_tradeoff_sources_total{source="target"}') > 400
    with deployment.serve() as third:  # takes up what the others left
        third.rank(**body)
        until(lambda: third.rank(**body)["tradeoff"] < by_front["tradeoff"] - 0.05)
    off = deployment.settings.model_copy(update={"target_control": False})
    with replace(deployment, settings=off).serve() as fourth:
        assert fourth.rank(**body)["tradeoff"] == by_front["tradeoff"]
        assert not fourth.app.state.registry.resolve(None).targets.held()


def test_targets_are_solved_and_out_of_reach_the_nearest_end_is_taken(
    service: Running, world: World
) -> None:
    user_id = world.dataset.user_ids[0]
    most = service.rank(user_id=user_id, target={"tail_share": 1.0})
    assert (most["tradeoff"], most["target_missed"]) == (0.0, True)
    dear = service.rank(user_id=user_id, target={"logged_auc_cost": 0.9})
    assert (dear["tradeoff"], dear["target_missed"]) == (0.0, True)
    free = service.rank(user_id=user_id, target={"logged_auc_cost": 0.0}, profiling=False)
    assert (free["tradeoff"], free.get("target_missed")) == (1.0, None)
    popular = service.rank(user_id=user_id, target={"popularity_percentile": 80})
    assert 0 < popular["tradeoff"] < 1
    assert popular["items"] == service.rank(user_id=user_id, tradeoff=popular["tradeoff"])["items"]


def test_the_models_say_what_each_tradeoff_comes_to(service: Running, world: World) -> None:
    (model,) = service.client.get("/models").json()["models"]
    table, reach = model["targets"]["table"], model["targets"]["reach"]
    points = world.artifact.manifest.front.points
    assert [row["tradeoff"] for row in table] == [point.tradeoff for point in points]
    ends = table[0], table[-1]
    for measure, (least, most) in reach.items():
        assert sorted(row[measure] for row in ends) == pytest.approx([least, most])
    assert table[-1]["logged_auc_cost"] == pytest.approx(0, abs=1e-9)
    assert table[0]["tail_share"] == pytest.approx(points[0].shown["tail_share"].mean, abs=0.02)
    middle = table[5]["tail_share"]
    answer = service.rank(user_id="u", target={"tail_share": middle})
    assert answer["tradeoff"] == pytest.approx(table[5]["tradeoff"], abs=0.05)


@pytest.mark.parametrize(
    ("body", "field", "mend"),
    [
        ({"tradeoff": 0.5, "target": TARGET}, "target", "leave out field `target`"),
        ({"target": {}}, "target", "exactly one of tail_share, popularity_percentile"),
        ({"target": {**TARGET, "logged_auc_cost": 0}}, "target", "exactly one of"),
        ({"target": {"tail_share": 30}}, "target.tail_share", "<= 1.0"),
        ({"target": {"gini": 0.5}}, "target.gini", "unknown field"),
    ],
)
def test_bad_targets_are_refused_and_name_the_field(
    service: Running, body: dict[str, Any], field: str, mend: str
) -> None:
    answer = service.client.post("/rank", json={"user_id": "u", **body})
    error = answer.json()["error"]
    assert (answer.status_code, error["field"]) == (422, field)
    assert mend in error["message"]
