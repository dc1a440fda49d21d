"""Measures that training and the service both compute, so that their figures compare."""

from __future__ import annotations

from collections.abc import Sequence

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


def rank_biased_overlap(left: Sequence[str], right: Sequence[str], p: float = 0.9) -> float:
    """Return the agreement in [0, 1] of two rankings of distinct ids; 1 if they are equal.

    RBO_EXT of Webber, Moffat and Zobel, "A similarity measure for indefinite rankings", ACM TOIS
    28(4), 2010, equation 23, at depth k, the length of the shorter ranking:
    (X_k / k) p^k + (1 - p) / p * sum_{d=1..k} (X_d / d) p^d, where X_d ids are in the first d of
    both. Each further place weighs ``p`` times the one before. Two empty rankings agree.
    """
    depth = min(len(left), len(right))
    if not depth:
        return float(len(left) == len(right))
    seen: set[str] = set()
    common, total, weight = 0, 0.0, 1.0
    for d, (a, b) in enumerate(zip(left[:depth], right[:depth], strict=True), start=1):
        common += (a == b) or (a in seen) + (b in seen)
        seen.update((a, b))
        weight *= p
        total += common / d * weight
    return common / depth * weight + (1 - p) / p * total


def stability_index(values: Floats, deciles: Floats) -> float:
    """Return the population stability index of ``values`` (K,) against inner ``deciles`` (9,).

    sum_b (p_b - q_b) ln(p_b / q_b) over the ten bins, q_b = 1/10. Half a value is added to each
    bin, so that none is empty. By convention, below 0.1 is no shift and above 0.25 a large one.
    """
    counts = np.bincount(np.searchsorted(deciles, values, side="right"), minlength=10) + 0.5
    share = counts / counts.sum()
    return float(((share - 0.1) * np.log(share / 0.1)).sum())
