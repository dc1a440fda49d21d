"""Damaged files of the model repository are refused by ArtifactError, or serve."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.contract.artifact import (
    BIAS_REFERENCE,
    GOLDEN,
    MANIFEST,
    ArtifactError,
    open_artifact,
)
from service.contract.repository import ALIASES, Repository
from service.exposure.monitor import ExposureMonitor
from service.models.scorer import Scorer
from service.telemetry import Telemetry
from tests.conftest import World
from tests.fuzz.damage import damaged_bytes, damaged_json


@pytest.fixture(scope="module")
def folder(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact whose files the tests of this module damage and mend."""
    folder = tmp_path_factory.mktemp("damaged") / "toy" / "1"
    shutil.copytree(world.artifact.path, folder)
    return folder


@given(data=st.data())
def test_a_damaged_manifest_is_refused_or_serves(folder: Path, data: st.DataObject) -> None:
    valid = (folder / MANIFEST).read_bytes()
    _load(folder, {MANIFEST: data.draw(damaged_json(json.loads(valid)))})


@given(data=st.data())
@pytest.mark.parametrize("name", [GOLDEN, BIAS_REFERENCE])
def test_damaged_arrays_are_refused_or_serve(folder: Path, name: str, data: st.DataObject) -> None:
    """The manifest names the damaged file's hash, as if training had written it."""
    content = data.draw(damaged_bytes((folder / name).read_bytes()) | st.binary(max_size=99))
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    _load(folder, {name: content, MANIFEST: json.dumps(manifest).encode()})


def _load(folder: Path, changed: dict[str, bytes]) -> None:
    """Do what the registry does before a version serves."""
    valid = {name: (folder / name).read_bytes() for name in changed}
    try:
        for name, content in changed.items():
            (folder / name).write_bytes(content)
        scorer = Scorer(open_artifact(folder))
        scorer.replay()
        ExposureMonitor(scorer.artifact, Telemetry())
        scorer.encode_user(np.zeros((0, scorer.artifact.manifest.state_dim), np.float32))
    except ArtifactError as error:
        assert str(error).startswith(str(folder))
    finally:
        for name, content in valid.items():
            (folder / name).write_bytes(content)


@given(content=damaged_json({"champion": 1, "challenger": 2}))
@example(content=b"[" * 5000)
@example(content=b'{"champion": ' + b"9" * 5000 + b"}")
def test_damaged_aliases_are_refused_or_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "toy" / ALIASES
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with contextlib.suppress(ArtifactError):
        aliases = Repository(tmp_path).aliases("toy")
        assert all(isinstance(version, int) for version in aliases.values())
