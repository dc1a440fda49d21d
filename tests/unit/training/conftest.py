"""Small datasets in memory."""

from __future__ import annotations

import pytest

<<<<<<< HEAD
import tests.datasets
=======
from tests import datasets
>>>>>>> w-data
from tests.datasets import MakeDataset
from training.data.dataset import Dataset


@pytest.fixture
def make_dataset() -> MakeDataset:
    """Return ``tests.datasets.make_dataset``."""
<<<<<<< HEAD
    return tests.datasets.make_dataset
=======
    return datasets.make_dataset
>>>>>>> w-data


@pytest.fixture
def dataset() -> Dataset:
    """240 impressions, 180 of them logged, of 12 users and 10 items."""
    return datasets.make_dataset()
