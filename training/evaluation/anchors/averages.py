"""Anchors that average: the rates of item and user, and one proxy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from training.arrays import Floats, Rows
from training.evaluation.anchors.rates import Rates
from training.evaluation.anchors.task import AnchorTask
from training.metrics.auc import auc


def item_and_user(task: AnchorTask) -> Floats:
    """Score test rows (R,) by a logistic regression on the logits of item rate and user rate.

    It is fitted to leave-one-out rates.
    """
    impressions, train = task.dataset.impressions, task.train
    label = impressions.label[train]
    sides = (task.items, impressions.item), (task.users, impressions.user)
    known = [rates.leave_one_out(key[train], label) for rates, key in sides]
    model = LogisticRegression().fit(logit(np.column_stack(known)), label)
    tested = [rates.known(key[task.test]) for rates, key in sides]
    return np.asarray(model.decision_function(logit(np.column_stack(tested))))


def proxy_alone(task: AnchorTask, index: int) -> Floats:
    """Score test rows (R,) by one proxy: a category by its click rate, a number by its value.

    Numbers descend if that orders the training rows better. Unknown ones have the training mean.
    """
    impressions, proxy = task.dataset.impressions, task.dataset.proxy_fields[index]
    value: Floats = impressions.proxies[:, index]
    train, test = value[task.train], value[task.test]
    label = impressions.label[task.train]
    if proxy.kind == "categorical":
        unknown = len(proxy.categories)
        rows = np.arange(len(train))
        return Rates.of(_codes(train, unknown), label, rows, unknown + 1).known(
            _codes(test, unknown)
        )
    known = ~np.isnan(train)
    if not known.any():
        return np.zeros(len(test))
    ascending = not auc(label[known], train[known]) < 0.5
    filled = np.nan_to_num(test, nan=float(train[known].mean(dtype=np.float64)))
    return filled if ascending else -filled


def _codes(values: Floats, unknown: int) -> Rows:
    codes: NDArray[np.int64] = np.nan_to_num(values, nan=unknown).astype(np.int64)
    return codes
