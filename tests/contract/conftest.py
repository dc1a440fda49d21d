"""Nets of every architecture, built once for all conformance tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import World
from tests.contract.architectures import VARIANTS, LoggedRows, Variant
from tests.short_inference import short_inference
from training.data.dataset import Dataset


@pytest.fixture(autouse=True, scope="session")
def environments_are_inferred_quickly() -> Iterator[None]:
    """Conformance does not depend on good environments."""
    with short_inference():
        yield


@pytest.fixture(scope="session")
def logged_rows(toy_dataset: Dataset) -> LoggedRows:
    """Batch the logged rows of the toy dataset."""
    return LoggedRows.of(toy_dataset)


@pytest.fixture(scope="session", params=list(VARIANTS))
def variant(request: pytest.FixtureRequest, logged_rows: LoggedRows) -> Variant:
    """Build a net; a test that changes it must change a copy."""
    return Variant.of(VARIANTS[request.param], logged_rows)


@pytest.fixture
def copy(world: World, tmp_path: Path) -> Path:
    """Return a copy of the artifact that a test may harm."""
    folder = tmp_path / "toy" / "1"
    shutil.copytree(world.artifact.path, folder)
    return folder
