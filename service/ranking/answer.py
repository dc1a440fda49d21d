"""Scores one pool of items and picks the best."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.catalog.item_table import Pool
from service.contract.measures import calibrated_score
from service.models.scorer import Scorer
from service.ranking.items import Columns, RankedPool, as_columns
from service.ranking.request import Ranking
from service.ranking.top_k import top_k

Array = NDArray[np.float32]

_ENDS = (0.0, 1.0)  # tradeoffs of debiased and logged


def rank_pool(ranking: Ranking, user: Array, pool: Pool) -> Columns:
    """Return the best of ``pool`` for a user vector (1, U), as columns, once explored.

    Missing items stand behind all others, by id.
    """
    request, scorer, draw = ranking.request, ranking.model.scorer, ranking.draw
    tradeoffs = (ranking.tradeoff, *_ENDS) if request.explain else (ranking.tradeoff,)
    others = () if draw is None else draw.others
    logits = _logits(scorer, user, pool, tradeoffs + others)
    ranking.clock.lap("score")
    count = pool.count
    best = top_k(logits[0], pool.item_ids, min(request.top_k, count))
    missing = sorted(pool.missing)[: request.top_k - len(best)]
    if draw is not None:
        draw.pool_size, unexplored = count, best
        at_all = logits if len(tradeoffs) == 1 else logits[[0, *range(len(tradeoffs), len(logits))]]
        best = draw.show(best, at_all, pool.item_ids)
    calibration = scorer.artifact.manifest.calibration
    scores = calibrated_score(calibration, logits[: len(tradeoffs)].take(best, axis=1))
    if draw is not None and draw.slot is not None:
        displaced = calibrated_score(calibration, logits[0, unexplored[draw.slot]])
        draw.slot_scores = float(scores[0, draw.slot]), float(displaced)
    ranked, *ends = (
        RankedPool(pool, best, missing, logits[t], scores[t]) for t in range(len(tradeoffs))
    )
    return as_columns(ranked, ends)


def _logits(scorer: Scorer, user: Array, pool: Pool, tradeoffs: tuple[float, ...]) -> Array:
    """Return logits (T, N), -inf where the pool holds no item."""
    if not pool.size:
        return np.zeros((len(tradeoffs), 0), np.float32)
    logits = scorer.score(user, pool.states, tradeoffs)[:, : pool.size]
    if pool.held is not None:
        logits[:, ~pool.held] = -np.inf
    return logits
