"""Ranking the whole catalogue for each user: what the held-out positives of a split tell of it.

The protocol is that of the multimedia line (MMSSL, Wei et al., WWW 2023; DiffMM, Jiang et al., ACM
MM 2024) and of LightGCN before it: a user's training positives are taken out of the ranking, and
those alone. Validation positives stay in while testing, so that figures compare with published
ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.sparse import csr_array

from service.contract.manifest import Estimate
from training.arrays import Flags, Floats, Rows
from training.data.dataset import Dataset
from training.data.impressions import SPLITS
from training.data.split import Split
from training.errors import TrainingError
from training.metrics.estimates import bootstrapped

TOP = 20
AXIS, TAIL_AXIS = f"recall_at_{TOP}", f"ood_recall_at_{TOP}"
MATCHED_RANKS = 100
REPLICATES = 200
_PAIRS = 4_000_000  # of user and item scored at a time

Scores = Callable[[Rows], Floats]  # users (B,) -> scores (B, I)
HeldOut = Literal["validation", "test"]


@dataclass(frozen=True)
class RankingTask:
    """Who liked what: ``positives`` of each split, (U, I) True, and training positives an item.

    A held-out positive that is a training positive too is left out: it can not be ranked.
    """

    users: int
    items: int
    positives: dict[str, csr_array]
    train_counts: Rows  # (I,)

    @classmethod
    def of(cls, dataset: Dataset, split: Split) -> RankingTask:
        """Take the clicked rows of each split; repeated ones count once."""
        users, items = len(dataset.user_ids), len(dataset.item_ids)
        impressions = dataset.impressions
        trained = np.empty(0, np.int64)
        positives = {}
        for name in SPLITS:
            rows = getattr(split, name)
            rows = rows[impressions.label[rows] > 0]
            pair = np.unique(impressions.user[rows] * items + impressions.item[rows])
            pair = pair[~np.isin(pair, trained)]
            if name == "train":
                trained = pair
            place = pair // items, pair % items
            positives[name] = csr_array((np.ones(len(pair), np.bool_), place), (users, items))
        counts = np.bincount(positives["train"].indices, minlength=items)
        return cls(users, items, positives, counts)

    def ranked_users(self, split_name: HeldOut) -> Rows:
        """Return the users (U',), ascending, that have a positive in a split."""
        return np.flatnonzero(np.diff(self.positives[split_name].indptr))

    def tail_items(self, split_name: HeldOut) -> Flags:
        """Return the items (I,) with at most the median training count of a split's positives.

        The median is over positives, not over items: about half of the positives are theirs.
        """
        counts = self.train_counts
        return np.asarray(counts <= np.median(counts[self.positives[split_name].indices]))


def full_ranking_metrics(
    task: RankingTask, score: Scores, split_name: HeldOut, seed: int = 0
) -> dict[str, Estimate]:
    """Return the means over users of ``full_ranking_by_user``, errors by bootstrap over users.

    What no user has is left out. Equal seeds draw the same users.
    """
    return mean_over_users(full_ranking_by_user(task, score, split_name), seed)


def full_ranking_by_user(
    task: RankingTask, score: Scores, split_name: HeldOut
) -> dict[str, Floats]:
    """Rank all items but a user's training positives by ``score``; equal scores by item row.

    Each value is (U',), one for each of ``task.ranked_users``, NaN where it is not defined:

    - recall_at_20: share of the user's positives among the first 20.
    - ndcg_at_20: gain 1, discount 1 / log2(1 + place), over the ideal order of min(positives, 20)
      (Jarvelin & Kekalainen, TOIS 2002).
    - ndcg_at_20_hit: the same over the ideal order of the hits alone, as the code of NGCF (Wang et
      al., SIGIR 2019) has it; never below ndcg_at_20, and equal to it for a single positive.
    - ood_recall_at_20: recall of the positives of ``task.tail_items``.
    - cold_recall_at_20: recall of the positives whose item has no training positive.
    - matched_auc: mean over the positives of the probability to outscore a negative within 100
      ranks of popularity, ties counting half; near .5 for whatever ranks by popularity alone.
    - arp: mean training count of the first 20.

    Raises TrainingError for scores that are not finite.
    """
    parts = [
        _chunk_values(task, users, scores, split_name)
        for users, scores in _scored(task, score, task.ranked_users(split_name))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def mean_recall(task: RankingTask, score: Scores, split_name: HeldOut) -> float:
    """Return recall_at_20 alone, over users: what is chosen by on validation."""
    recalls = []
    for users, scores in _scored(task, score, task.ranked_users(split_name)):
        liked = task.positives[split_name][users].toarray()
        hit = np.take_along_axis(liked, top_k(scores, min(TOP, task.items)), axis=1)
        recalls.append(hit.sum(axis=1) / liked.sum(axis=1))
    return float(np.concatenate(recalls).mean())


def mean_over_users(values: dict[str, Floats], seed: int = 0) -> dict[str, Estimate]:
    """Return the mean of each of ``values`` (U',) over users where it is defined.

    Errors are by bootstrap over users; the same draws serve all of them.
    """
    users = len(next(iter(values.values())))
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(users, np.full(users, 1 / users), REPLICATES).astype(np.float64)
    metrics = {}
    for name, value in values.items():
        defined = ~np.isnan(value)
        if not defined.any():
            continue
        with np.errstate(invalid="ignore"):  # a draw may hold no user that counts
            means = draws @ np.where(defined, value, 0.0) / (draws @ defined)
        metrics[name] = bootstrapped(float(value[defined].mean()), means)
    return metrics


def _scored(task: RankingTask, score: Scores, users: Rows) -> Iterator[tuple[Rows, Floats]]:
    """Yield ``users`` by chunks with their scores (B, I), -inf for training positives."""
    size = max(_PAIRS // task.items, 1)
    for start in range(0, len(users), size):
        chunk = users[start : start + size]
        scores = np.array(score(chunk))
        if not np.isfinite(scores).all():
            raise TrainingError("a score is NaN or infinite: the model has diverged")
        scores[task.positives["train"][chunk].toarray()] = -np.inf
        yield chunk, scores


def _chunk_values(
    task: RankingTask, users: Rows, scores: Floats, split_name: HeldOut
) -> dict[str, Floats]:
    wanted = task.positives[split_name][users]  # (B, I)
    liked = wanted.toarray()
    top = top_k(scores, min(TOP, task.items))  # (B, K)
    row = np.arange(len(users))[:, None]
    hit = liked[row, top]
    discount = 1 / np.log2(np.arange(2, top.shape[1] + 2))
    ideal = np.r_[0.0, np.cumsum(discount)]  # of so many hits
    gain = hit @ discount
    hits, total = hit.sum(axis=1), liked.sum(axis=1)
    counts = task.train_counts
    shown = np.isfinite(scores[row, top])  # a user may have fewer items left than places
    return {
        f"recall_at_{TOP}": hits / total,
        f"ndcg_at_{TOP}": gain / ideal[np.minimum(total, top.shape[1])],
        f"ndcg_at_{TOP}_hit": gain / np.where(hits > 0, ideal[hits], 1.0),
        f"ood_recall_at_{TOP}": _recall_of(task.tail_items(split_name), top, hit, liked),
        f"cold_recall_at_{TOP}": _recall_of(counts == 0, top, hit, liked),
        "matched_auc": _matched_auc(counts, scores, wanted, liked),
        "arp": _ratio((counts[top] * shown).sum(axis=1), shown.sum(axis=1)),
    }


def top_k(scores: Floats, k: int) -> Rows:
    """Return the columns of the k greatest of ``scores`` (B, I), best first, ties by column."""
    chosen = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
    least = np.take_along_axis(scores, chosen, axis=1).min(axis=1, keepdims=True)
    tied = (scores >= least).sum(axis=1) > k  # where the last place is shared, it is argpartition's
    chosen[tied] = np.argsort(-scores[tied], axis=1, kind="stable")[:, :k]
    chosen.sort(axis=1)
    order = np.argsort(-np.take_along_axis(scores, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)


def _recall_of(chosen: Flags, top: Rows, hit: Flags, liked: Flags) -> Floats:
    """Return the share (B,) of the liked items among ``chosen`` (I,) that are hit."""
    return _ratio((hit & chosen[top]).sum(axis=1), (liked & chosen).sum(axis=1))


def _matched_auc(counts: Rows, scores: Floats, wanted: csr_array, liked: Flags) -> Floats:
    by_count = np.argsort(counts, kind="stable")
    rank = np.empty_like(by_count)
    rank[by_count] = np.arange(len(counts))
    row, item = wanted.nonzero()
    near = rank[item][:, None] + np.arange(-MATCHED_RANKS, MATCHED_RANKS + 1)  # (positives, W)
    inside = (near >= 0) & (near < len(counts))
    other = by_count[np.where(inside, near, 0)]
    score = scores[row[:, None], other]
    negative = inside & np.isfinite(score) & ~liked[row[:, None], other]
    own = scores[row, item][:, None]
    wins = np.where(negative, (own > score) + 0.5 * (own == score), 0.0).sum(axis=1)
    auc = _ratio(wins, negative.sum(axis=1))
    defined = ~np.isnan(auc)
    total = np.bincount(row[defined], auc[defined], len(scores))
    return _ratio(total, np.bincount(row[defined], minlength=len(scores)))


def _ratio(part: Floats | Rows, whole: Floats | Rows) -> Floats:
    """Return part / whole, NaN where there is nothing of which to be a part."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
