"""LightGBM, an optional dependency: skipped where it is not installed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from service.contract.attributes import Coding
from tests.anchor_logs import auc_of, draw, task_of
from training.evaluation.anchors.averages import item_and_user
from training.evaluation.anchors.trees import boosted_trees, is_installed

pytestmark = pytest.mark.skipif(not is_installed(), reason="LightGBM is not installed")


def test_trees_find_what_no_sum_of_rates_holds() -> None:
    user, item, rng = draw(12_000, users=60, items=40)
    age, style = rng.normal(size=12_000), rng.integers(2, size=12_000)
    logit = 2.0 * np.where(age > 0, 1, -1) * np.where(style, 1, -1)
    columns = np.c_[np.full(12_000, np.nan), age, style].astype(np.float32)
    task = task_of(logit, user, item, proxies=columns)

    assert auc_of(task, item_and_user(task)) < 0.55
    truth = 1 / (1 + np.exp(-2.0))
    assert auc_of(task, boosted_trees(task, seed=0)) == pytest.approx(truth, abs=0.02)


def test_trees_read_no_label_from_the_rates() -> None:
    """Leave-one-out rates of pure noise fit the training rows and lose the item effects."""
    user, item, rng = draw(12_000, users=400, items=40)
    logit = rng.normal(size=40)[item]
    task = task_of(logit, user, item)

    truth = auc_of(task, logit[task.test])
    assert auc_of(task, boosted_trees(task, seed=0)) == pytest.approx(truth, abs=0.015)


def test_trees_see_each_attribute_of_an_item() -> None:
    """Eight principal components of loud content leave no room for a genre."""
    user, item, rng = draw(12_000, users=60, items=400)
    genre = np.eye(2, dtype=np.float32)[rng.integers(2, size=400)]
    age = rng.normal(size=12_000)
    logit = 2.0 * np.where(age > 0, 1, -1) * np.where(genre[item, 0], 1, -1)
    columns = np.c_[np.full(12_000, np.nan), age, np.zeros(12_000)].astype(np.float32)
    task = task_of(logit, user, item, proxies=columns)
    dataset = replace(
        task.dataset,
        embedding=np.c_[10 * rng.normal(size=(400, 20)).astype(np.float32), genre],
        modality_mask=np.ones((400, 2), np.bool_),
        item_codings=(Coding(name="genre", categories=("jazz", "rock")),),
    )

    truth = 1 / (1 + np.exp(-2.0))
    reached = auc_of(task, boosted_trees(replace(task, dataset=dataset), seed=0))
    assert reached == pytest.approx(truth, abs=0.02)
