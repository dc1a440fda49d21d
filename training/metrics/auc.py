"""AUC over all rows, within users, and in bootstrap replicates."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from training.arrays import Floats, Rows
from training.metrics.user_rows import UserRows


def auc(label: Floats, score: Floats) -> float:
    """Return the probability that a click outscores a skip, ties counting half.

    label (R,) 0 or 1, score (R,) in any unit. NaN if all labels are equal.
    """
    clicks = int(label.sum())
    skips = len(label) - clicks
    if not clicks or not skips:
        return float("nan")
    rank = rankdata(score)
    return float((rank[label > 0.5].sum() - clicks * (clicks + 1) / 2) / (clicks * skips))


def gauc(
    user: Rows, label: Floats, score: Floats, weight: Literal["rows", "pairs"] = "rows"
) -> float:
    """Return the mean AUC within users, weighted by their impressions (Zhu et al., KDD 2017).

    A user whose labels are all equal is left out; NaN if no user remains. ``user`` (R,) may be any
    grouping of the rows. ``pairs`` weights a user by its pairs of a click and a skip.
    """
    _, aucs, rows, pairs = auc_by_user(user, label, score)
    if not len(aucs):
        return float("nan")
    return float(np.average(aucs, weights=rows if weight == "rows" else pairs))


def auc_by_user(
    user: Rows, label: Floats, score: Floats
) -> tuple[Rows, NDArray[np.float64], Rows, NDArray[np.float64]]:
    """Return the users (G,) with both labels, their AUC, impressions and click-skip pairs (G,)."""
    rows = UserRows.of(user, label, score)
    # Ranks start at 1 within a user; equal scores of a user share their mean rank.
    rank = rows.run_mean(rows.ascending + 1.0)
    clicks = np.bincount(rows.group, rows.label)
    pairs = clicks * (rows.count - clicks)
    wins = np.bincount(rows.group, rows.label * rank) - clicks * (clicks + 1) / 2
    both = pairs > 0
    return rows.user[both], wins[both] / pairs[both], rows.count[both], pairs[both]


def auc_replicates(
    label: Floats, score: Floats, group: Rows, weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the AUC (B,) under B weightings of the groups; weights (B, G), group (R,) in [0, G).

    With multinomial weights of users it is the bootstrap over users. NaN where one label has no
    weight.
    """
    order = np.argsort(score, kind="stable")
    label, score, group = label[order].astype(np.float64), score[order], group[order]
    last = np.flatnonzero(np.r_[score[1:] != score[:-1], True])  # last row of each run of ties
    run = np.repeat(np.arange(len(last)), np.diff(np.r_[-1, last]))
    result = np.empty(len(weights))
    for replicate, weight in enumerate(weights):
        row = weight[group].astype(np.float64)
        skips = np.bincount(run, row * (1 - label))
        clicks = np.bincount(run, row * label)
        below = np.cumsum(skips) - skips / 2
        pairs = clicks.sum() * skips.sum()
        result[replicate] = (clicks * below).sum() / pairs if pairs else np.nan
    return result
