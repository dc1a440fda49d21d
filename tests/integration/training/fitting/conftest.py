"""A short training on a small dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets import make_dataset
from tests.integration.training.fitting.small_run import SmallRun


@pytest.fixture
def run(tmp_path: Path) -> SmallRun:
    return SmallRun(make_dataset(), tmp_path / "runs" / "toy.pt")
