"""Rankers without training: popularity, ItemKNN, RP3beta."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from training.arrays import Floats, Rows
from training.metrics.full_ranking import RankingTask, Scores, top_k

_CHUNK_ITEMS = 1024


def popularity(task: RankingTask) -> Scores:
    """Score each item by its training count, equally for all users."""
    return lambda users: np.tile(task.train_counts.astype(np.float32), (len(users), 1))


def item_knn(
    task: RankingTask, neighbours: int, shrink: float, alpha: float, damping: float
) -> Scores:
    """Score item j by its summed similarity to the user's training positives i.

    The similarity is x_i.x_j / (|x_i|^2alpha |x_j|^(2 - 2alpha) + shrink) for the ``neighbours``
    items j most similar to i, 0 for others. At alpha = .5 it is the cosine of Sarwar et al., WWW
    2001, elsewhere the asymmetric cosine of Aiolli, RecSys 2013; shrinkage after Bell and Koren,
    ICDM 2007. x_i holds d^-damping for each user of item i, d the user's number of positives: a
    user with hundreds of positives is weak evidence that two of them are alike.
    """
    liked = _liked(task)
    weighted = _powered(liked, np.diff(liked.indptr), damping)
    cooccurrence = (weighted.T @ weighted).tocoo()
    norms = weighted.power(2).sum(axis=0)
    norm = norms[cooccurrence.row] ** alpha * norms[cooccurrence.col] ** (1 - alpha)
    similarity = cooccurrence.data / (norm + shrink)
    similarity[cooccurrence.row == cooccurrence.col] = 0.0
    table = csr_array((similarity, (cooccurrence.row, cooccurrence.col)), cooccurrence.shape)
    return _scores(liked, _nearest(table, neighbours))


def rp3beta(task: RankingTask, neighbours: int, alpha: float, beta: float) -> Scores:
    """Score by a random walk of three steps, divided by popularity (Paudel et al., TiiS 2017).

    The score is P_ui^alpha P_iu^alpha P_ui^alpha / count^beta with P the transition probabilities
    and count the training count of the last item. In the product of the last two steps, each item's
    row keeps its ``neighbours`` greatest entries.
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
    """Return ``table`` with the entries of each row replaced by 1 / count^alpha; count (rows,)."""
    data = np.repeat(np.maximum(count, 1).astype(np.float64) ** -alpha, np.diff(table.indptr))
    return csr_array((data, table.indices, table.indptr), table.shape)


def _nearest(similarity: csr_array, count: int) -> csr_array:
    """Return the table (I, I) with the ``count`` greatest entries of each row, ties by column."""
    items = similarity.shape[0]
    count = min(count, items)
    row, column, data = [], [], []
    for start in range(0, items, _CHUNK_ITEMS):
        dense = similarity[start : start + _CHUNK_ITEMS].toarray()
        top = top_k(dense, count)
        row.append(np.repeat(np.arange(start, start + len(dense)), count))
        column.append(top.ravel())
        data.append(np.take_along_axis(dense, top, axis=1).ravel())
    cells = np.concatenate(row), np.concatenate(column)
    nearest = csr_array((np.concatenate(data), cells), similarity.shape)
    nearest.eliminate_zeros()
    return nearest


def _scores(users: csr_array, items: csr_array) -> Scores:
    def score(rows: Rows) -> Floats:
        return np.asarray((users[rows] @ items).toarray())

    return score
