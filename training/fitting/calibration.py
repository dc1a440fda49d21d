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
    """Fit ``sigmoid(slope * logit + intercept)`` to logged rows at w = 1 (Platt scaling).

    label (R,) 0 or 1, logit (R,); the first 200,000 rows count.
    """
    label, logit = label[:_CALIBRATION_ROWS], logit[:_CALIBRATION_ROWS]
    meaning = "click probability at tradeoff 1 on logged traffic; a rank score elsewhere"
    regression = LogisticRegression(C=np.inf).fit(logit[:, None], label)
    slope, intercept = float(regression.coef_[0, 0]), float(regression.intercept_[0])
    if slope <= 0:  # a net worse than chance: a negative slope would reverse its order
        return UNCALIBRATED
    return Calibration(slope=slope, intercept=intercept, meaning=meaning)


def exposure_scale(label: Floats, debiased: Floats, logged: Floats) -> float:
    """Return the multiple of the exposure term that ranks held-out logged rows best.

    The term is logged - debiased; label, debiased and logged (R,). Returns the multiple in [0, 2],
    in steps of .05, with the greatest AUC; 1 if there is no term. Popularity learned on past days
    tends to predict less on later ones; with the term scaled, logged accuracy peaks at w = 1. Our
    reconstruction.
    """
    label, debiased = label[:_CALIBRATION_ROWS], debiased[:_CALIBRATION_ROWS]
    term = logged[:_CALIBRATION_ROWS] - debiased
    if term.std() < 1e-6:
        return 1.0
    aucs = [auc(label, debiased + scale * term) for scale in _SCALES]
    return float(_SCALES[int(np.argmax(aucs))])
