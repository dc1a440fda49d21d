from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss

from training.metrics.calibration_error import expected_calibration_error, logloss, mass_bins


def test_calibration_error_by_hand() -> None:
    label = np.array([0, 1, 0, 0, 1, 1], np.float32)
    probability = np.array([0.1, 0.2, 0.3, 0.6, 0.8, 0.9])

    # Bins of three: clicks 1/3 against a mean of .2, 2/3 against 2.3/3.
    by_hand = (abs(1 - 0.6) + abs(2 - 2.3)) / 6
    assert expected_calibration_error(label, probability, 2) == pytest.approx(by_hand)
    assert expected_calibration_error(label[::-1], probability[::-1], 2) == pytest.approx(by_hand)
    assert expected_calibration_error(label, probability, 1) == pytest.approx(0.1 / 6)


def test_calibrated_probabilities_have_no_calibration_error() -> None:
    label, probability = np.array([1.0, 0.0, 0.0, 0.0] * 100), np.full(400, 0.25)

    assert expected_calibration_error(label, probability) == pytest.approx(0.0, abs=1e-12)
    assert expected_calibration_error(1 - label, probability) == pytest.approx(0.5)


def test_bins_hold_as_many_rows_each_and_equal_values_together() -> None:
    rng = np.random.default_rng(0)

    assert np.bincount(mass_bins(rng.lognormal(size=150), 15)).tolist() == [10] * 15
    assert mass_bins(np.array([9.0, 1.0, 1.0, 1.0, 8.0, 7.0]), 3).tolist() == [2, 0, 0, 0, 2, 1]


def test_logloss_is_in_nats() -> None:
    label, probability = np.array([1.0, 0.0, 1.0]), np.array([0.5, 0.25, 0.9])

    by_hand = -(math.log(0.5) + math.log(0.75) + math.log(0.9)) / 3
    assert logloss(label, probability) == pytest.approx(by_hand, rel=1e-12)
    assert logloss(label, probability) == pytest.approx(log_loss(label, probability))


def test_logloss_of_one_label_is_defined() -> None:
    assert logloss(np.ones(2), np.array([0.5, 0.25])) == pytest.approx(math.log(8) / 2)
