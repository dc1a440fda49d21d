"""Recall of the whole catalogue by loops over users and items, to compare metrics with."""

from __future__ import annotations

import numpy as np

from training.arrays import Floats, Rows
from training.data.dataset import Dataset


def recall_by_hand(
    dataset: Dataset, train: Rows, scores: Floats, rows: Rows, most: float = np.inf
) -> float:
    """Return recall_at_20 of the clicks ``rows`` by ``scores`` (U, I), averaged over users.

    Clicks of the ``train`` rows are not ranked; ``most``: training clicks of a counted item.
    """
    user, item = dataset.impressions.user, dataset.impressions.item
    users, items = scores.shape
    count = np.bincount(item[train], minlength=items)
    recalls = []
    for u in range(users):
        seen = set(item[train][user[train] == u].tolist())
        wanted = set(item[rows][user[rows] == u].tolist()) - seen
        wanted = {i for i in wanted if count[i] <= most}
        if wanted:
            order = [i for i in np.argsort(-scores[u], kind="stable").tolist() if i not in seen]
            recalls.append(len(wanted & set(order[:20])) / len(wanted))
    return float(np.mean(recalls))
