"""The demo reuses a model of an earlier run if this release can read it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from service.contract.repository import Repository
from tests.conftest import World
from training.demo.demo import reusable


@pytest.fixture
def repository(world: World, tmp_path: Path) -> Repository:
    """Copy the shared model as versions 1 and 2."""
    for version in ("1", "2"):
        shutil.copytree(world.artifact.path, tmp_path / "toy" / version)
    return Repository(tmp_path)


def test_the_newest_model_of_the_data_is_reused(repository: Repository, world: World) -> None:
    artifact = reusable(repository, "toy", world.dataset)
    assert artifact is not None
    assert artifact.version == 2
    assert reusable(repository, "toy", replace(world.dataset, fingerprint="0" * 64)) is None


def test_a_model_of_an_earlier_release_is_left_aside(repository: Repository, world: World) -> None:
    manifest = repository.path("toy", 2) / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema_version": 1}))
    artifact = reusable(repository, "toy", world.dataset)
    assert artifact is not None
    assert artifact.version == 1
