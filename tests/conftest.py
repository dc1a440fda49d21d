"""Fixtures that several folders share: a private Redis, a simulated dataset, a trained model."""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from torch._export import utils as torch_export
from torch.onnx._internal.exporter._registration import ONNXRegistry

from service.contract.artifact import Artifact
from service.contract.repository import Repository
from tests.manifest_document import manifest_document
from tests.sharing import shared
from training.config import Config, load_config
from training.data.dataset import Dataset, open_dataset
from training.data.simulate.simulate import simulate
from training.demo.local_redis import private_redis
from training.fitting.fitted_net import FittedNet
from training.fitting.provenance import commit
from training.fitting.runs import RunStore
from training.pipeline import train

os.environ["RANK_ACCESS"] = "open"  # tests of access name "keys"
torch.set_num_threads(1)
# Each export parses the sources of all operators, and lists PyTorch's, anew: the same each time.
vars(torch_export)["_materialize_cpp_cia_ops"] = functools.cache(
    torch_export._materialize_cpp_cia_ops
)
ONNXRegistry.from_torchlib = staticmethod(functools.cache(ONNXRegistry.from_torchlib))  # type: ignore[method-assign]

WORLD_COMMIT = "5" * 40  # that the code of the world's artifact was at, with changes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its folder."""
    root = Path(__file__).parent
    for item in items:
        item.add_marker(item.path.relative_to(root).parts[0])


@dataclass(frozen=True)
class World:
    """A dataset and a model trained on it: its artifact and its fitted net."""

    dataset: Dataset
    config: Config
    artifact: Artifact
    fitted: FittedNet
    repository: Repository


@pytest.fixture(autouse=True, scope="session")
def short_collections() -> Iterator[None]:
    """Collect young garbage alone after a model is loaded: PyTorch's objects take half a second."""
    collector = SimpleNamespace(
        collect=lambda: gc.collect(1), freeze=gc.freeze, unfreeze=gc.unfreeze
    )
    with mock.patch("service.models.loader.gc", collector):
        yield


@pytest.fixture
def document() -> dict[str, Any]:
    """A valid manifest as JSON, for a test to change."""
    return manifest_document()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Yield the URL of a real Redis server for all tests; each test has its own namespace."""
    with private_redis() as url:
        yield url


@pytest.fixture(scope="session")
def toy_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Simulate a small feed once."""

    def make(folder: Path) -> Dataset:
        simulate(folder / "data", seed=7, impressions=20_000)
        return open_dataset(folder / "data")

    return shared(tmp_path_factory, "toy", make)


SHORT = (
    "train.epochs=2",
    "net.exposure_weight=1",
    "front.bootstrap=20",
    "default_tradeoff=0.5",
)


@pytest.fixture(scope="session")
def world(toy_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Train and export a small model once; its repository must not be changed."""

    def make(folder: Path) -> World:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PARETORANK_COMMIT", f"{WORLD_COMMIT}-dirty")
            commit.cache_clear()
            made = trained_world(toy_dataset, load_config("cp2rec", overrides=SHORT), folder)
            commit.cache_clear()
        return made

    return shared(tmp_path_factory, "world", make)


def trained_world(dataset: Dataset, config: Config, folder: Path) -> World:
    """Train and export a model ``toy`` in a repository at ``folder``."""
    repository, runs = Repository(folder), RunStore(folder / ".runs")
    artifact, fitted = train(dataset, config, repository, "toy", runs)
    return World(dataset, config, artifact, fitted, repository)


LEARNED_INTERACTIONS = {
    "front": ("cp2rec-front",),
    "backdoor": ("cp2rec-front", "net.mode=backdoor", "net.architecture=ncf"),
    "paper": ("cp2rec-paper", "net.architecture=ncf", "net.purifier=proj", "net.debias=snips"),
}


@pytest.fixture(scope="session")
def interaction_worlds(
    toy_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], World]:
    """Train and export a small model with learned interactions, once for each mode."""

    @functools.cache  # a fixture with parameters keeps one of them alone
    def trained(mode: str) -> World:
        model, *overrides = LEARNED_INTERACTIONS[mode]
        overrides += ["train.epochs=1", "front.bootstrap=20", "exposure.draws=2"]
        config = load_config(model, overrides=tuple(overrides))
        make = functools.partial(trained_world, toy_dataset, config)
        return shared(tmp_path_factory, f"interactions-{mode}", make)

    return trained


@pytest.fixture(scope="session", params=list(LEARNED_INTERACTIONS))
def interaction_world(
    request: pytest.FixtureRequest, interaction_worlds: Callable[[str], World]
) -> World:
    """Return the model of each mode in turn."""
    return interaction_worlds(request.param)
