from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.anchors.rates import PRIOR_ROWS, Rates

KEY = np.array([0, 0, 0, 1, 2])
LABEL = np.array([1.0, 1.0, 0.0, 0.0, 1.0], np.float32)
TRAIN = np.arange(4)  # the last row is none


@pytest.fixture
def rates() -> Rates:
    return Rates.of(KEY, LABEL, TRAIN, 3)


def test_rates_by_hand(rates: Rates) -> None:
    prior = PRIOR_ROWS / 2  # the mean rate is 2 of 4
    expected = [(2 + prior) / (3 + PRIOR_ROWS), prior / (1 + PRIOR_ROWS), 0.5]
    np.testing.assert_allclose(rates.known(np.arange(3)), expected)


def test_a_rate_leaves_out_the_label_of_its_own_row(rates: Rates) -> None:
    """The rate of a row is that of a log without the row, at the same mean."""
    left_out = rates.leave_one_out(KEY[TRAIN], LABEL[TRAIN])
    for row in TRAIN:
        others = np.setdiff1d(TRAIN, row)
        clicks, rows = LABEL[others][KEY[others] == KEY[row]].sum(), (KEY[others] == KEY[row]).sum()
        assert left_out[row] == pytest.approx((clicks + PRIOR_ROWS / 2) / (rows + PRIOR_ROWS))
    assert left_out[3] == pytest.approx(0.5)  # its key has no other row
    flipped = rates.leave_one_out(KEY[TRAIN], 1 - LABEL[TRAIN])
    assert (flipped != left_out).all()  # else the own label was never in


def test_a_rate_leaves_out_the_rows_of_its_fold(rates: Rates) -> None:
    fold = np.array([0, 1, 1, 0])
    rate = rates.out_of_fold(KEY[TRAIN], LABEL[TRAIN], fold, folds=2)
    prior = PRIOR_ROWS / 2
    first = (1 + prior) / (2 + PRIOR_ROWS)  # of rows 1 and 2
    others = (1 + prior) / (1 + PRIOR_ROWS)  # of row 0
    np.testing.assert_allclose(rate, [first, others, others, 0.5])
