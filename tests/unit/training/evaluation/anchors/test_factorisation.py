from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.anchor_logs import auc_of, draw, task_of
from training.evaluation.anchors.averages import item_and_user
from training.evaluation.anchors.factorisation import matrix_factorisation
from training.evaluation.anchors.task import AnchorTask


@pytest.fixture(scope="module")
def tastes() -> AnchorTask:
    """A log of two tastes: half of the users like what the other half dislikes; rank 1."""
    user, item, _ = draw(20_000, users=200, items=60)
    logit = 1.5 * np.where(user % 2, 1, -1) * np.where(item % 2, 1, -1)
    return task_of(logit, user, item)


def test_factors_find_tastes_that_rates_cannot(tastes: AnchorTask) -> None:
    rates, factors = item_and_user(tastes), matrix_factorisation(tastes, seed=0)

    truth = 1 / (1 + np.exp(-1.5))  # of a pair of a click and a skip, the two states of a cell
    assert auc_of(tastes, rates) == pytest.approx(0.5, abs=0.03)
    assert auc_of(tastes, factors) == pytest.approx(truth, abs=0.02)


def test_equal_seeds_give_equal_scores_and_leave_torchs_generator_alone(
    tastes: AnchorTask,
) -> None:
    before = torch.get_rng_state()

    first, again = (matrix_factorisation(tastes, seed=3) for _ in range(2))

    np.testing.assert_array_equal(first, again)
    assert (torch.get_rng_state() == before).all()


def test_biases_alone_score_users_and_items_without_a_training_row() -> None:
    user, item, rng = draw(6_000, users=40, items=40)
    split = rng.choice(3, 6_000, p=[0.7, 0.1, 0.2])
    split[(user == 7) | (item == 9)] = 2  # known from the test alone
    logit = np.linspace(-2, 2, 40)[item]
    task = task_of(logit, user, item, split=split)

    score = matrix_factorisation(task, seed=0)

    item, user = item[task.test], user[task.test]
    strangers = score[(user == 7) & (item == 9)]
    assert len(set(strangers)) <= 1
    of_stranger = score[user == 7]  # by the items' biases, so one score for an item
    assert len(set(of_stranger)) == len(set(item[user == 7]))
    assert np.corrcoef(of_stranger, item[user == 7])[0, 1] > 0.9
