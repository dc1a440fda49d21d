"""Log loss and calibration error of probabilities."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import log_loss

from training.arrays import Floats, Rows


def logloss(label: Floats, probability: Floats) -> float:
    """Return the mean negative log likelihood in nats."""
    return float(log_loss(label, probability, labels=[0, 1]))


def expected_calibration_error(label: Floats, probability: Floats, bins: int = 15) -> float:
    """Return the mean over rows of |click rate - mean probability| of a row's bin, in [0, 1].

    label (R,) 0 or 1, probability (R,). Guo et al., ICML 2017, with bins of equal mass as in
    Nguyen & O'Connor, EMNLP 2015, see ``mass_bins``.
    """
    excess = np.bincount(mass_bins(probability, bins), label - probability)
    return float(np.abs(excess).sum() / len(label))


def mass_bins(values: Floats, bins: int) -> Rows:
    """Return each value's bin (R,) in [0, bins): as many rows a bin, equal values together."""
    index: Rows = ((rankdata(values) - 0.5) * bins / len(values)).astype(np.int64)
    return index
