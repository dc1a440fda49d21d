"""The rows of the highest logits, without sorting the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_STRIDE = 64
_FEWEST_SAMPLED = 50_000  # below that a sample costs more than it saves

Array = NDArray[np.float32]


def top_k(logits: Array, item_ids: Sequence[str], k: int) -> NDArray[np.int64]:
    """Return the rows (K,) of the k highest of ``logits`` (N,), best first, ties by item id."""
    rows = None
    if len(logits) >= _FEWEST_SAMPLED:
        rows = np.flatnonzero(logits >= _kth_highest(logits, min(k, len(logits))))
        logits = logits[rows]
    negated = -logits
    # One more than k, to detect a tie at the last place.
    order = negated.argpartition(k)[: k + 1] if k < len(negated) else np.arange(len(negated))
    some = negated[order]
    ascending = some.argsort()
    order, ordered = order[ascending], some[ascending]
    if np.count_nonzero(ordered[1:] == ordered[:-1]):  # half the time of any()
        # All rows with the k-th logit remain until ids have broken the tie.
        order = np.flatnonzero(negated <= ordered[:k].max(initial=-np.inf))
        tied = (order if rows is None else rows[order]).tolist()
        keys = list(zip(negated[order].tolist(), (item_ids[row] for row in tied), strict=True))
        order = order[sorted(range(len(keys)), key=keys.__getitem__)]
    best = order[:k]
    return best if rows is None else rows[best]


def row_at(logits: Array, item_ids: Sequence[str], rank: int) -> int:
    """Return the row of the item of a rank, from 0, among all logits (N,), ties by item id."""
    negated = -logits
    logit = np.partition(negated, rank)[rank]
    above = int((negated < logit).sum())
    tied = np.flatnonzero(negated == logit).tolist()
    return int(sorted(tied, key=lambda row: item_ids[row])[rank - above])


def ranks_of(logits: Array, item_ids: Sequence[str], rows: NDArray[np.int64]) -> list[int]:
    """Return the rank of each of ``rows`` (K,), from 1, among all logits (N,), ties by item id."""
    ascending = np.sort(logits)
    above = len(logits) - np.searchsorted(ascending, logits[rows], "right")
    equal = len(logits) - np.searchsorted(ascending, logits[rows], "left") - above
    return [
        1 + higher + (_ties_before(logits, item_ids, row) if same > 1 else 0)
        for row, higher, same in zip(rows.tolist(), above.tolist(), equal.tolist(), strict=True)
    ]


def _ties_before(logits: Array, item_ids: Sequence[str], row: int) -> int:
    """Return how many rows of the same logit have a lesser id."""
    ties = np.flatnonzero(logits == logits[row]).tolist()
    return sum(item_ids[tie] < item_ids[row] for tie in ties)


def _kth_highest(logits: Array, k: int) -> np.float32:
    """Return the k-th highest of ``logits`` (N,), k <= N.

    A sample gives a bound. Very likely at least k logits reach it, and not many more. If fewer
    reach it, all logits are partitioned.
    """
    highest = logits
    if len(logits) >= _FEWEST_SAMPLED:
        sample = logits[::_STRIDE]
        depth = min(len(sample), 16 + 2 * k // _STRIDE)
        above = logits[logits >= np.partition(sample, -depth)[-depth]]
        highest = above if len(above) >= k else logits
    kth: np.float32 = np.partition(highest, -k)[-k]
    return kth
