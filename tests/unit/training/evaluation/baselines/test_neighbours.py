"""Rankers that remember, by hand and against dense products."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from training.evaluation.baselines.neighbours import item_knn, popularity, rp3beta
from training.metrics.full_ranking import RankingTask

LIKED = np.array(
    [
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 1, 0, 1, 0],
        [0, 0, 0, 0, 0],
    ],
    np.bool_,
)  # item 4 is cold, user 3 has liked nothing


@pytest.fixture
def task() -> RankingTask:
    none = csr_array(np.zeros_like(LIKED))
    positives = {"train": csr_array(LIKED), "validation": none, "test": none}
    return RankingTask(*LIKED.shape, positives, LIKED.sum(axis=0))  # type: ignore[call-arg]  # a shape has two sizes


def test_popularity_scores_all_alike(task: RankingTask) -> None:
    assert popularity(task)(np.array([3, 0])).tolist() == [[2, 3, 1, 1, 0]] * 2


def test_knn_by_hand(task: RankingTask) -> None:
    """Users of items 0 and 1 together: 2 of 2 and 3, so a cosine of 2 / sqrt(6)."""
    scores = item_knn(task, neighbours=5, shrink=1.0, alpha=0.5, damping=0.0)(np.array([2, 3]))

    near_1 = np.array([2 / (6**0.5 + 1), 0, 1 / (3**0.5 + 1), 1 / (3**0.5 + 1), 0])
    near_3 = np.array([0, 1 / (3**0.5 + 1), 0, 0, 0])
    assert scores[0] == pytest.approx(near_1 + near_3)
    assert not scores[1].any()


def test_knn_keeps_the_nearest(task: RankingTask) -> None:
    """Of item 1 only item 0 stays, the one it shares two users with."""
    scores = item_knn(task, neighbours=1, shrink=0.0, alpha=0.5, damping=0.0)(np.array([2]))
    assert scores[0] == pytest.approx([2 / 6**0.5, 1 / 3**0.5, 0, 0, 0])


def test_knn_away_from_the_cosine(task: RankingTask) -> None:
    """At alpha = 1 by the liked item's count alone; a user of d items counts 1 / d^2."""
    near = item_knn(task, neighbours=5, shrink=0.0, alpha=1.0, damping=1.0)(np.array([2]))[0]
    together = np.array([1 / 4 + 1 / 9, 0, 1 / 9, 1 / 4, 0])
    assert near == pytest.approx(together / (1 / 4 + 1 / 9 + 1 / 4) + np.array([0, 1, 0, 0, 0]))


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.7, 0.4)])
def test_rp3beta_is_the_walk(task: RankingTask, alpha: float, beta: float) -> None:
    liked = LIKED.astype(np.float64)

    def transition(table: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((table / np.maximum(table.sum(axis=1, keepdims=True), 1)) ** alpha)

    walk = transition(liked.T) @ transition(liked) / np.maximum(LIKED.sum(axis=0), 1) ** beta
    np.fill_diagonal(walk, 0)
    expected = transition(liked) @ walk
    assert rp3beta(task, neighbours=5, alpha=alpha, beta=beta)(np.arange(4)) == pytest.approx(
        expected
    )
