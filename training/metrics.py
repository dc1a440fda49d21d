"""Accuracy of scores against labels, what a ranking shows, and the geometry of a front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import log_loss

Floats = NDArray[np.floating]
Rows = NDArray[np.int64]


def auc(label: Floats, score: Floats) -> float:
    """Return the probability that a click outscores a skip, ties counting half; NaN if one-sided.

    label (R,) 0 or 1, score (R,) in any unit.
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

    Users whose labels are all alike have none and do not count; NaN if no user counts. Any other
    grouping may stand in for users; ``pairs`` weights by pairs of a click and a skip.
    """
    _, aucs, rows, pairs = auc_by_user(user, label, score)
    if not len(aucs):
        return float("nan")
    return float(np.average(aucs, weights=rows if weight == "rows" else pairs))


def auc_by_user(
    user: Rows, label: Floats, score: Floats
) -> tuple[Rows, NDArray[np.float64], Rows, NDArray[np.float64]]:
    """Return users (G,) that have both labels, their AUC, impressions, and click-skip pairs."""
    rows = _UserRows.of(user, label, score)
    # Mean rank of each run of equal scores of one user, from 1 within the user.
    rank = rows.run_mean(rows.ascending + 1.0)
    clicks = np.bincount(rows.group, rows.label)
    pairs = clicks * (rows.count - clicks)
    wins = np.bincount(rows.group, rows.label * rank) - clicks * (clicks + 1) / 2
    both = pairs > 0
    return rows.user[both], wins[both] / pairs[both], rows.count[both], pairs[both]


def top_k_by_user(
    user: Rows, label: Floats, score: Floats, k: int
) -> tuple[Rows, NDArray[np.float64], NDArray[np.float64]]:
    """Return users (G,) that have both labels, their NDCG@k and Recall@k in [0, 1].

    Each user's own rows are ranked by score, equal scores sharing what their places give. NDCG
    has gain 1 a click and discount 1 / log2(1 + place) (Jarvelin & Kekalainen, TOIS 2002), over
    that of the ideal order; Recall is the share of a user's clicks among their first k rows.
    """
    rows = _UserRows.of(user, label, score)
    place = rows.count[rows.group] - rows.ascending  # from 1 at the top
    first = (place <= k).astype(np.float64)
    clicks = np.bincount(rows.group, rows.label)
    found = np.bincount(rows.group, rows.label * rows.run_mean(first))
    gain = np.bincount(rows.group, rows.label * rows.run_mean(first / np.log2(1 + place)))
    ideal = np.cumsum(1 / np.log2(np.arange(2, k + 2)))
    both = (clicks > 0) & (clicks < rows.count)
    best = ideal[np.minimum(clicks[both].astype(np.int64), k) - 1]
    return rows.user[both], gain[both] / best, found[both] / clicks[both]


@dataclass(frozen=True)
class _UserRows:
    """Rows (R,) sorted by user, then score; a run is the rows of one user with one score.

    user, count (G,): users and their rows; group, ascending (R,): each row's user and its place
    among that user's rows from 0 at the lowest score; run, run_count: each row's run, its sizes.
    """

    user: Rows
    count: Rows
    group: Rows
    ascending: Rows
    label: Floats
    run: Rows
    run_count: Rows

    @classmethod
    def of(cls, user: Rows, label: Floats, score: Floats) -> _UserRows:
        order = np.lexsort((score, user))
        user, label, score = user[order], label[order], score[order]
        new_user = np.r_[True, user[1:] != user[:-1]][: len(user)]
        start = np.flatnonzero(new_user)
        count = np.diff(np.r_[start, len(user)])
        new_run = new_user | np.r_[True, score[1:] != score[:-1]][: len(user)]
        return cls(
            user=user[start],
            count=count,
            group=np.repeat(np.arange(len(start)), count),
            ascending=np.arange(len(user)) - np.repeat(start, count),
            label=label,
            run=np.cumsum(new_run) - 1,
            run_count=np.diff(np.r_[np.flatnonzero(new_run), len(user)]),
        )

    def run_mean(self, values: Floats) -> NDArray[np.float64]:
        """Return values (R,), each the mean over its run."""
        means: NDArray[np.float64] = np.bincount(self.run, values) / self.run_count
        return means[self.run]


def logloss(label: Floats, probability: Floats) -> float:
    """Return the mean negative log likelihood in nats."""
    return float(log_loss(label, probability, labels=[0, 1]))


def expected_calibration_error(label: Floats, probability: Floats, bins: int = 15) -> float:
    """Return the mean over rows of |click rate - mean probability| of a row's bin, in [0, 1].

    label (R,) 0 or 1, probability (R,). Guo et al., ICML 2017, with bins of equal mass as in
    Nguyen & O'Connor, EMNLP 2015, see ``mass_bins``.
    """
    excess = np.bincount(mass_bins(probability, bins), label - probability)
    return float(np.abs(excess).sum() / len(label))


def mass_bins(values: Floats, bins: int) -> Rows:
    """Return each value's bin (R,) in [0, bins): as many rows a bin, equal values together."""
    index: Rows = ((rankdata(values) - 0.5) * bins / len(values)).astype(np.int64)
    return index


