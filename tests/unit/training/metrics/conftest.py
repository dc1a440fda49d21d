"""Ratings with ties and one-sided users."""

from __future__ import annotations

import numpy as np
import pytest

from training.arrays import Floats, Rows


@pytest.fixture
def rated() -> tuple[Rows, Floats, Floats]:
    """User, label and score of 400 rows with many ties; users 18 and 19 are one-sided."""
    rng = np.random.default_rng(3)
    user = rng.integers(20, size=400)
    label = rng.integers(2, size=400).astype(np.float32)
    label[user == 18], label[user == 19] = 0.0, 1.0
    score = np.round(rng.normal(size=400) + 0.5 * label, 1).astype(np.float32)
    return user, label, score
