"""One pool of items scored, ordered, and laid out for the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.catalog.item_table import Pool
from service.models.scorer import Scorer
from service.ranking.request import Clock
from service.ranking.top_k import places, top_k

Array = NDArray[np.float32]
Columns = dict[str, Any]  # what ``schemas.ItemColumns`` documents

_ENDS = ("debiased", "logged")


@dataclass(frozen=True)
class Question:
    """For whom and where on the front: user (1, U), tradeoff in [0, 1]."""

    user: Array
    tradeoff: float
    top_k: int
    explain: bool


def rank_pool(scorer: Scorer, pool: Pool, question: Question, clock: Clock) -> Columns:
    """Return the best of ``pool`` as columns; missing items stand behind all others, by id."""
    tradeoffs = (question.tradeoff, 0.0, 1.0) if question.explain else (question.tradeoff,)
    logits = _logits(scorer, pool, question, tradeoffs)
    clock.lap("score")
    best = top_k(logits[0], pool.item_ids, min(question.top_k, pool.count))
    scores = _calibrated(scorer, logits[:, best])
    absent = sorted(pool.missing)[: question.top_k - len(best)]
    none = [None] * len(absent)
    columns: Columns = {
        "item_ids": [pool.item_ids[row] for row in best.tolist()] + absent,
        "ranks": list(range(1, len(best) + len(absent) + 1)),
        "scores": scores[0].tolist() + none,
        "status": ["cold" if cold else "ok" for cold in pool.cold[best].tolist()]
        + ["missing"] * len(absent),
    }
    if question.explain:
        columns["explain"] = {
            end: {
                "scores": scores[t].tolist() + none,
                "ranks": places(logits[t], pool.item_ids, best) + none,
            }
            for t, end in enumerate(_ENDS, 1)
        }
    return columns


def as_rows(columns: Columns) -> list[dict[str, Any]]:
    """Return ``columns`` as one object an item; missing items are not explained."""
    names = ("item_ids", "ranks", "scores", "status")
    rows = [
        {"item_id": item_id, "rank": rank, "score": score, "status": status}
        for item_id, rank, score, status in zip(*(columns[n] for n in names), strict=True)
    ]
    for end, at in columns.get("explain", {}).items():
        for row, score, rank in zip(rows, at["scores"], at["ranks"], strict=True):
            if score is not None:
                row.setdefault("explain", {})[end] = {"score": score, "rank": rank}
    return rows


def _logits(scorer: Scorer, pool: Pool, question: Question, tradeoffs: tuple[float, ...]) -> Array:
    """Return logits (T, N), -inf where the pool holds nothing."""
    if not pool.size:
        return np.zeros((len(tradeoffs), 0), np.float32)
    runs = [scorer.score(question.user, pool.states, w) for w in tradeoffs]
    logits = (np.stack(runs) if len(runs) > 1 else runs[0][None])[:, : pool.size]
    if pool.held is not None:
        logits[:, ~pool.held] = -np.inf
    return logits


def _calibrated(scorer: Scorer, logits: Array) -> NDArray[np.float64]:
    calibration = scorer.artifact.manifest.calibration
    scaled = calibration.slope * logits.astype(np.float64) + calibration.intercept
    return np.asarray(1.0 / (1.0 + np.exp(-scaled)))
