"""A dataset and two versions of a model, trained once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from service.contract.artifact import Artifact, open_artifact
from service.contract.repository import Repository
from tests.bench.common import log
from tests.conftest import SHORT
from training.config import load_config
from training.data.dataset import Dataset, open_dataset
from training.data.simulate.simulate import simulate
from training.fitting.provenance import source_digest
from training.fitting.runs import RunStore
from training.pipeline import train

NAME = "toy"
VERSIONS = 2


@dataclass(frozen=True)
class World:
    """A dataset and versions of one model, trained on it with different seeds."""

    dataset: Dataset
    versions: tuple[Artifact, ...]


def open_world(build: Path) -> World:
    """Return the world; trains it unless the same sources already did."""
    folder = build / f"world-{source_digest('training.pipeline')[:12]}"
    data = folder / "data"
    if not data.exists():
        log("simulating a feed")
        simulate(data, seed=7, impressions=20_000)
    dataset = open_dataset(data)
    repository = Repository(folder / "models")
    torch.set_num_threads(1)
    for seed in range(len(repository.versions(NAME)), VERSIONS):
        log(f"training version {seed + 1} of {VERSIONS}")
        config = load_config("cp2rec", overrides=(*SHORT, f"seed={seed}"))
        train(dataset, config, repository, NAME, RunStore(folder / "runs"))
    paths = (repository.path(NAME, version + 1) for version in range(VERSIONS))
    return World(dataset, tuple(map(open_artifact, paths)))
