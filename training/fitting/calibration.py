"""Platt scaling of the logged score, and the scale of the exposure term."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from service.contract.manifest import Calibration
from training.arrays import Floats
from training.metrics.auc import auc

_CALIBRATION_ROWS = 200_000


_SCALES = np.linspace(0.0, 2.0, 41)


UNCALIBRATED = Calibration(slope=1.0, intercept=0.0, meaning="a rank score everywhere")


def calibrate(label: Floats, logit: Floats) -> Calibration:
    """Fit ``sigmoid(slope * logit + intercept)`` to logged rows at w = 1 (Platt scaling)."""
    label, logit = label[:_CALIBRATION_ROWS], logit[:_CALIBRATION_ROWS]
    meaning = "click probability at tradeoff 1 on logged traffic; a rank score elsewhere"
    fit = LogisticRegression(C=np.inf).fit(logit[:, None], label)
    slope, intercept = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    if slope <= 0:  # a model worse than chance: keep its order
        return UNCALIBRATED
    return Calibration(slope=slope, intercept=intercept, meaning=meaning)


def exposure_scale(label: Floats, debiased: Floats, logged: Floats) -> float:
    """Return how much of the exposure term (logged - debiased) ranks held-out logged rows best.

    The multiple in [0, 2], in steps of .05, with the greatest AUC; 1 where there is no term.
    Popularity learned on past days tends to be worth less on later ones; with the term at its
    worth, w = 1 is where logged accuracy is best. Our reconstruction.
    """
    label, debiased = label[:_CALIBRATION_ROWS], debiased[:_CALIBRATION_ROWS]
    term = logged[:_CALIBRATION_ROWS] - debiased
    if term.std() < 1e-6:
        return 1.0
    aucs = [auc(label, debiased + scale * term) for scale in _SCALES]
    return float(_SCALES[int(np.argmax(aucs))])
