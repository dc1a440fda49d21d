"""A minimal valid artifact on disk. Its graphs are dummy bytes: the contract opens no graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.contract.artifact import ArtifactError, Golden
from service.contract.repository import Repository
from tests.manifest_document import LISTED

Publish = Callable[[int], Path]
Fill = Callable[..., Path]
Edit = Callable[[Path, str, Any], None]


def refusal(action: Callable[[], object]) -> ArtifactError:
    """Run an action that must fail; its message must be ``file: reason``."""
    with pytest.raises(ArtifactError) as caught:
        action()
    error = caught.value
    assert str(error) == f"{error.file}: {error.reason}"
    return error


@pytest.fixture
def golden() -> Golden:
    """Golden arrays with a different value in every place: N = 2, T = 3."""

    def ramp(start: float, *shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return (start + np.arange(np.prod(shape)) / 8).astype(np.float32).reshape(shape)

    return Golden(
        embedding=ramp(1, 2, 9),
        modality_mask=np.array([[1, 1, 0], [0, 1, 1]], np.float32),
        proxies=ramp(10, 2, 2),
        user=ramp(20, 1, 6),
        tradeoffs=np.array([0, 0.5, 1], np.float32),
        logits=ramp(30, 3, 2),
        history=np.array([1, 0], np.int64),
        cold_user=ramp(40, 1, 6),
    )


@pytest.fixture
def fill(document: dict[str, Any], golden: Golden) -> Fill:
    """Return ``fill(folder, content)``: write a valid artifact into an existing folder."""

    def fill_folder(folder: Path, content: bytes = b"graph") -> Path:
        for name in LISTED:
            (folder / name).write_bytes(name.encode() + content)
        golden.save(folder / "golden.npz")
        files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in LISTED}
        (folder / "manifest.json").write_text(json.dumps({**document, "files": files}))
        return folder

    return fill_folder


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A model repository whose folder does not exist yet."""
    return Repository(tmp_path / "models")


@pytest.fixture
def publish(repository: Repository, fill: Fill) -> Publish:
    """Return ``publish(version)``: a valid artifact at ``demo/<version>``."""

    def publish_version(version: int) -> Path:
        folder = repository.root / "demo" / str(version)
        folder.mkdir(parents=True)
        return fill(folder, b"graph of version %d" % version)

    return publish_version


@pytest.fixture
def edit() -> Edit:
    """Return ``edit(folder, key, value)``: set a top-level field of a written manifest."""

    def edit_field(folder: Path, key: str, value: Any) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    return edit_field
