from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from training.arrays import Floats, Rows
from training.metrics.auc import auc, auc_replicates, gauc


def pairs_auc(label: Floats, score: Floats) -> float:
    """Every click against every skip, one pair at a time."""
    wins = [
        1.0 if click > skip else 0.5 if click == skip else 0.0
        for click in score[label == 1]
        for skip in score[label == 0]
    ]
    return sum(wins) / len(wins)


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


def test_replicates_compare_within_strata(rated: tuple[Rows, Floats, Floats]) -> None:
    user, label, score = rated
    stratum = np.arange(len(label)) % 7

    replicates = auc_replicates(label, score, user, np.ones((1, 20), np.float32), stratum)

    pairs, wins = 0, 0.0
    for s in range(7):
        click = score[(stratum == s) & (label > 0)][:, None]
        skip = score[(stratum == s) & (label == 0)][None]
        pairs += click.size * skip.size
        wins += (click > skip).sum() + (click == skip).sum() / 2
    assert replicates == pytest.approx([wins / pairs])
    assert abs(wins / pairs - auc(label, score)) > 1e-3


def test_a_replicate_without_clicks_is_nan() -> None:
    label, score = np.array([1.0, 0.0, 0.0]), np.arange(3.0)

    replicates = auc_replicates(
        label, score, np.array([0, 1, 1]), np.array([[0, 2], [1, 1]], np.float32)
    )

    assert math.isnan(replicates[0])
    assert replicates[1] == 0.0
