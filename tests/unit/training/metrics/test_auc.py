from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss, ndcg_score, roc_auc_score

from training.arrays import Floats, Rows
from training.metrics.auc import auc, auc_replicates, gauc
from training.metrics.calibration_error import expected_calibration_error, logloss, mass_bins
from training.metrics.exposure import (
    average_popularity,
    coverage,
    percentile_rank,
    tail_share,
)
from training.metrics.hypervolume import hypervolume
from training.metrics.top_k import top_k_by_user


def pairs_auc(label: Floats, score: Floats) -> float:
    """Every click against every skip, one pair at a time."""
    wins = [
        1.0 if click > skip else 0.5 if click == skip else 0.0
        for click in score[label == 1]
        for skip in score[label == 0]
    ]
    return sum(wins) / len(wins)


@pytest.fixture
def rated() -> tuple[Rows, Floats, Floats]:
    """User, label and score of 400 rows with many ties; users 18 and 19 are one-sided."""
    rng = np.random.default_rng(3)
    user = rng.integers(20, size=400)
    label = rng.integers(2, size=400).astype(np.float32)
    label[user == 18], label[user == 19] = 0.0, 1.0
    score = np.round(rng.normal(size=400) + 0.5 * label, 1).astype(np.float32)
    return user, label, score


def test_auc_by_hand_with_a_tie() -> None:
    label = np.array([1, 0, 1, 0], np.float32)
    score = np.array([3, 2, 2, 1], np.float32)

    assert auc(label, score) == 3.5 / 4  # the clicks win 2 and 1.5 of 2 pairs each


def test_auc_agrees_with_pairs_and_with_scikit_learn(rated: tuple[Rows, Floats, Floats]) -> None:
    _, label, score = rated

    assert auc(label, score) == pytest.approx(pairs_auc(label, score), abs=1e-12)
    assert auc(label, score) == pytest.approx(roc_auc_score(label, score), abs=1e-12)


@pytest.mark.parametrize("label", [[0, 0, 0], [1, 1, 1], []])
def test_auc_of_one_label_is_nan(label: list[float]) -> None:
    assert math.isnan(auc(np.array(label), np.arange(len(label), dtype=np.float64)))


def test_gauc_by_hand_in_both_weightings() -> None:
    user = np.array([7, 7, 7, 7, 7, 2, 2, 5, 5])
    label = np.array([1, 0, 0, 0, 0, 1, 0, 1, 1], np.float32)
    score = np.array([3, 4, 1, 1, 1, 1, 1, 9, 0], np.float32)

    # User 7: AUC 3/4, 5 rows, 4 pairs. User 2: AUC 1/2, 2 rows, 1 pair. User 5 has no skip.
    assert gauc(user, label, score) == pytest.approx((5 * 0.75 + 2 * 0.5) / 7)
    assert gauc(user, label, score, weight="pairs") == pytest.approx((4 * 0.75 + 0.5) / 5)


@pytest.mark.parametrize("weight", ["rows", "pairs"])
def test_gauc_agrees_with_scikit_learn_user_by_user(
    rated: tuple[Rows, Floats, Floats], weight: str
) -> None:
    user, label, score = rated
    aucs, weights = [], []
    for one in np.unique(user):
        mine = user == one
        if len(np.unique(label[mine])) == 2:
            aucs.append(roc_auc_score(label[mine], score[mine]))
            clicks = int(label[mine].sum())
            rows = int(mine.sum())
            weights.append(rows if weight == "rows" else clicks * (rows - clicks))

    assert len(aucs) == 18
    measured = gauc(user, label, score, "rows" if weight == "rows" else "pairs")
    assert measured == pytest.approx(np.average(aucs, weights=weights), abs=1e-12)


def test_equal_scores_of_two_users_are_no_tie() -> None:
    user, label = np.array([1, 1, 2, 2, 2]), np.array([1.0, 0.0, 1.0, 0.0, 0.0])
    score = np.array([2.0, 1.0, 2.0, 3.0, 4.0])

    assert gauc(user, label, score) == pytest.approx(2 / 5)  # AUC 1 of two rows, 0 of three


