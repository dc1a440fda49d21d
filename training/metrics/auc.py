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
    label: Floats,
    score: Floats,
    group: Rows,
    weights: NDArray[np.float32],
    stratum: Rows | None = None,
) -> NDArray[np.float64]:
    """Return the AUC (B,) under B weightings of the groups; weights (B, G), group (R,) in [0, G).

    With multinomial weights of users it is the bootstrap over users. With ``stratum`` (R,) a click
    is compared with the skips of its stratum alone, as in ``gauc`` weighted by pairs. NaN where no
    pair has weight.
    """
    stratum = np.zeros(len(label), np.int64) if stratum is None else stratum
    order = np.lexsort((score, stratum))
    label, score, group = label[order].astype(np.float64), score[order], group[order]
    stratum = stratum[order]
    new_stratum = np.r_[True, stratum[1:] != stratum[:-1]]
    new_run = new_stratum | np.r_[True, score[1:] != score[:-1]]  # a run of ties
    run = np.cumsum(new_run) - 1
    start = run[new_stratum]  # first run of each stratum
    runs = np.diff(np.r_[start, run[-1] + 1])
    result = np.empty(len(weights))
    for replicate, weight in enumerate(weights):
        row = weight[group].astype(np.float64)
        skips = np.bincount(run, row * (1 - label))
        clicks = np.bincount(run, row * label)
        skips_of_stratum = np.add.reduceat(skips, start)
        earlier = np.repeat(np.cumsum(skips_of_stratum) - skips_of_stratum, runs)
        below = np.cumsum(skips) - skips / 2 - earlier
        pairs = np.add.reduceat(clicks, start) @ skips_of_stratum
        result[replicate] = (clicks * below).sum() / pairs if pairs else np.nan
    return result
