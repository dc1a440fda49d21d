"""The best of many logits, without sorting what is not shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_STRIDE = 64
_SAMPLED = 50_000  # logits from which on a sample pays

Array = NDArray[np.float32]


def top_k(logits: Array, item_ids: Sequence[str], k: int) -> NDArray[np.int64]:
    """Return the rows (K,) of the k highest of ``logits`` (N,), best first, ties by item id."""
    rows = None
    if len(logits) >= _SAMPLED:
        rows = np.flatnonzero(logits >= _kth_highest(logits, min(k, len(logits))))
        logits = logits[rows]
    lowest = -logits
    # One more than is shown, to see a tie at the last place.
    order = lowest.argpartition(k)[: k + 1] if k < len(lowest) else np.arange(len(lowest))
    order = order[lowest[order].argsort()]
    ordered = lowest[order]
    if (ordered[1:] == ordered[:-1]).any():
        # Everything at the k-th logit stays in until ids have broken the tie.
        order = np.flatnonzero(lowest <= ordered[:k].max(initial=-np.inf))
        tied = (order if rows is None else rows[order]).tolist()
        keys = list(zip(lowest[order].tolist(), (item_ids[row] for row in tied), strict=True))
        order = order[sorted(range(len(keys)), key=keys.__getitem__)]
    best = order[:k]
    return best if rows is None else rows[best]


def places(logits: Array, item_ids: Sequence[str], rows: NDArray[np.int64]) -> list[int]:
    """Return where each of ``rows`` (K,) stands, from 1, if all logits (N,) were ranked."""
    ascending = np.sort(logits)
    above = len(logits) - np.searchsorted(ascending, logits[rows], "right")
    equal = len(logits) - np.searchsorted(ascending, logits[rows], "left") - above
    return [
        1 + higher + (_before(logits, item_ids, row) if same > 1 else 0)
        for row, higher, same in zip(rows.tolist(), above.tolist(), equal.tolist(), strict=True)
    ]


def _before(logits: Array, item_ids: Sequence[str], row: int) -> int:
    """Return how many rows of the same logit have a lesser id."""
    twins = np.flatnonzero(logits == logits[row]).tolist()
    return sum(item_ids[twin] < item_ids[row] for twin in twins)


def _kth_highest(logits: Array, k: int) -> np.float32:
    """Return the k-th highest of ``logits`` (N,), k <= N.

    A sample tells a bound that very likely leaves few over k; if it leaves fewer, all are asked.
    """
    kept = logits
    if len(logits) >= _SAMPLED:
        sample = logits[::_STRIDE]
        deep = min(len(sample), 16 + 2 * k // _STRIDE)
        above = logits[logits >= np.partition(sample, -deep)[-deep]]
        kept = above if len(above) >= k else logits
    highest: np.float32 = np.partition(kept, -k)[-k]
    return highest
