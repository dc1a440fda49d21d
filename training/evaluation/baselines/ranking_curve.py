"""The curve of a ranker of the whole catalogue, pooled over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel

from service.contract.front import Estimate
from training.evaluation.report.schema import Curve
from training.metrics.estimates import all_known, mean_and_se, mean_over_seeds
from training.metrics.full_ranking import (
    RECALL,
    TAIL_RECALL,
    RankingTask,
    Scores,
    full_ranking_metrics,
)
from training.metrics.hypervolume import hypervolume


class RankingRun(BaseModel):
    """The metrics of one seed, by name, at each tradeoff."""

    points: tuple[dict[str, Estimate], ...]


def measure_ranking(task: RankingTask, rankers: Iterable[Scores]) -> RankingRun:
    """Return the test metrics of ``rankers``, one for each tradeoff."""
    return RankingRun(points=tuple(full_ranking_metrics(task, score, "test") for score in rankers))


def ranking_curve(
    description: str,
    tradeoffs: tuple[float, ...],
    runs: Sequence[RankingRun],
    reference: tuple[float, float],
    options: Mapping[str, Any] | None = None,
) -> Curve:
    """Return the curve of ``runs``, one for each seed; ``reference`` bounds the hypervolume."""
    points = tuple(
        {key: mean_over_seeds([run.points[t][key] for run in runs]) for key in point}
        for t, point in enumerate(runs[0].points)
    )
    areas = [
        hypervolume([(p[RECALL].mean, p[TAIL_RECALL].mean) for p in run.points], reference)
        for run in runs
    ]
    logged = tuple(point[RECALL] for point in points)
    unbiased = tuple(point[TAIL_RECALL] for point in points)
    return Curve(
        description=description,
        tradeoffs=tradeoffs,
        logged=logged,
        unbiased=unbiased,
        hypervolume=mean_and_se(np.array(areas), users_suffice=all_known((*logged, *unbiased))),
        points=points,
        options=dict(options or {}),
    )
