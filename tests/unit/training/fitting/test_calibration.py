from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from training.fitting.calibration import calibrate, exposure_scale


def clicks_at(*rates: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Labels in exactly these rates, 10 rows each, and the true logit of every row."""
    label = np.concatenate([np.arange(10) < round(10 * rate) for rate in rates])
    logit = np.repeat([math.log(rate / (1 - rate)) for rate in rates], 10)
    return label.astype(np.float64), logit


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (2.0, 1.0), (0.5, -0.75)])
def test_calibration_recovers_slope_and_intercept(slope: float, intercept: float) -> None:
    label, truth = clicks_at(0.1, 0.2, 0.3, 0.5, 0.6, 0.8)

    fit = calibrate(label, (truth - intercept) / slope)

    assert fit.slope == pytest.approx(slope, abs=1e-3)
    assert fit.intercept == pytest.approx(intercept, abs=1e-3)
    assert "probability at tradeoff 1" in fit.meaning


def test_a_model_worse_than_chance_keeps_its_order() -> None:
    label, truth = clicks_at(0.1, 0.5, 0.8)

    fit = calibrate(label, -truth)

    assert (fit.slope, fit.intercept, fit.meaning) == (1.0, 0.0, "a rank score everywhere")


def test_a_constant_score_is_not_calibrated() -> None:
    assert calibrate(np.array([0.0, 1.0, 0.0, 1.0]), np.zeros(4)).slope == 1.0


@pytest.mark.parametrize("worth", [0.0, 0.5, 1.6])
def test_the_worth_of_the_exposure_term_is_recovered(worth: float) -> None:
    rng = np.random.default_rng(0)
    debiased, term = rng.normal(size=(2, 60_000))
    label = (rng.random(60_000) < 1 / (1 + np.exp(-0.7 * (debiased + worth * term)))).astype("f4")
    assert exposure_scale(label, debiased, debiased + term) == pytest.approx(worth, abs=0.1)


def test_the_worth_of_the_exposure_term_stays_in_bounds() -> None:
    rng = np.random.default_rng(0)
    score, term = rng.normal(size=(2, 4_000))
    click = (rng.random(4_000) < 1 / (1 + np.exp(-score - 5 * term))).astype("f4")
    assert exposure_scale(click, score, score + term) == 2.0
    assert exposure_scale(click, score, score - term) == 0.0
    assert exposure_scale(click, score, score) == 1.0  # no term to judge
    assert exposure_scale(1 - click, score, score + term) == 0.0
