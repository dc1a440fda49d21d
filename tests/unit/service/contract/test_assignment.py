"""Places of units in [0, 1): uniform, independent between salts, and for ever the same."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, spearmanr

from service.contract.assignment import unit_hash


@pytest.mark.parametrize("salt", ["", "cp2rec@2", "shadow"])
def test_places_are_uniform(salt: str) -> None:
    places = [unit_hash(salt, f"u{n:04d}") for n in range(5000)]
    assert kstest(places, "uniform").pvalue > 0.01


def test_places_under_two_salts_are_independent() -> None:
    left, right = (
        np.array([unit_hash(salt, f"u{n}") for n in range(5000)]) for salt in ("m@1", "m@2")
    )
    assert spearmanr(left, right).pvalue > 0.01


def test_places_stay_as_they_were() -> None:
    """Another release may not move users between the arms of a running experiment."""
    assert unit_hash("cp2rec@2", "u0001") == 0.43467945916910455
