from __future__ import annotations

import math

import numpy as np
import pytest

from service.contract.manifest import Calibration
from service.contract.measures import (
    calibrated_score,
    gini,
    in_tail,
    parity_error,
    rank_biased_overlap,
    scaled_logit,
)

CALIBRATION = Calibration(slope=2.0, intercept=-1.0, meaning="test")


@pytest.mark.parametrize(
    ("amount", "expected"),
    [([2, 2, 2], 0.0), ([0, 0, 0, 9], 3 / 4), ([1, 3], 1 / 4), ([5], 0.0)],
)
def test_gini_by_hand(amount: list[int], expected: float) -> None:
    assert gini(np.array(amount)) == pytest.approx(expected)


def test_gini_is_half_the_relative_mean_difference() -> None:
    amount = np.random.default_rng(0).lognormal(size=50)

    difference = np.abs(amount[:, None] - amount).mean()
    assert gini(amount) == pytest.approx(difference / (2 * amount.mean()))


def test_gini_of_nothing_is_nan() -> None:
    assert math.isnan(gini(np.zeros(3)))


def test_items_without_an_amount_count_as_zeros() -> None:
    amount = np.random.default_rng(1).integers(0, 30, size=40)
    amount[:25] = 0

    assert gini(amount[25:], 40) == gini(amount)
    assert gini(np.array([1, 3]), 4) == pytest.approx((-3 * 0 - 1 * 0 + 1 * 1 + 3 * 3) / (4 * 4))


def test_there_are_at_least_as_many_items_as_amounts() -> None:
    amount = np.array([1, 3])

    assert gini(amount, 1) == gini(amount)


def test_the_tail_ends_with_the_80th_percentile() -> None:
    percentile = np.array([0.0, 79.9, 80.0, 80.1, 100.0])

    assert in_tail(percentile).tolist() == [True, True, True, False, False]


def test_a_logit_is_scaled_in_double_precision() -> None:
    logit = np.array([[0.1, -3.0]], np.float32)

    scaled = scaled_logit(CALIBRATION, logit)

    assert scaled.dtype == np.float64
    assert scaled.tolist() == [[2 * float(np.float32(0.1)) - 1, -7.0]]


def test_a_score_is_the_sigmoid_of_the_scaled_logit() -> None:
    logit = np.array([0.5, 0.5 * (1 + math.log(3)), 0.5 * (1 - math.log(4))])

    np.testing.assert_allclose(calibrated_score(CALIBRATION, logit), [0.5, 0.75, 0.2], rtol=1e-12)


@pytest.mark.parametrize(
    ("actual", "expected", "error"),
    [
        ([0.5, 0.25], [0.5, 0.5], 0.25),  # small values: absolute
        ([60.0, -59.0], [60.0, -60.0], 1 / 60),
        ([59.0, 0.0], [60.0, 0.0], 1 / 60),
        ([], [], 0.0),
        ([math.nan, 1.0], [1.0, 1.0], math.nan),
        ([1.0, 1.0], [math.nan, 1.0], math.nan),
        ([math.inf, 1.0], [1.0, 1.0], math.inf),
    ],
)
def test_parity_is_relative_to_the_largest_value(
    actual: list[float], expected: list[float], error: float
) -> None:
    assert parity_error(np.array(actual), np.array(expected)) == pytest.approx(error, nan_ok=True)


def test_equal_rankings_agree_fully() -> None:
    assert rank_biased_overlap("abcdefghij", "abcdefghij") == pytest.approx(1)
    assert rank_biased_overlap("", "") == 1


def test_rankings_without_a_common_id_do_not_agree() -> None:
    assert rank_biased_overlap("abc", "xyz") == 0
    assert rank_biased_overlap("abc", "") == 0


def test_rank_biased_overlap_by_hand() -> None:
    # Common ids at depths 1, 2, 3: 0, 2, 2. (1 - p) / p is 1.
    expected = 2 / 3 / 8 + (1 / 4 + 2 / 3 / 8)
    assert rank_biased_overlap("abc", "bax", p=0.5) == pytest.approx(expected)


def test_a_swap_on_top_costs_more_than_one_below() -> None:
    base = "abcdefghij"
    assert rank_biased_overlap(base, "bacdefghij") < rank_biased_overlap(base, "abcdefghji") < 1


def test_only_the_depth_of_the_shorter_ranking_counts() -> None:
    assert rank_biased_overlap("ab", "abxyz") == rank_biased_overlap("ab", "ab")
