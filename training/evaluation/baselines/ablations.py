"""PaInvRL less one of its parts, and plain penalties on the same net: curves beside its front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import BaseModel

from service.contract.manifest import Estimate
from training.config import Config
from training.data.dataset import Dataset
from training.evaluation.baselines.full_ranking import penalised
from training.evaluation.report.schema import Curve
from training.fitting.runs import over_seeds
from training.fitting.scoring import catalogue_scores
from training.fitting.train_net import train_net
from training.metrics.estimates import mean_and_se
from training.metrics.full_ranking import AXIS, TAIL_AXIS, RankingTask, full_ranking_metrics
from training.metrics.hypervolume import hypervolume
from training.nets.painvrl.modules import PainvrlOptions

_KNOB = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True)
class Ablation:
    """Changes of the net's options; ``penalty``: less c log popularity instead of its own knob."""

    what: str
    changes: Mapping[str, Any]
    penalty: bool = False


class _Run(BaseModel):
    """One seed: what was measured at each tradeoff, by name."""

    points: tuple[dict[str, Estimate], ...]


ABLATIONS = {
    "unmasked": Ablation("no mask: popularity alone carries w", {"gates": "none"}),
    "unmasked-penalty": Ablation("the same less c log popularity", {"gates": "none"}, penalty=True),
    "random-environments": Ablation("a mask from random environments", {"environments": "random"}),
    "mask-only": Ablation("invariant content alone", {"convert": False}),
    "no-popularity": Ablation("variant content alone carries w", {"popularity": 0.0}),
}


def measure_ablation(name: str, dataset: Dataset, config: Config, seeds: int, runs: Path) -> Curve:
    """Measure one ablation over ``seeds`` trainings on clicks alone, with its hypervolume."""
    ablation = ABLATIONS[name]
    net = replace(cast(PainvrlOptions, config.net), **ablation.changes)
    measured = over_seeds(
        dataset,
        config.model_copy(update={"net": net}),
        seeds,
        runs,
        f"ablation-{'penalty' if ablation.penalty else 'knob'}",
        _Run,
        lambda run: _measure(ablation, dataset, run, runs),
    )
    points = tuple(
        {key: mean_and_se(np.array([run.points[t][key].mean for run in measured])) for key in point}
        for t, point in enumerate(measured[0].points)
    )
    areas = [
        hypervolume([(p[AXIS].mean, p[TAIL_AXIS].mean) for p in run.points], config.front.reference)
        for run in measured
    ]
    return Curve(
        what=ablation.what,
        tradeoffs=tuple(_KNOB.tolist()),
        logged=tuple(point[AXIS] for point in points),
        unbiased=tuple(point[TAIL_AXIS] for point in points),
        hypervolume=mean_and_se(np.array(areas)),
        points=points,
    )


def _measure(ablation: Ablation, dataset: Dataset, config: Config, runs: Path) -> _Run:
    trained = train_net(dataset, config, runs)
    task = RankingTask.of(dataset, trained.split)
    at = catalogue_scores(trained.net, dataset, trained.known)
    scores = penalised(task, at(1.0)) if ablation.penalty else (at(float(w)) for w in _KNOB)
    return _Run(points=tuple(full_ranking_metrics(task, score, "test") for score in scores))
