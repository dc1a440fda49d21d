"""A small dataset folder, and a folder for arrays on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.training.data.small_dataset import write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of ``small_dataset``, written anew."""
    write(tmp_path / "small")
    return tmp_path / "small"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A folder for arrays on disk; it does not exist yet."""
    return tmp_path / "scratch"
