"""Baselines on clicks alone: rankers of the whole catalogue.

Validation recall at the first seed selects their options; test positives serve the report alone.
Equal trainings run once.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from training.arrays import Floats, Rows
from training.config import Config
from training.data.dataset import Dataset
from training.data.split import split_rows
from training.evaluation.baselines.neighbours import item_knn, popularity, rp3beta
from training.evaluation.baselines.ranking_curve import RankingRun, measure_ranking, ranking_curve
from training.evaluation.report.schema import Curve
from training.fitting.by_id import factor_scores, fit_by_id
from training.fitting.runs import Arrays, RunKey, RunStore
from training.metrics.full_ranking import (
    RECALL,
    TAIL_RECALL,
    RankingTask,
    Scores,
    full_ranking_by_user,
    mean_recall,
)
from training.metrics.hypervolume import hypervolume
from training.nets.by_id import BprMf, LightGcn, UltraGcn

_REFERENCE = (0.0, 0.0)  # corner of the hypervolume
_GRID = np.linspace(0.0, 1.0, 11)
_STRENGTHS = np.r_[
    0.0, 2.0 ** np.arange(-5, 2.5, 0.5)
]  # of the penalty; ``penalised`` defines the unit

Options = Mapping[str, Any]

log = logging.getLogger(__name__)


class _Choice(BaseModel):
    """The validation recall of one set of options."""

    recall: float


@dataclass(frozen=True)
class Untrained:
    """A ranker without training: ``fit(task, **options)``; ``grid``: its sets of options."""

    name: str
    fit: Callable[..., Scores]
    grid: tuple[Options, ...] = ({},)


@dataclass(frozen=True)
class Trained:
    """A trained ranker: ``net(positives, **options)``; ``grid``: its sets of options.

    The option ``lr`` is the learning rate and does not reach the net.
    """

    name: str
    net: Callable[..., BprMf | UltraGcn]
    grid: tuple[Options, ...]


@dataclass(frozen=True)
class RankingBaseline:
    """A ranker: a point at w = 1 or, with ``penalised``, a curve with a popularity penalty."""

    description: str
    ranker: Untrained | Trained
    penalised: bool = False

    @property
    def tradeoffs(self) -> tuple[float, ...]:
        """The tradeoffs at which it is measured."""
        return tuple(_GRID.tolist()) if self.penalised else (1.0,)


def measure_ranking_baseline(
    name: str, dataset: Dataset, config: Config, seeds: int, runs: RunStore
) -> Curve:
    """Return the curve of one baseline over ``seeds`` from ``config.seed`` on.

    The shares of the split come from ``config``. If neither training nor split depends on the
    seed, one seed is measured, and errors are None.
    """
    baseline = RANKING_BASELINES[name]
    experiment = _Experiment(baseline, dataset, config, runs)
    options = experiment.choose()
    varies = isinstance(baseline.ranker, Trained) or dataset.impressions.split is None
    seed_range = range(config.seed, config.seed + (seeds if varies else 1))
    seed_runs = [experiment.run(name, options, seed) for seed in seed_range]
    return ranking_curve(baseline.description, baseline.tradeoffs, seed_runs, _REFERENCE, options)


@dataclass(frozen=True)
class _Experiment:
    """One baseline on one dataset: the choice of its options, and its runs."""

    baseline: RankingBaseline
    dataset: Dataset
    config: Config
    runs: RunStore

    def choose(self) -> Options:
        """Return the options with the greatest validation recall at the first seed."""
        grid, seed = self.baseline.ranker.grid, self.config.seed
        recalls = [self._recall(options, seed) for options in grid]
        return grid[int(np.argmax(recalls))]

    def run(self, name: str, options: Options, seed: int) -> RankingRun:
        """Return the test metrics of one seed."""
        return self.runs.result(
            self._key(options, seed), name, RankingRun, lambda: self._measure(options, seed)
        )

    def _measure(self, options: Options, seed: int) -> RankingRun:
        task, score = self._task(seed), self._scores(options, seed)
        return measure_ranking(
            task, penalised(task, score) if self.baseline.penalised else (score,)
        )

    def _recall(self, options: Options, seed: int) -> float:
        def compute() -> _Choice:
            recall = mean_recall(self._task(seed), self._scores(options, seed), "validation")
            log.info("%s %s: %.4f", self.baseline.ranker.name, options, recall)
            return _Choice(recall=recall)

        return self.runs.result(self._key(options, seed), "choice", _Choice, compute).recall

    def _task(self, seed: int) -> RankingTask:
        shares = self.config.split
        split = split_rows(self.dataset, validation=shares.validation, test=shares.test, seed=seed)
        return RankingTask.of(self.dataset, split)

    def _scores(self, options: Options, seed: int) -> Scores:
        """Return the scores of the fitted ranker; equal trainings run once."""
        task, ranker = self._task(seed), self.baseline.ranker
        if isinstance(ranker, Untrained):
            return ranker.fit(task, **options)

        def compute() -> Arrays:
            torch.manual_seed(seed)
            sizes = {key: value for key, value in options.items() if key != "lr"}
            net = ranker.net(task.positives["train"], **sizes)
            users, items = fit_by_id(net, task, lr=options["lr"])
            return {"users": users, "items": items}

        factors = self.runs.arrays(self._key(options, seed), "factors", compute)
        return factor_scores((factors["users"], factors["items"]))

    def _key(self, options: Options, seed: int) -> RunKey:
        run_options = {"split": self.config.split.model_dump(), "ranker": dict(options)}
        return RunKey(self.baseline.ranker.name, seed, self.dataset.fingerprint, run_options)


def penalised(task: RankingTask, score: Scores) -> Iterator[Scores]:
    """Yield the scores s - (1 - w) c log(1 + n) at each w, n the items' training counts.

    c is the strength with the greatest validation hypervolume; its unit is the standard deviation
    of s over that of log(1 + n). Both sides are interpolated between the measured strengths.
    """
    log_count = np.log1p(task.train_counts)
    unit = score(task.ranked_users("validation")[:256]).std() / log_count.std()

    def with_penalty(strength: float) -> Scores:
        def penalised_score(users: Rows) -> Floats:
            return np.asarray(score(users) - strength * unit * log_count)

        return penalised_score

    sides = []
    for strength in _STRENGTHS:
        values = full_ranking_by_user(task, with_penalty(strength), "validation")
        sides.append([np.nanmean(values[RECALL]), np.nanmean(values[TAIL_RECALL])])
    logged, tail = np.array(sides).T

    def area(strength: float) -> float:
        strengths = strength * (1 - _GRID)
        points = zip(
            np.interp(strengths, _STRENGTHS, logged),
            np.interp(strengths, _STRENGTHS, tail),
            strict=True,
        )
        return hypervolume(list(points), _REFERENCE)

    best_strength = max(_STRENGTHS, key=area)
    return (with_penalty((1 - w) * best_strength) for w in _GRID)


def _grid(**choices: tuple[Any, ...]) -> tuple[Options, ...]:
    """Return all combinations of ``choices``, as options."""
    return tuple(
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    )


# Every ranker with options has as many sets of them: TRIALS.
TRIALS = 3
_KNN = _grid(neighbours=(100,), shrink=(10,), alpha=(1.0,), damping=(1.0, 0.5, 0.0))
_RP3 = _grid(neighbours=(100,), alpha=(0.8,), beta=(0.0, 0.1, 0.2))
_BPR = _grid(dim=(64,), lr=(5e-3,), l2=(1e-2, 1e-1, 1.0))
_ULTRAGCN = _grid(
    dim=(64,),
    lr=(5e-3,),
    l2=(0.1,),
    negatives=(512,),
    negative_weight=(1.0, 50.0, 200.0),
    item_weight=(1.0,),
)
_LIGHTGCN = Trained(
    "lightgcn", LightGcn, _grid(dim=(64,), lr=(5e-3,), l2=(1e-3,), layers=(2, 3, 4))
)

RANKING_BASELINES = {
    "popularity": RankingBaseline("training count", Untrained("popularity", popularity)),
    "item-knn": RankingBaseline(
        "similarity to what the user liked", Untrained("item-knn", item_knn, _KNN)
    ),
    "rp3beta": RankingBaseline("random walk of three steps", Untrained("rp3beta", rp3beta, _RP3)),
    "bpr-mf": RankingBaseline("matrix factorisation by pairs", Trained("bpr-mf", BprMf, _BPR)),
    "ultragcn": RankingBaseline("the graph as weights", Trained("ultragcn", UltraGcn, _ULTRAGCN)),
    "lightgcn": RankingBaseline("ids propagated along the graph", _LIGHTGCN),
    "penalty": RankingBaseline("LightGCN less c log popularity", _LIGHTGCN, penalised=True),
}
