"""Ablations on clicks alone: curves of the net without one of its parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.config import Config
from training.data.dataset import Dataset
from training.evaluation.baselines.full_ranking import penalised
from training.evaluation.baselines.ranking_curve import RankingRun, measure_ranking, ranking_curve
from training.evaluation.report.schema import Curve
from training.fitting.runs import RunStore, over_seeds
from training.fitting.train_net import train_net
from training.metrics.full_ranking import RankingTask
from training.nets.base import Ablation
from training.nets.registry import architecture

_GRID = np.linspace(0.0, 1.0, 11)


def measure_ablation(
    name: str, dataset: Dataset, config: Config, seeds: int, runs: RunStore
) -> Curve:
    """Return the curve of one ablation of the architecture, over ``seeds`` trainings."""
    ablation = architecture(config.net).ablations[name]
    net = replace(config.net, **ablation.changes)
    seed_runs = over_seeds(
        dataset,
        config.model_copy(update={"net": net}),
        seeds,
        runs,
        f"ablation-{'penalty' if ablation.penalty else 'tradeoff'}",
        RankingRun,
        lambda run: _measure(ablation, dataset, run, runs),
    )
    tradeoffs = tuple(_GRID.tolist())
    return ranking_curve(ablation.description, tradeoffs, seed_runs, config.front.reference)


def _measure(ablation: Ablation, dataset: Dataset, config: Config, runs: RunStore) -> RankingRun:
    fitted = train_net(dataset, config, runs)
    task = RankingTask.of(dataset, fitted.split)
    score_at = fitted.catalogue_scores()
    if ablation.penalty:
        return measure_ranking(task, penalised(task, score_at(1.0)))
    return measure_ranking(task, (score_at(float(w)) for w in _GRID))
