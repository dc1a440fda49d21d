"""A short training on a small dataset, and a copy of the sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets import make_dataset
from tests.integration.training.fitting.small_run import SmallRun
from tests.integration.training.fitting.source_tree import SourceTree


@pytest.fixture
def run(tmp_path: Path) -> SmallRun:
    return SmallRun(make_dataset(), tmp_path / "runs" / "toy.pt")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> SourceTree:
    """Copy the sources once; each test restores the files that it changes."""
    return SourceTree.copied_to(tmp_path_factory.mktemp("tree"))
