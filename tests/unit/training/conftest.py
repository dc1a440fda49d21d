"""Small datasets in memory."""

from __future__ import annotations

import pytest

import tests.datasets
from tests.datasets import MakeDataset
from training.data.dataset import Dataset


@pytest.fixture
def make_dataset() -> MakeDataset:
    """Return ``tests.datasets.make_dataset``."""
    return tests.datasets.make_dataset


@pytest.fixture
def dataset() -> Dataset:
    """240 impressions, 180 of them logged, of 12 users and 10 items."""
    return tests.datasets.make_dataset()
