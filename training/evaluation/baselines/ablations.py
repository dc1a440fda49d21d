"""Ablations on clicks alone: curves of the net without one of its parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import BaseModel

from service.contract.manifest import Estimate
from training.config import Config
from training.data.dataset import Dataset
from training.evaluation.baselines.full_ranking import penalised
from training.evaluation.report.schema import Curve
from training.fitting.runs import RunStore, over_seeds
from training.fitting.train_net import train_net
from training.metrics.estimates import mean_and_se
from training.metrics.full_ranking import RECALL, TAIL_RECALL, RankingTask, full_ranking_metrics
from training.metrics.hypervolume import hypervolume
from training.nets.base import Ablation
from training.nets.registry import architecture

_GRID = np.linspace(0.0, 1.0, 11)


class _Run(BaseModel):
    """The metrics of one seed, by name, at each tradeoff."""

    points: tuple[dict[str, Estimate], ...]


def measure_ablation(
    name: str, dataset: Dataset, config: Config, seeds: int, runs: RunStore
) -> Curve:
    """Return the curve of one ablation of the architecture, over ``seeds`` trainings."""
    ablation = architecture(config.net).ablations[name]
    net = replace(config.net, **ablation.changes)
    results = over_seeds(
        dataset,
        config.model_copy(update={"net": net}),
        seeds,
        runs,
        f"ablation-{'penalty' if ablation.penalty else 'tradeoff'}",
        _Run,
        lambda run: _measure(ablation, dataset, run, runs),
    )
    points = tuple(
        {key: mean_and_se(np.array([run.points[t][key].mean for run in results])) for key in point}
        for t, point in enumerate(results[0].points)
    )
    areas = [
        hypervolume(
            [(p[RECALL].mean, p[TAIL_RECALL].mean) for p in run.points], config.front.reference
        )
        for run in results
    ]
    return Curve(
        description=ablation.description,
        tradeoffs=tuple(_GRID.tolist()),
        logged=tuple(point[RECALL] for point in points),
        unbiased=tuple(point[TAIL_RECALL] for point in points),
        hypervolume=mean_and_se(np.array(areas)),
        points=points,
    )


def _measure(ablation: Ablation, dataset: Dataset, config: Config, runs: RunStore) -> _Run:
    fitted = train_net(dataset, config, runs)
    task = RankingTask.of(dataset, fitted.split)
    score_at = fitted.catalogue_scores()
    if ablation.penalty:
        scores = penalised(task, score_at(1.0))
    else:
        scores = (score_at(float(w)) for w in _GRID)
    return _Run(points=tuple(full_ranking_metrics(task, score, "test") for score in scores))
