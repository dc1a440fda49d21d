"""Means with their standard errors, in the contract's form."""

from __future__ import annotations

import numpy as np

from service.contract.manifest import Estimate
from training.arrays import Floats


def mean_and_se(values: Floats) -> Estimate:
    """Return the mean of values (S,) with its standard error, which is None for a single value."""
    return Estimate(mean=float(values.mean()), se=finite(standard_error(values)))


def standard_error(values: Floats) -> Floats:
    """Return the standard error of the mean over the first axis; NaN for a single value."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(values.std(axis=0, ddof=1) / np.sqrt(len(values)))


def bootstrapped(mean: float, replicates: Floats) -> Estimate:
    """Return a mean with the standard deviation of its replicates (B,); None if one is NaN."""
    return Estimate(mean=mean, se=finite(replicates.std(ddof=1)))


def finite(value: np.floating | Floats) -> float | None:
    """Return the value as a float; None for NaN and infinity."""
    return float(value) if np.isfinite(value) else None
