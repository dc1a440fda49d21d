"""Log loss and calibration error of probabilities."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import log_loss

from training.arrays import Floats, Rows


def logloss(label: Floats, probability: Floats) -> float:
    """Return the mean negative log likelihood of labels (R,) in nats; probability (R,)."""
    return float(log_loss(label, probability, labels=[0, 1]))


def expected_calibration_error(label: Floats, probability: Floats, bins: int = 15) -> float:
    """Return the mean over rows of |click rate - mean probability| in a row's bin, in [0, 1].

    label (R,) 0 or 1, probability (R,). Guo et al., ICML 2017, with the bins of equal mass of
    Nguyen & O'Connor, EMNLP 2015; see ``mass_bins``.
    """
    excess = np.bincount(mass_bins(probability, bins), label - probability)
    return float(np.abs(excess).sum() / len(label))


def mass_bins(values: Floats, bins: int) -> Rows:
    """Return the bin (R,) in [0, bins) of each value: equally many rows per bin, ties together."""
    index: Rows = ((rankdata(values) - 0.5) * bins / len(values)).astype(np.int64)
    return index
