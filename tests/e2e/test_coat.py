"""prepare, train, publish, serve, rank, evaluate: on the real Coat files, by the real commands."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import httpx
import pytest

from service.contract.front import Front
from service.contract.repository import Repository
from tests.e2e.conftest import ROOT, in_process, training
from tests.integration.conftest import until
from tests.torch_ranking import assert_same_ranking, torch_ranking
from training.config import load_config
from training.data.dataset import open_dataset
from training.demo.local_redis import child
from training.evaluation.report.schema import Report
from training.fitting.runs import RunStore
from training.fitting.train_net import train_net

COAT = ROOT.parent / "shared" / "data" / "coat"
TRADEOFFS = (0.0, 0.25, 0.5, 0.75, 1.0)

pytestmark = pytest.mark.skipif(
    not COAT.is_dir(), reason=f"the Coat files are not in {COAT.relative_to(ROOT.parent)}"
)


def test_the_whole_path_on_coat(tmp_path: Path, redis_url: str) -> None:
    training("prepare", "coat", "--source", str(COAT), "--out", "coat", cwd=tmp_path)
    settings = ("train.epochs=2", "net.exposure_weight=1")
    options = [word for setting in settings for word in ("--set", setting)]
    options += ["--model", "cp2rec", "--data", "coat", "--seed", "3"]
    printed = training("train", *options, cwd=tmp_path)
    assert "added cp2rec@1 in models/cp2rec/1" in printed
    assert "verdict: " in printed
    publication = ("publish", "cp2rec", "--data", "coat", "--redis", redis_url)
    # Two epochs do not beat simple models.
    printed = training(*publication, "--force", cwd=tmp_path)
    assert "cp2rec@1: 300 items and 290 users in Redis" in printed
    assert "cp2rec@champion is now cp2rec@1" in printed

    assert not list((tmp_path / "build" / "training").glob("*.pt"))  # finished, so not resumed
    dataset = open_dataset(tmp_path / "coat")
    config = load_config("cp2rec", overrides=("seed=3", *settings))
    # The same run again: the same net, of which the artifact holds the graphs.
    fitted = train_net(dataset, config, RunStore(tmp_path / "build" / "training"))
    artifact = Repository(tmp_path / "models").resolve("cp2rec@1")
    assert artifact.is_dir()

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {**os.environ, "RANK_PORT": str(port), "RANK_REDIS_URL": redis_url}
    environment["RANK_MODELS_DIR"] = str(tmp_path / "models")
    with (
        child([sys.executable, "-m", "service"], environment) as service,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
    ):

        def ready() -> bool:
            assert service.poll() is None
            try:
                return client.get("/readyz").status_code == 200
            except httpx.TransportError:
                return False

        until(ready, 60)
        for user in (0, 17, 123):
            for tradeoff in TRADEOFFS:
                body = {"user_id": dataset.user_ids[user], "tradeoff": tradeoff, "top_k": 300}
                answer = client.post("/rank", json=body).json()
                expected, logits = torch_ranking(fitted, dataset, user, tradeoff)
                got = [item["item_id"] for item in answer["items"]]
                assert_same_ranking(got, expected, logits)
                assert answer["degraded"] == []


def test_evaluate_pools_seeds_and_does_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    in_process("prepare", "coat", "--source", str(COAT), "--out", "coat")
    settings = ("train.epochs=1", "net.exposure_weight=1", "front.bootstrap=20")
    options = ["--data", "coat", *(word for each in settings for word in ("--set", each))]
    in_process("evaluate", "quick", *options, "--seeds", "2")
    runs = tmp_path / "build" / "training"
    before = {path.name: path.stat().st_mtime_ns for path in runs.glob("*-front.json")}
    assert len(before) == 2
    in_process("evaluate", "quick", *options, "--seeds", "3")
    after = {path.name: path.stat().st_mtime_ns for path in runs.glob("*-front.json")}
    assert len(after) == 3
    assert before.items() <= after.items()
    report = tmp_path / "results" / "coat" / "quick.json"
    front = Report.model_validate_json(report.read_bytes())
    assert front.baselines == {}
    assert front.seeds == (0, 1, 2)
    assert front.se_kind == "over seeds"
    one = [
        Front.model_validate_json((runs / name).read_bytes()).points[0].logged["auc"].mean
        for name in after
    ]
    assert front.points[0].logged["auc"].mean == pytest.approx(sum(one) / 3)
    assert report.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
