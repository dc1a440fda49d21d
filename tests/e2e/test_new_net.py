"""A new net takes three files: its module, its registry entry and its configuration.

The files are laid over a copy of the checkout, in which every command runs as a user types it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import SecretStr
from scipy.special import logit

from service.contract.artifact import Artifact, open_artifact
from service.settings import Settings
from tests.e2e.conftest import ROOT, training
from tests.integration.conftest import running, until
from training.data.dataset import Dataset, open_dataset
from training.data.simulate.simulate import simulate

PACKAGES = ("service", "training")
SOURCES = Path(__file__).parent / "linear_net"
REGISTRY = Path("training/nets/registry.py")
IMPORT = "from training.nets.linear import LinearNet, LinearOptions\n"
ENTRY = '    "linear": Architecture(LinearOptions, LinearNet),\n'


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the packages and add the net: a module, a configuration, and its entry."""
    folder = tmp_path_factory.mktemp("checkout")
    for package in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignore)
    shutil.copy(SOURCES / "linear.py", folder / "training" / "nets")
    shutil.copy(SOURCES / "linear.toml", folder / "training" / "configs")
    registry = (folder / REGISTRY).read_text()
    for line, before in ((IMPORT, "from training.nets.painvrl."), (ENTRY, '    "painvrl": ')):
        assert before in registry
        registry = registry.replace(before, line + before, 1)
    (folder / REGISTRY).write_text(registry)
    return folder


@pytest.fixture
def commands(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make commands run in the copy and import from it alone."""
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    return checkout


@pytest.fixture(scope="module")
def dataset(checkout: Path) -> Dataset:
    simulate(checkout / "data", seed=1, impressions=6_400)
    return open_dataset(checkout / "data")


@pytest.fixture
def artifact(commands: Path, dataset: Dataset) -> Artifact:
    """Train the net once."""
    path = commands / "models" / "linear" / "1"
    if not path.exists():
        output = training("train", "--model", "linear", "--data", str(dataset.path), cwd=commands)
        assert "added linear@1" in output
    return open_artifact(path)


def sources(root: Path) -> dict[Path, bytes]:
    """Return all files of the packages by their path, without compiled ones."""
    return {
        path.relative_to(root): path.read_bytes()
        for package in PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_three_files_differ(checkout: Path) -> None:
    before, after = sources(ROOT), sources(checkout)

    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}

    added = {Path("training/nets/linear.py"), Path("training/configs/linear.toml")}
    assert changed == {*added, REGISTRY}
    assert not added & before.keys()


def test_it_is_evaluated_with_baselines_probes_and_cold_items(
    artifact: Artifact, commands: Path, dataset: Dataset
) -> None:
    output = training(
        *("evaluate", "linear", "--model", "linear", "--data", str(dataset.path), "--seeds", "1"),
        *("--baselines", "plain,penalty", "--probes", "--cold"),
        cwd=commands,
    )

    report = json.loads((commands / "results" / "toy" / "linear.json").read_text())
    assert set(report["baselines"]) == {"plain", "penalty"}  # none is the net's own
    assert {probe["proxy"] for probe in report["purification"]} == {"popularity", "age_days"}
    names = {segment["name"] for segment in report["segments"]}
    assert {"warm items", "cold items", "hidden users: by history"} <= names
    front = artifact.manifest.front.model_dump(mode="json")
    for point, trained in zip(report["points"], front["points"], strict=True):  # one seed: the same
        assert point["logged"]["auc"]["mean"] == trained["logged"]["auc"]["mean"]
    assert "| **front** | this model |" in output


def test_it_is_published_and_ranks(
    artifact: Artifact, commands: Path, dataset: Dataset, redis_url: str
) -> None:
    published = training(
        *("publish", "linear", "--data", str(dataset.path), "--redis", redis_url),
        *("--namespace", "new-net", "--force"),  # a linear net does not beat simple models
        cwd=commands,
    )
    assert "linear@champion is now linear@1" in published

    settings = Settings(
        models_dir=commands / "models", redis_url=SecretStr(redis_url), namespace="new-net"
    )
    with running(settings) as service:
        until(lambda: service.client.get("/readyz").status_code == 200)
        answers = [
            service.rank(user_id=dataset.user_ids[2], tradeoff=w, top_k=len(dataset.item_ids))
            for w in (0.0, 1.0)
        ]

    debiased, logged = ({item["item_id"]: item["score"] for item in a["items"]} for a in answers)
    assert [(a["model"], a["degraded"]) for a in answers] == [("linear@1", [])] * 2
    assert artifact.manifest.architecture == "linear"
    popularity = dict(pl.read_parquet(artifact.path / "items.parquet", glob=False).iter_rows())
    added = [popularity.get(item_id, [0.0])[0] for item_id in dataset.item_ids]
    gain = [logit(logged[item_id]) - logit(debiased[item_id]) for item_id in dataset.item_ids]
    slope = artifact.manifest.calibration.slope
    np.testing.assert_allclose(gain, slope * np.array(added), atol=1e-4)
    assert np.ptp(added) > 0.05