def test_gauc_is_nan_where_no_user_has_both_labels() -> None:
    assert math.isnan(gauc(np.array([0, 0, 1]), np.array([1.0, 1.0, 0.0]), np.arange(3.0)))


def test_ndcg_and_recall_by_hand() -> None:
    user = np.array([7, 7, 7, 7, 2, 2, 5, 5, 9])
    label = np.array([1, 0, 1, 1, 0, 1, 1, 1, 0], np.float32)
    score = np.array([4, 3, 2, 1, 2, 1, 9, 0, 1], np.float32)

    users, ndcg, recall = top_k_by_user(user, label, score, 2)

    # User 7 has a click at place 1 of 2, of 3 clicks; user 2 one at place 2. 5 and 9: one label.
    assert users.tolist() == [2, 7]
    second = 1 / math.log2(3)
    assert ndcg == pytest.approx([second, 1 / (1 + second)])
    assert recall == pytest.approx([1.0, 1 / 3])


def test_equal_scores_share_their_places() -> None:
    label, score = np.array([1.0, 0.0, 0.0, 1.0]), np.array([5.0, 1.0, 1.0, 1.0])

    _, ndcg, recall = top_k_by_user(np.zeros(4, np.int64), label, score, 3)

    # The second click holds places 2, 3 and 4, a third of the time each.
    second, third = 1 / math.log2(3), 1 / 2
    assert ndcg == pytest.approx([(1 + (second + third) / 3) / (1 + second)])
    assert recall == pytest.approx([(1 + 2 / 3) / 2])


@pytest.mark.parametrize("k", [1, 3, 10, 50])
def test_ndcg_agrees_with_scikit_learn_user_by_user(
    rated: tuple[Rows, Floats, Floats], k: int
) -> None:
    user, label, score = rated

    users, ndcg, _ = top_k_by_user(user, label, score, k)

    assert users.tolist() == list(range(18))
    expected = [ndcg_score([label[user == one]], [score[user == one]], k=k) for one in users]
    assert ndcg == pytest.approx(expected, abs=1e-12)


def test_no_user_with_both_labels_has_no_top() -> None:
    for label in (np.array([1.0, 1.0, 0.0]), np.empty(0)):
        rows = np.arange(len(label), dtype=np.float64)
        found = top_k_by_user(np.array([0, 0, 1])[: len(label)], label, rows, 10)
        assert [len(values) for values in found] == [0, 0, 0]


def test_calibration_error_by_hand() -> None:
    label = np.array([0, 1, 0, 0, 1, 1], np.float32)
    probability = np.array([0.1, 0.2, 0.3, 0.6, 0.8, 0.9])

    # Bins of three: clicks 1/3 against a mean of .2, 2/3 against 2.3/3.
    by_hand = (abs(1 - 0.6) + abs(2 - 2.3)) / 6
    assert expected_calibration_error(label, probability, 2) == pytest.approx(by_hand)
    assert expected_calibration_error(label[::-1], probability[::-1], 2) == pytest.approx(by_hand)
    assert expected_calibration_error(label, probability, 1) == pytest.approx(0.1 / 6)


def test_what_is_calibrated_has_no_calibration_error() -> None:
    label, probability = np.array([1.0, 0.0, 0.0, 0.0] * 100), np.full(400, 0.25)

    assert expected_calibration_error(label, probability) == pytest.approx(0.0, abs=1e-12)
    assert expected_calibration_error(1 - label, probability) == pytest.approx(0.5)


def test_bins_hold_as_many_rows_each_and_equal_values_together() -> None:
    rng = np.random.default_rng(0)

    assert np.bincount(mass_bins(rng.lognormal(size=150), 15)).tolist() == [10] * 15
    assert mass_bins(np.array([9.0, 1.0, 1.0, 1.0, 8.0, 7.0]), 3).tolist() == [2, 0, 0, 0, 2, 1]


