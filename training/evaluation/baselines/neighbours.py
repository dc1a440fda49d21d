"""Rankers that remember and do not learn: popularity, ItemKNN, RP3beta."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from training.arrays import Floats, Rows
from training.metrics.full_ranking import RankingTask, Scores, top_k

_CHUNK_ITEMS = 1024


def popularity(task: RankingTask) -> Scores:
    """Score each item by its training count, for everyone alike."""
    return lambda users: np.tile(task.train_counts.astype(np.float32), (len(users), 1))


def item_knn(
    task: RankingTask, neighbours: int, shrink: float, alpha: float, damping: float
) -> Scores:
    """Score by the summed similarity of an item j to what the user liked, i.

    x_i.x_j / (|x_i|^2alpha |x_j|^(2 - 2alpha) + shrink), of each item i's ``neighbours`` nearest:
    the cosine of Sarwar et al., WWW 2001, at alpha = .5, the asymmetric one of Aiolli, RecSys 2013,
    elsewhere; with the shrinkage of Bell and Koren, ICDM 2007. x_i has d^-damping for each of its
    users, d the number of items that the user liked: who likes hundreds makes no two alike.
    """
    liked = _liked(task)
    weighted = _powered(liked, np.diff(liked.indptr), damping)
    together = (weighted.T @ weighted).tocoo()
    norms = weighted.power(2).sum(axis=0)
    norm = norms[together.row] ** alpha * norms[together.col] ** (1 - alpha)
    similarity = together.data / (norm + shrink)
    similarity[together.row == together.col] = 0.0
    table = csr_array((similarity, (together.row, together.col)), together.shape)
    return _scores(liked, _nearest(table, neighbours))


def rp3beta(task: RankingTask, neighbours: int, alpha: float, beta: float) -> Scores:
    """Score by a random walk of three steps, popular ends demoted (Paudel et al., TiiS 2017).

    P_ui^alpha P_iu^alpha P_ui^alpha / count^beta with P the transition probabilities; of each
    item's row of the last two steps, the ``neighbours`` greatest.
    """
    liked = _liked(task)
    from_user = _powered(liked, np.diff(liked.indptr), alpha)
    from_item = _powered(liked.T.tocsr(), task.train_counts, alpha)
    walk = (from_item @ from_user).tocoo()
    demoted = walk.data / task.train_counts[walk.col].astype(np.float64) ** beta
    demoted[walk.row == walk.col] = 0.0
    table = csr_array((demoted, (walk.row, walk.col)), walk.shape)
    return _scores(from_user, _nearest(table, neighbours))


def _liked(task: RankingTask) -> csr_array:
    return csr_array(task.positives["train"].astype(np.float64))


def _powered(table: csr_array, count: Rows, alpha: float) -> csr_array:
    """Return 1 / count^alpha of each row where ``table`` has ones."""
    data = np.repeat(np.maximum(count, 1).astype(np.float64) ** -alpha, np.diff(table.indptr))
    return csr_array((data, table.indices, table.indptr), table.shape)


def _nearest(similarity: csr_array, count: int) -> csr_array:
    """Keep the ``count`` greatest of each row (I, I), ties by column."""
    items = similarity.shape[0]
    count = min(count, items)
    row, column, data = [], [], []
    for start in range(0, items, _CHUNK_ITEMS):
        dense = similarity[start : start + _CHUNK_ITEMS].toarray()
        top = top_k(dense, count)
        row.append(np.repeat(np.arange(start, start + len(dense)), count))
        column.append(top.ravel())
        data.append(np.take_along_axis(dense, top, axis=1).ravel())
    place = np.concatenate(row), np.concatenate(column)
    kept = csr_array((np.concatenate(data), place), similarity.shape)
    kept.eliminate_zeros()
    return kept


def _scores(users: csr_array, items: csr_array) -> Scores:
    def score(chosen: Rows) -> Floats:
        return np.asarray((users[chosen] @ items).toarray())

    return score
