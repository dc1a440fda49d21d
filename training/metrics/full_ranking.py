"""Metrics of rankings of the whole catalogue, by the held-out positives of each user.

The protocol is that of LightGCN and of multimedia recommenders after it (MMSSL, Wei et al., WWW
2023; DiffMM, Jiang et al., ACM MM 2024): a ranking leaves out the user's training positives, and no
other item. In a test, validation positives stay in the ranking, so that figures compare with
published ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.sparse import csr_array

from service.contract.front import Estimate
from training.arrays import Flags, Floats, Rows
from training.data.dataset import Dataset
from training.data.impressions import SPLITS
from training.data.split import Split
from training.errors import TrainingError
from training.metrics.estimates import bootstrapped, redrawn_means

TOP = 20
RECALL, TAIL_RECALL = f"recall_at_{TOP}", f"ood_recall_at_{TOP}"
MATCHED_RANKS = 100
REPLICATES = 200
_PAIRS = 4_000_000  # pairs of user and item scored at a time

Scores = Callable[[Rows], Floats]  # users (B,) -> scores (B, I)
HeldOut = Literal["validation", "test"]


@dataclass(frozen=True)
class RankingTask:
    """The positives (U, I) of each split, and the number of training positives of each item.

    A held-out positive that is also a training positive is left out: rankings do not contain it.
    """

    users: int
    items: int
    positives: dict[str, csr_array]
    train_counts: Rows  # (I,)

    @classmethod
    def of(cls, dataset: Dataset, split: Split) -> RankingTask:
        """Return the clicked pairs of user and item of each split; a repeated pair counts once."""
        users, items = len(dataset.user_ids), len(dataset.item_ids)
        impressions = dataset.impressions
        train_pairs = np.empty(0, np.int64)
        positives = {}
        for name in SPLITS:
            rows = getattr(split, name)
            rows = rows[impressions.label[rows] > 0]
            pairs = np.unique(impressions.user[rows] * items + impressions.item[rows])
            pairs = pairs[~np.isin(pairs, train_pairs)]
            if name == "train":
                train_pairs = pairs
            cells = pairs // items, pairs % items
            positives[name] = csr_array((np.ones(len(pairs), np.bool_), cells), (users, items))
        counts = np.bincount(positives["train"].indices, minlength=items)
        return cls(users, items, positives, counts)

    def ranked_users(self, split_name: HeldOut) -> Rows:
        """Return the users (U',), ascending, with a positive in a split."""
        return np.flatnonzero(np.diff(self.positives[split_name].indptr))

    def tail_items(self, split_name: HeldOut) -> Flags:
        """Return a mask (I,) of the items with at most the median training count of positives.

        The median is over a split's positives, not over items: the tail holds about half of them.
        """
        counts = self.train_counts
        return np.asarray(counts <= np.median(counts[self.positives[split_name].indices]))


def full_ranking_metrics(
    task: RankingTask, score: Scores, split_name: HeldOut, seed: int = 0
) -> dict[str, Estimate]:
    """Return the means over users of ``full_ranking_by_user``, with errors by bootstrap over users.

    A metric that is undefined for all users is left out. Equal seeds redraw the same users.
    """
    return mean_over_users(full_ranking_by_user(task, score, split_name), seed)


def full_ranking_by_user(
    task: RankingTask, score: Scores, split_name: HeldOut
) -> dict[str, Floats]:
    """Return metrics (U',) by name, one value for each of ``task.ranked_users``.

    ``score`` ranks all items but the user's training positives; ties go by item row. A value is NaN
    where it is undefined.

    - recall_at_20: share of the user's positives among the first 20.
    - ndcg_at_20: gain 1, discount 1 / log2(1 + place), over the ideal order of min(positives, 20)
      (Jarvelin & Kekalainen, TOIS 2002).
    - ndcg_at_20_hit: the same gain over the ideal order of the hits alone, as in the code of NGCF
      (Wang et al., SIGIR 2019); at least ndcg_at_20, and equal to it for a single positive.
    - ood_recall_at_20: recall of the positives of ``task.tail_items``.
    - cold_recall_at_20: recall of the positives on items without a training positive.
    - matched_auc: mean over the positives of the probability that one outscores a negative within
      100 ranks of its popularity, ties counting half; near .5 for a ranking by popularity alone.
    - arp: mean training count of the first 20.

    Raises TrainingError for scores that are not finite.
    """
    chunks = [
        _chunk_values(task, users, scores, split_name)
        for users, scores in _scored(task, score, task.ranked_users(split_name))
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def mean_recall(task: RankingTask, score: Scores, split_name: HeldOut) -> float:
    """Return the mean of recall_at_20 over users, by which validation selects."""
    recalls = []
    for users, scores in _scored(task, score, task.ranked_users(split_name)):
        is_positive = task.positives[split_name][users].toarray()
        hit = np.take_along_axis(is_positive, top_k(scores, min(TOP, task.items)), axis=1)
        recalls.append(hit.sum(axis=1) / is_positive.sum(axis=1))
    return float(np.concatenate(recalls).mean())


def mean_over_users(values: dict[str, Floats], seed: int = 0) -> dict[str, Estimate]:
    """Return the mean of each of ``values`` (U',) over the users where it is defined.

    Errors are by bootstrap over users; all metrics share the redraws.
    """
    users = len(next(iter(values.values())))
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(users, np.full(users, 1 / users), REPLICATES)
    metrics = {}
    for name, value in values.items():
        defined = ~np.isnan(value)
        if not defined.any():
            continue
        metrics[name] = bootstrapped(float(value[defined].mean()), redrawn_means(value, draws))
    return metrics


def _scored(task: RankingTask, score: Scores, users: Rows) -> Iterator[tuple[Rows, Floats]]:
    """Yield ``users`` in chunks (B,), with their scores (B, I): -inf for training positives."""
    size = max(_PAIRS // task.items, 1)
    for start in range(0, len(users), size):
        chunk = users[start : start + size]
        scores = np.array(score(chunk))
        if not np.isfinite(scores).all():
            raise TrainingError("a score is NaN or infinite; lower the learning rate")
        scores[task.positives["train"][chunk].toarray()] = -np.inf
        yield chunk, scores


def _chunk_values(
    task: RankingTask, users: Rows, scores: Floats, split_name: HeldOut
) -> dict[str, Floats]:
    positives = task.positives[split_name][users]  # (B, I)
    is_positive = positives.toarray()
    top = top_k(scores, min(TOP, task.items))  # (B, K)
    row = np.arange(len(users))[:, None]
    hit = is_positive[row, top]
    discount = 1 / np.log2(np.arange(2, top.shape[1] + 2))
    ideal = np.r_[0.0, np.cumsum(discount)]  # greatest gain, by the number of hits
    gain = hit @ discount
    hits, total = hit.sum(axis=1), is_positive.sum(axis=1)
    counts = task.train_counts
    ranked = np.isfinite(scores[row, top])  # a user may have fewer items left than places
    return {
        f"recall_at_{TOP}": hits / total,
        f"ndcg_at_{TOP}": gain / ideal[np.minimum(total, top.shape[1])],
        f"ndcg_at_{TOP}_hit": gain / np.where(hits > 0, ideal[hits], 1.0),
        f"ood_recall_at_{TOP}": _recall_of(task.tail_items(split_name), top, hit, is_positive),
        f"cold_recall_at_{TOP}": _recall_of(counts == 0, top, hit, is_positive),
        "matched_auc": _matched_auc(counts, scores, positives, is_positive),
        "arp": _ratio((counts[top] * ranked).sum(axis=1), ranked.sum(axis=1)),
    }


def top_k(scores: Floats, k: int) -> Rows:
    """Return the columns of the k greatest of ``scores`` (B, I), best first, ties by column."""
    columns = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
    lowest = np.take_along_axis(scores, columns, axis=1).min(axis=1, keepdims=True)
    tied = (scores >= lowest).sum(axis=1) > k  # argpartition breaks a tie for the last place freely
    columns[tied] = np.argsort(-scores[tied], axis=1, kind="stable")[:, :k]
    columns.sort(axis=1)
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _recall_of(items: Flags, top: Rows, hit: Flags, is_positive: Flags) -> Floats:
    """Return the share (B,) of hits among the positives in the set ``items`` (I,)."""
    return _ratio((hit & items[top]).sum(axis=1), (is_positive & items).sum(axis=1))


def _matched_auc(counts: Rows, scores: Floats, positives: csr_array, is_positive: Flags) -> Floats:
    """Return the matched AUC (B,) of scores (B, I); counts (I,), positives (B, I) in both forms."""
    by_count = np.argsort(counts, kind="stable")
    rank = np.empty_like(by_count)
    rank[by_count] = np.arange(len(counts))
    row, item = positives.nonzero()
    ranks = rank[item][:, None] + np.arange(-MATCHED_RANKS, MATCHED_RANKS + 1)  # (positives, W)
    inside = (ranks >= 0) & (ranks < len(counts))
    negatives = by_count[np.where(inside, ranks, 0)]
    score = scores[row[:, None], negatives]
    valid = inside & np.isfinite(score) & ~is_positive[row[:, None], negatives]
    target = scores[row, item][:, None]
    wins = np.where(valid, (target > score) + 0.5 * (target == score), 0.0).sum(axis=1)
    auc = _ratio(wins, valid.sum(axis=1))
    defined = ~np.isnan(auc)
    total = np.bincount(row[defined], auc[defined], len(scores))
    return _ratio(total, np.bincount(row[defined], minlength=len(scores)))


def _ratio(numerator: Floats | Rows, denominator: Floats | Rows) -> Floats:
    """Return numerator / denominator, NaN where the denominator is 0."""
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), np.nan)
