"""Measures that training and the service both compute, so that their figures compare."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import Calibration

TAIL_PERCENTILE = 80.0  # items up to this percentile by training clicks are the tail

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]


def gini(amounts: Floats | Integers, items: int | None = None) -> float:
    """Return the Gini coefficient of ``amounts`` (A,) >= 0, NaN if all are 0.

    ``items`` is the number I of items, at least A and A by default; items beyond A have amount 0.
    In [0, 1 - 1 / I]: 0 where all amounts are equal, the largest where one item takes all.
    From the ordered amounts x_1 <= ... <= x_I: sum_i (2 i - I - 1) x_i / (I sum_i x_i).
    """
    total = amounts.sum()
    if not total:
        return float("nan")
    count = max(items or 0, len(amounts))
    weight = 2 * np.arange(count - len(amounts) + 1, count + 1) - count - 1  # (A,)
    return float(weight @ np.sort(amounts) / (count * total))


def in_tail(percentile: Floats) -> NDArray[np.bool_]:
    """Return True (I,) for the items of the tail, by their percentile (I,) of training clicks.

    The share of the places in a ranking that go to the tail is its tail share, after the average
    percentage of long-tail items of Abdollahpouri et al., FLAIRS 2019.
    """
    return np.asarray(percentile <= TAIL_PERCENTILE)


def parity_error(actual: Floats, expected: Floats) -> float:
    """Return the largest |actual - expected| over max(1, largest |expected|), of equal shapes.

    NaN if a value is. Two sums of the same float32 terms in another order differ in proportion to
    the size of the terms.
    """
    scale = np.maximum(np.abs(expected).max(initial=0.0), 1.0)
    return float(np.abs(actual - expected).max(initial=0.0) / scale)


def scaled_logit(calibration: Calibration, logit: Floats) -> NDArray[np.float64]:
    """Return ``slope * logit + intercept`` in float64, of any shape."""
    return np.asarray(calibration.slope * logit.astype(np.float64) + calibration.intercept)


def calibrated_score(calibration: Calibration, logit: Floats) -> NDArray[np.float64]:
    """Return the score in (0, 1): the sigmoid of the scaled logit, of any shape."""
    return np.asarray(1.0 / (1.0 + np.exp(-scaled_logit(calibration, logit))))
