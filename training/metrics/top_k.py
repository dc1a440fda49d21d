"""NDCG and recall of the first k of each user."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.arrays import Floats, Rows
from training.metrics.user_rows import UserRows


def top_k_by_user(
    user: Rows, label: Floats, score: Floats, k: int
) -> tuple[Rows, NDArray[np.float64], NDArray[np.float64]]:
    """Return users (G,) that have both labels, their NDCG@k and Recall@k in [0, 1].

    Each user's own rows are ranked by score, equal scores sharing what their places give. NDCG
    has gain 1 a click and discount 1 / log2(1 + place) (Jarvelin & Kekalainen, TOIS 2002), over
    that of the ideal order; Recall is the share of a user's clicks among their first k rows.
    """
    rows = UserRows.of(user, label, score)
    place = rows.count[rows.group] - rows.ascending  # from 1 at the top
    first = (place <= k).astype(np.float64)
    clicks = np.bincount(rows.group, rows.label)
    found = np.bincount(rows.group, rows.label * rows.run_mean(first))
    gain = np.bincount(rows.group, rows.label * rows.run_mean(first / np.log2(1 + place)))
    ideal = np.cumsum(1 / np.log2(np.arange(2, k + 2)))
    both = (clicks > 0) & (clicks < rows.count)
    best = ideal[np.minimum(clicks[both].astype(np.int64), k) - 1]
    return rows.user[both], gain[both] / best, found[both] / clicks[both]