def test_percentile_rank_by_hand() -> None:
    assert percentile_rank(np.array([30.0, 10.0, 20.0, 20.0])).tolist() == [87.5, 12.5, 50.0, 50.0]


def test_what_is_shown_by_hand() -> None:
    popularity = np.array([100.0, 5.0, 40.0, 0.0, 7.0])
    shown = np.array([[0, 2], [0, 4], [4, 2]])

    assert average_popularity(shown, popularity).tolist() == [70.0, 53.5, 23.5]
    # Percentile ranks are 90, 30, 70, 10, 50: the tail is all but item 0.
    assert tail_share(shown, popularity).tolist() == [0.5, 0.5, 1.0]
    assert coverage(shown, 5) == 3 / 5


def test_items_of_one_popularity_are_in_the_tail_together() -> None:
    popularity = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0])

    # Seven zeros rank 35 on average, the others 85.
    assert tail_share(np.arange(10)[:, None], popularity).tolist() == [1.0] * 7 + [0.0] * 3


def test_logloss_is_in_nats() -> None:
    label, probability = np.array([1.0, 0.0, 1.0]), np.array([0.5, 0.25, 0.9])

    by_hand = -(math.log(0.5) + math.log(0.75) + math.log(0.9)) / 3
    assert logloss(label, probability) == pytest.approx(by_hand, rel=1e-12)
    assert logloss(label, probability) == pytest.approx(log_loss(label, probability))


def test_logloss_of_one_label_is_defined() -> None:
    assert logloss(np.ones(2), np.array([0.5, 0.25])) == pytest.approx(math.log(8) / 2)


def test_replicates_of_unit_weight_are_the_auc(rated: tuple[Rows, Floats, Floats]) -> None:
    user, label, score = rated

    replicates = auc_replicates(label, score, user, np.ones((2, 20), np.float32))

    assert replicates == pytest.approx([auc(label, score)] * 2, abs=1e-12)


def test_integer_weights_repeat_the_rows_of_a_group(rated: tuple[Rows, Floats, Floats]) -> None:
    user, label, score = rated
    weights = np.random.default_rng(0).integers(4, size=(3, 20)).astype(np.float32)

    replicates = auc_replicates(label, score, user, weights)

    for weight, replicate in zip(weights, replicates, strict=True):
        times = weight[user].astype(int)
        repeated = roc_auc_score(np.repeat(label, times), np.repeat(score, times))
        assert replicate == pytest.approx(repeated, abs=1e-12)
    assert len(np.unique(replicates)) == 3


def test_a_replicate_without_clicks_is_nan() -> None:
    label, score = np.array([1.0, 0.0, 0.0]), np.arange(3.0)

    replicates = auc_replicates(
        label, score, np.array([0, 1, 1]), np.array([[0, 2], [1, 1]], np.float32)
    )

    assert math.isnan(replicates[0])
    assert replicates[1] == 0.0


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([(0.7, 0.8)], 0.2 * 0.3),
        ([(0.7, 0.6), (0.6, 0.8)], 0.2 * 0.1 + 0.1 * 0.2),
        ([(0.6, 0.8), (0.65, 0.7), (0.7, 0.6)], 0.2 * 0.1 + 0.15 * 0.1 + 0.1 * 0.1),
        ([(0.7, 0.8), (0.6, 0.7), (0.7, 0.6), (0.7, 0.8)], 0.06),  # dominated, equal
        ([(0.7, 0.8), (0.9, 0.4), (0.4, 0.9)], 0.06),  # below the reference on one axis
        ([(0.5, 0.9), (0.9, 0.5)], 0.0),  # on the reference
        ([], 0.0),
    ],
)
def test_hypervolume_by_hand(points: list[tuple[float, float]], area: float) -> None:
    assert hypervolume(points, (0.5, 0.5)) == pytest.approx(area, abs=1e-12)
    assert hypervolume(points[::-1], (0.5, 0.5)) == pytest.approx(area, abs=1e-12)


def test_the_reference_has_two_sides() -> None:
    assert hypervolume([(0.7, 0.8)], (0.6, 0.2)) == pytest.approx(0.1 * 0.6)
