"""NDCG and recall of the first k rows of each user."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.arrays import Floats, Rows
from training.metrics.user_rows import UserRows


def top_k_by_user(
    user: Rows, label: Floats, score: Floats, k: int
) -> tuple[Rows, NDArray[np.float64], NDArray[np.float64]]:
    """Return the users (G,) with both labels, and their NDCG@k and Recall@k (G,) in [0, 1].

    The score ranks each user's rows; rows of equal score share the mean gain of their places. NDCG
    has gain 1 per click and discount 1 / log2(1 + place), divided by that of the ideal order
    (Jarvelin & Kekalainen, TOIS 2002). Recall is the share of a user's clicks in the first k rows.
    """
    rows = UserRows.of(user, label, score)
    place = rows.count[rows.group] - rows.ascending  # from 1 at the top
    in_top = (place <= k).astype(np.float64)
    clicks = np.bincount(rows.group, rows.label)
    hits = np.bincount(rows.group, rows.label * rows.run_mean(in_top))
    gain = np.bincount(rows.group, rows.label * rows.run_mean(in_top / np.log2(1 + place)))
    ideal = np.cumsum(1 / np.log2(np.arange(2, k + 2)))
    both = (clicks > 0) & (clicks < rows.count)
    best = ideal[np.minimum(clicks[both].astype(np.int64), k) - 1]
    return rows.user[both], gain[both] / best, hits[both] / clicks[both]
