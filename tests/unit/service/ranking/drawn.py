"""A ranking that shows what a draw says, over a pool of given logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from service.ranking.exploration import Draw
from service.ranking.top_k import top_k

Array = NDArray[np.float32]
GRID = ((0.0, 0.2), (0.5, 0.3), (1.0, 0.5))


def show(draw: Draw, logits_at: Callable[[float], Array], top: int) -> list[int]:
    """Return the rows that a ranking shows, and complete ``draw``."""
    logits = logits_at(draw.tradeoff)
    draw.pool_size = int(np.isfinite(logits).sum())
    ids = [f"i{row:03}" for row in range(len(logits))]
    best = top_k(logits, ids, min(top, draw.pool_size))
    at_all = np.stack([logits_at(tradeoff) for tradeoff in (draw.tradeoff, *draw.others)])
    rows: list[int] = draw.show(best, at_all, ids).tolist()
    return rows
