"""From the decisions of a log to what every policy would have come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from training.arrays import Floats
from training.errors import ConfigError
from training.evaluation.off_policy.advice import TAIL_SHARE, Candidate, Wish, decide, order_of
from training.evaluation.off_policy.estimators import (
    Estimated,
    Shown,
    doubly_robust,
    fitted_scores,
    per_place_ips,
    per_place_snips,
    whole_ranking,
)
from training.evaluation.off_policy.log import Randomised, covering, drawn_grid, randomised
from training.evaluation.off_policy.policy import policy_estimate, source_of
from training.evaluation.off_policy.schema import (
    Advice,
    Pair,
    PolicyEstimate,
    Source,
)

# The highest scores (U, L) that a model expects of users (U,) at a tradeoff.
UserScores = Callable[[Sequence[str], float, int], Floats]

_FAR = 3.0  # standard errors between two estimators that differ


@dataclass(frozen=True)
class FromRandomised:
    """What a log's randomised tradeoffs say; ``against`` is that at ``tradeoff``."""

    source: Source
    against: str
    tradeoff: float
    policies: tuple[PolicyEstimate, ...]
    order: tuple[Pair, ...]
    advice: Advice | None
    notes: tuple[str, ...]


def policy_name(tradeoff: float) -> str:
    """Return what people call the policy that serves one tradeoff."""
    return f"w = {tradeoff:g}"


def from_randomised(
    rows: pl.DataFrame,
    tail: Mapping[str, bool],
    *,
    model: str,
    metric: str,
    default: float,
    against: float | None = None,
    places: int | None = None,
    wish: Wish | None = None,
    scores: UserScores | None = None,
) -> FromRandomised | None:
    """Return estimates for every tradeoff of the log's grid, None if none was drawn.

    ``against`` is the tradeoff that others are compared with: the ``default`` if it is of the grid,
    else the greatest. ``scores`` gives the regression of the doubly robust estimator.
    """
    grid = drawn_grid(rows)
    if not grid:
        return None
    used = covering(rows, grid)
    undrawn = int((rows["tradeoffs"].list.len().fill_null(0) == 0).sum())
    left_out = {
        "whose tradeoff was not drawn": undrawn,
        "that drew from another grid": len(rows) - undrawn - len(used),
    }
    longest = int(used["item_ids"].list.len().to_numpy().max())
    log = randomised(used, grid, min(places or longest, longest), tail)
    reference = _reference(grid, default, against)
    estimates = [_estimators(log, t, scores) for t in range(len(grid))]
    lengths = log.shown.present.sum(axis=1).mean()
    of_tail = replace(log.shown, outcome=log.tail.astype(np.float64))
    candidates = [
        Candidate(
            policy_name(w),
            w,
            {
                metric: estimates[t]["snips"],
                TAIL_SHARE: per_place_snips(of_tail, log.match[t]).times(1 / lengths),
            },
        )
        for t, w in enumerate(grid)
    ]
    base = candidates[reference]
    policies = tuple(
        policy_estimate(
            candidate, base, model, metric, estimates[t], log.shown.weights(log.match[t])
        )
        for t, candidate in enumerate(candidates)
    )
    count = len(log.shown)
    return FromRandomised(
        source=source_of("randomised tradeoffs", log.shown, left_out),
        against=base.name,
        tradeoff=base.tradeoff,
        policies=policies,
        order=order_of(candidates, metric, count),
        advice=None if wish is None else decide(candidates, base, wish, count),
        notes=tuple(_notes(candidates, estimates)),
    )


def _reference(grid: Sequence[float], default: float, against: float | None) -> int:
    if against is not None and against not in grid:
        listed = ", ".join(f"{w:g}" for w in grid)
        raise ConfigError(f"--against {against:g}: the log's tradeoffs are {listed}")
    wanted = default if against is None else against
    return grid.index(wanted) if wanted in grid else len(grid) - 1


def _estimators(log: Randomised, t: int, scores: UserScores | None) -> dict[str, Estimated]:
    """Return all estimates for the tradeoff t of the grid, by the estimator's name."""
    shown, match = log.shown, log.match[t]
    estimates = {"snips": per_place_snips(shown, match), "ips": per_place_ips(shown, match)}
    if scores is not None:
        users, at = np.unique(np.array(log.user_ids), return_inverse=True)
        best = scores(users.tolist(), log.grid[t], shown.outcome.shape[1])[at]  # (N, L)
        predicted = fitted_scores(shown, match, best, best)
        estimates["dr"] = doubly_robust(shown, match, predicted)
    estimates["whole_ranking"] = _whole(shown, log.whole[t])
    return estimates


def _whole(shown: Shown, weight: Floats) -> Estimated:
    """Return SNIPS of whole rankings over the decisions without a slot, as one of all decisions."""
    used = np.isfinite(weight)
    part = Shown(
        shown.outcome[used], shown.propensity[used], shown.present[used], shown.cluster[used]
    )
    estimated = whole_ranking(part, weight[used])
    influence = np.zeros(len(shown))
    influence[used] = estimated.influence / max(used.mean(), 1 / len(shown))
    return replace(estimated, influence=influence, cluster=shown.cluster)


def _notes(candidates: Sequence[Candidate], estimates: Sequence[dict[str, Estimated]]) -> list[str]:
    """Return a sentence where the estimators' assumptions do not agree."""
    notes = []
    for candidate, by_name in zip(candidates, estimates, strict=True):
        gap = by_name["whole_ranking"].less(by_name["snips"])
        if gap is not None and gap.se and abs(gap.mean) > _FAR * gap.se:
            notes.append(
                f"{candidate.name}: whole rankings come to {gap.mean:+.4f} ± {gap.se:.4f} against "
                "single places: what is clicked seems to depend on the other items shown; rely on "
                "the column of whole rankings"
            )
    return notes
