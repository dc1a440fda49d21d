"""Logs with a known truth, for anchors."""

from __future__ import annotations

from typing import Any

import numpy as np

from service.contract.manifest import Proxy
from tests.datasets import make_dataset
from training.arrays import Floats, Rows
from training.data.split import split_rows
from training.evaluation.anchors.task import AnchorTask
from training.metrics.auc import auc

LATENT = Proxy(name="latent")


def draw(rows: int, users: int, items: int) -> tuple[Rows, Rows, np.random.Generator]:
    """Return users (R,), items (R,) and the generator of the rest of a log."""
    rng = np.random.default_rng(5)
    return rng.integers(users, size=rows), rng.integers(items, size=rows), rng


def task_of(logit: Floats, user: Rows, item: Rows, **columns: Any) -> AnchorTask:
    """Return the task of a log in which ``logit`` (R,) is the truth of a click."""
    rng = np.random.default_rng(6)
    dataset = make_dataset(
        rows=len(user),
        users=int(user.max()) + 1,
        items=int(item.max()) + 1,
        user=user,
        item=item,
        label=(rng.random(len(user)) < 1 / (1 + np.exp(-logit))).astype(np.float32),
        uniform=np.zeros(len(user), np.bool_),
        **columns,
    )
    return AnchorTask.of(dataset, split_rows(dataset, validation=0.1, test=0.2, seed=0), seed=0)


def auc_of(task: AnchorTask, score: Floats) -> float:
    """Return the AUC of scores of the test rows."""
    return auc(task.dataset.impressions.label[task.test], score)