def auc_replicates(
    label: Floats, score: Floats, group: Rows, weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the AUC (B,) of B reweightings of the groups; weights (B, G), group (R,) in [0, G).

    With multinomial weights over users this is the bootstrap that keeps a user's rows together.
    A one-sided reweighting gives NaN.
    """
    order = np.argsort(score, kind="stable")
    label, score, group = label[order].astype(np.float64), score[order], group[order]
    last = np.flatnonzero(np.r_[score[1:] != score[:-1], True])  # of each run of ties
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


def percentile_rank(values: Floats) -> NDArray[np.float64]:
    """Return where each value (I,) stands among all, in (0, 100): 50 on average, ties alike."""
    ranks: NDArray[np.float64] = 100 * (rankdata(values) - 0.5) / len(values)
    return ranks


def average_popularity(shown: Rows, popularity: Floats) -> NDArray[np.float64]:
    """Return the mean popularity (U,) of the items ``shown`` (U, K) to each user.

    ``popularity`` (I,) in any unit. Its mean over users is the average recommendation popularity
    (ARP) of Yin et al., VLDB 2012, as named by Abdollahpouri et al., FLAIRS 2019.
    """
    return np.asarray(popularity[shown].mean(axis=1, dtype=np.float64))


def tail_share(shown: Rows, popularity: Floats, tail: float = 0.8) -> NDArray[np.float64]:
    """Return the share (U,) of each user's ``shown`` (U, K) that is among the least popular items.

    The tail are the items with percentile rank up to 100 ``tail`` among ``popularity`` (I,). After
    the average percentage of long-tail items of Abdollahpouri et al., FLAIRS 2019.
    """
    return np.asarray((percentile_rank(popularity) <= 100 * tail)[shown].mean(axis=1))


def coverage(shown: Rows, items: int) -> float:
    """Return the share of ``items`` that anyone is shown, in [0, 1]; shown (U, K)."""
    return len(np.unique(shown)) / items


def gini(amount: Floats | Rows) -> float:
    """Return the Gini coefficient of amounts (I,) >= 0, NaN if all are 0.

    In [0, 1 - 1 / I]: 0 where all are equal, the most where one has everything. From the ordered
    amounts x_1 <= ... <= x_I: sum_i (2 i - I - 1) x_i / (I sum_i x_i).
    """
    count, total = len(amount), amount.sum()
    if not total:
        return float("nan")
    weight = 2 * np.arange(1, count + 1) - count - 1
    return float(weight @ np.sort(amount) / (count * total))


def hypervolume(points: Sequence[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Return the area that ``points`` dominate above ``reference``; both axes are maximised."""
    area, height = 0.0, reference[1]
    for x, y in sorted(points, reverse=True):
        if x > reference[0] and y > height:
            area += (x - reference[0]) * (y - height)
            height = y
    return area
