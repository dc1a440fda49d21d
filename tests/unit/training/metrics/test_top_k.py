from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from training.arrays import Floats, Rows
from training.metrics.top_k import top_k_by_user


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
        columns = top_k_by_user(np.array([0, 0, 1])[: len(label)], label, rows, 10)
        assert [len(values) for values in columns] == [0, 0, 0]
