"""Health, metrics and models: which are loaded, swapped, dropped and refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.contract.front import Front
from service.contract.repository import Repository
from tests.conftest import World
from tests.integration.conftest import Deployment, Running, running, until


def test_readiness_gives_its_reason_until_a_model_serves(
    deployment: Deployment, world: World
) -> None:
    parked = deployment.repository.root.with_name("parked")
    shutil.move(deployment.repository.root / "toy", parked)
    with deployment.serve(ready=False) as service:
        readiness = service.client.get("/readyz")
        assert readiness.status_code == 503
        assert "train and publish" in readiness.json()["reason"]
        assert service.client.get("/livez").json() == {"status": "ok", "reason": None}
        refused = service.client.post("/rank", json={"user_id": "u"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
        shutil.move(parked, deployment.repository.root / "toy")
        until(lambda: service.client.get("/readyz").status_code == 200)
        assert service.rank(user_id=world.dataset.user_ids[0])["items"]


def test_models_lists_version_aliases_and_front(service: Running, world: World) -> None:
    (model,) = service.client.get("/models").json()["models"]
    assert (model["name"], model["version"], model["architecture"]) == ("toy", 1, "decomposed")
    assert model["ranker"] == "product"
    assert model["aliases"] == ["champion"]
    assert model["default"] is True
    assert model["items"] == len(world.dataset.item_ids)
    assert model["score_meaning"] == world.artifact.manifest.calibration.meaning
    assert Front.model_validate(model["front"]) == world.artifact.manifest.front


def test_metrics_count_requests_by_route_and_status(service: Running) -> None:
    ok = 'rank_http_request_seconds_count{route="/rank",status="200"}'
    bad = 'rank_http_request_seconds_count{route="/rank",status="422"}'
    before_ok, before_bad = service.metric(ok), service.metric(bad)
    service.rank(user_id="u")
    service.client.post("/rank", json={})
    assert (service.metric(ok), service.metric(bad)) == (before_ok + 1, before_bad + 1)
    for stage in ("user", "catalog", "score", "select"):
        assert service.metric(f'rank_stage_seconds_count{{stage="{stage}"}}') > 0
    # An unknown path adds no label.
    service.client.get("/wp-login.php")
    assert "wp-login" not in service.client.get("/metrics").text


def _flip_a_byte(folder: Path) -> str:
    path = folder / "ranker.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return "ranker.onnx: SHA-256"


def _drop_a_file(folder: Path) -> str:
    (folder / "item_encoder.onnx").unlink()
    return "item_encoder.onnx: is missing"


def _break_the_manifest(folder: Path) -> str:
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    document["default_tradeoff"] = 2
    path.write_text(json.dumps(document))
    return "manifest.json: default_tradeoff"


@pytest.mark.parametrize("harm", [_flip_a_byte, _drop_a_file, _break_the_manifest])
def test_a_harmed_artifact_is_refused_by_file_and_reason(
    deployment: Deployment, harm: Callable[[Path], str]
) -> None:
    reason = harm(deployment.repository.path("toy", 1))
    with deployment.serve(ready=False) as service:
        until(lambda: reason in (service.client.get("/readyz").json()["reason"] or ""))
        assert service.client.get("/readyz").status_code == 503
        assert service.metric('rank_model_loads_total{result="failed"}') >= 1


def test_the_service_follows_a_moved_alias_and_back(deployment: Deployment) -> None:
    repository = deployment.repository
    with deployment.serve() as service:
        assert service.rank(user_id="u")["model"] == "toy@1"
        shutil.copytree(repository.path("toy", 1), repository.path("toy", 2))
        assert repository.promote("toy", 2) == 1
        until(lambda: service.rank(user_id="u")["model"] == "toy@2")
        repository.promote("toy", 1, alias="previous")
        until(lambda: len(service.client.get("/models").json()["models"]) == 2)
        assert service.rank(user_id="u", model="toy@previous")["model"] == "toy@1"
        repository.promote("toy", 1)
        until(lambda: service.rank(user_id="u")["model"] == "toy@1")
        until(lambda: len(service.client.get("/models").json()["models"]) == 1)
        assert 'rank_catalog_items{model="toy@2"}' not in service.client.get("/metrics").text


def test_an_alias_moved_to_a_harmed_version_leaves_the_old_one_serving(
    deployment: Deployment,
) -> None:
    repository = deployment.repository
    with deployment.serve() as service:
        shutil.copytree(repository.path("toy", 1), repository.path("toy", 2))
        repository.promote("toy", 2, alias="candidate")
        until(lambda: len(service.client.get("/models").json()["models"]) == 2)
        shutil.copytree(repository.path("toy", 1), repository.path("toy", 3))
        aliases = repository.root / "toy" / "aliases.json"
        _flip_a_byte(repository.path("toy", 3))
        aliases.write_text(json.dumps({"champion": 3, "candidate": 2}))
        until(lambda: service.metric('rank_model_loads_total{result="failed"}') >= 1)
        assert service.rank(user_id="u")["model"] == "toy@1"
        aliases.write_text("{")
        until(lambda: service.metric("rank_repository_faults") == 1)
        assert service.rank(user_id="u")["model"] == "toy@1"
        assert service.client.get("/readyz").status_code == 200


def test_a_version_whose_records_are_not_in_the_store_does_not_serve(
    deployment: Deployment, world: World
) -> None:
    keys, client = deployment.keys, deployment.redis
    listed: Any = client.smembers(keys.catalog)
    client.delete(keys.catalog)
    with deployment.serve(ready=False) as service:
        wanted = f"holds no items in space {world.artifact.manifest.spaces.items}: publish toy@1"
        until(lambda: wanted in (service.client.get("/readyz").json()["reason"] or ""))
        client.sadd(keys.catalog, *listed)
        until(lambda: service.client.get("/readyz").status_code == 200)
        assert len(service.ids(user_id="u", top_k=1000)) == len(listed)


def test_folders_that_are_no_models_are_ignored(deployment: Deployment) -> None:
    stray = deployment.repository.root / "a@b"
    shutil.copytree(deployment.repository.root / "toy", stray)
    with deployment.serve() as service:
        assert service.rank(user_id="u")["model"] == "toy@1"


def test_several_names_need_one_to_be_named(deployment: Deployment, world: World) -> None:
    other = deployment.repository.root / "other"
    shutil.copytree(deployment.repository.root / "toy", other)
    manifest = other / "1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"name": "toy"', '"name": "other"', 1))
    assert Repository(other.parent).names() == ["other", "toy"]
    (other.parent / "default.json").unlink()  # as an older release left the repository
    user_id = world.dataset.user_ids[0]
    with deployment.serve(ready=False) as service:
        until(lambda: len(service.client.get("/models").json()["models"]) == 2)
        response = service.client.post("/rank", json={"user_id": user_id})
        assert response.status_code == 404
        message = response.json()["error"]["message"]
        assert "other, toy" in message
        assert "python -m training promote NAME@champion --default" in message
        assert service.client.get("/readyz").status_code == 503
        assert service.rank(user_id=user_id, model="other")["model"] == "other@1"
    with running(deployment.settings.model_copy(update={"model": "toy"})) as service:
        until(lambda: service.client.get("/readyz").status_code == 200)
        assert service.rank(user_id=user_id)["model"] == "toy@1"


def test_exposure_of_traffic_is_near_the_offline_reference(
    deployment: Deployment, world: World
) -> None:
    at = 'model="toy@1",pool="catalogue",tradeoff="0.0"'
    with deployment.serve() as service:
        assert f"rank_exposure_rankings_total{{{at}}} 0.0" in service.client.get("/metrics").text
        for user_id in world.dataset.user_ids[:60] * 2:
            service.rank(user_id=user_id, tradeoff=0.0, top_k=20)
        assert service.metric(f"rank_exposure_rankings_total{{{at}}}") == 120
        assert service.metric(f"rank_exposure_places_total{{{at}}}") == 1200
        assert service.metric(f"rank_exposure_window_places{{{at}}}") == 1000
        measured = 'rank_model_front{measure="%s",model="toy@1",tradeoff="0.0"}'
        # Traffic comes from the same users; only the frequency of each user differs.
        assert service.metric(f"rank_exposure_score_drift{{{at}}}") < 0.1
        concentration = service.metric(f"rank_exposure_gini{{{at}}}")
        assert abs(concentration - service.metric(measured % "exposure_gini")) < 0.05
        popularity = service.metric(f"rank_exposure_popularity_percentiles_total{{{at}}}") / 1200
        assert abs(popularity - service.metric(measured % "popularity_percentile")) < 5
        service.rank(user_id="u", tradeoff=0.0, candidates=world.dataset.item_ids[:4])
        at = at.replace("catalogue", "candidates")
        assert service.metric(f"rank_exposure_places_total{{{at}}}") == 4


def test_metrics_of_models_and_store(deployment: Deployment, world: World) -> None:
    repository, data = deployment.repository, world.dataset
    with deployment.serve() as service:
        assert service.metric('rank_model_alias_version{alias="champion",name="toy"}') == 1
        created = world.artifact.manifest.created.timestamp()
        reported = service.metric('rank_model_created_timestamp_seconds{model="toy@1"}')
        assert reported == pytest.approx(created, abs=1)
        # The preload counts as no lookup.
        assert service.metric('rank_catalog_lookups_total{model="toy@1"}') == 0
        service.rank(user_id=data.user_ids[0], candidates=[*data.item_ids[:3], "unheld"])
        assert service.metric('rank_catalog_lookups_total{model="toy@1"}') == 4
        assert service.metric('rank_catalog_misses_total{model="toy@1"}') == 1
        record: Any = deployment.redis.get(deployment.keys.user(data.user_ids[0]))
        assert service.metric('rank_store_read_bytes_total{operation="users"}') == len(record)
        assert service.metric('rank_store_seconds_count{operation="users"}') == 1
        deployment.redis.xadd(deployment.keys.item_changes, {"ids": data.item_ids[0]})
        lag = 'rank_catalog_lag_seconds_bucket{le="10.0",model="toy@1"}'
        until(lambda: service.metric(lag) == 1)
        shutil.copytree(repository.path("toy", 1), repository.path("toy", 2))
        repository.promote("toy", 2)
        until(lambda: service.metric('rank_model_alias_version{alias="champion",name="toy"}') == 2)
        until(lambda: 'model="toy@1"' not in service.client.get("/metrics").text)
