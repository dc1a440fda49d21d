from __future__ import annotations

import numpy as np
import pytest

from tests.anchor_logs import auc_of, draw, task_of
from training.evaluation.anchors.averages import item_and_user, proxy_alone
from training.evaluation.anchors.task import AnchorTask


def proxies(column: np.ndarray) -> dict[str, np.ndarray]:
    """Return columns in which the proxy "age" is ``column``, "style" its sign, all else unknown."""
    unknown = np.full(len(column), np.nan)
    return {"proxies": np.c_[unknown, column, column > 0].astype(np.float32)}


def test_item_rate_and_user_rate_find_a_log_of_which_they_are_the_truth() -> None:
    user, item, rng = draw(12_000, users=60, items=40)
    user_effect, item_effect = rng.normal(size=60), rng.normal(size=40)
    logit = user_effect[user] + item_effect[item]
    task = task_of(logit, user, item)

    both = auc_of(task, item_and_user(task))

    truth = auc_of(task, logit[task.test])
    sides = [auc_of(task, effect[task.test]) for effect in (user_effect[user], item_effect[item])]
    assert both == pytest.approx(truth, abs=0.005)
    assert both > max(sides) + 0.05


def test_they_find_nothing_where_nothing_is() -> None:
    """Rates with the own label would rank training rows well and test rows by noise."""
    user, item, _ = draw(3_000, users=600, items=40)
    task = task_of(np.zeros(3_000), user, item)

    assert auc_of(task, item_and_user(task)) == pytest.approx(0.5, abs=0.06)


@pytest.fixture
def aging() -> AnchorTask:
    """A log where the older item is clicked less; a tenth of the ages is unknown."""
    user, item, rng = draw(4_000, users=30, items=30)
    age = rng.normal(size=4_000)
    known = np.where(rng.random(4_000) < 0.1, np.nan, age)
    return task_of(-2 * age, user, item, **proxies(known))


def test_a_number_ranks_in_the_order_of_the_training_rows(aging: AnchorTask) -> None:
    score = proxy_alone(aging, 1)

    age = aging.dataset.impressions.proxies[aging.test, 1]
    known = ~np.isnan(age)
    np.testing.assert_array_equal(score[known], -age[known])
    assert len(set(score[~known])) == 1
    assert auc_of(aging, score) > 0.75


def test_a_category_ranks_by_its_click_rate(aging: AnchorTask) -> None:
    score = proxy_alone(aging, 2)

    style = aging.dataset.impressions.proxies[aging.test, 2]
    assert set(score[style == 1]) == {score.min()}  # the older half
    assert score[style == 0].min() > 0.7


def test_a_proxy_without_a_known_value_orders_nothing(aging: AnchorTask) -> None:
    assert auc_of(aging, proxy_alone(aging, 0)) == 0.5
