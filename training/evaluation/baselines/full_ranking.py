"""What rankers of whole catalogues are compared with, where data hold clicks alone.

Options are chosen at the first seed by recall on validation; test positives only report. Equal
trainings are shared, and what was done is kept: each training, each choice, each measurement.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from service.contract.files import write_atomically
from service.contract.manifest import Estimate
from training.arrays import Floats, Rows
from training.config import Config
from training.data.dataset import Dataset
from training.data.split import split_rows
from training.evaluation.baselines.neighbours import item_knn, popularity, rp3beta
from training.evaluation.report.schema import Curve
from training.fitting.by_id import factor_scores, fit_collaborative
from training.fitting.provenance import code_version
from training.metrics.estimates import mean_and_se
from training.metrics.full_ranking import (
    AXIS,
    TAIL_AXIS,
    RankingTask,
    Scores,
    full_ranking_by_user,
    full_ranking_metrics,
    mean_recall,
)
from training.metrics.hypervolume import hypervolume
from training.nets.by_id import BprMf, LightGcn, UltraGcn

REFERENCE = (0.0, 0.0)
_KNOB = np.linspace(0.0, 1.0, 11)
_STRENGTHS = np.r_[0.0, 2.0 ** np.arange(-5, 2.5, 0.5)]  # in deviations of scores

Options = Mapping[str, Any]


class _Run(BaseModel):
    """What one seed of one baseline measured; kept, so that it is not run again."""

    points: tuple[dict[str, Estimate], ...]


class _Choice(BaseModel):
    """What one set of options reached on validation."""

    recall: float


@dataclass(frozen=True)
class Remembering:
    """A ranker without training: ``fit(task, **options)``, and the options to choose among."""

    name: str
    fit: Callable[..., Scores]
    grid: tuple[Options, ...] = ({},)


@dataclass(frozen=True)
class Learning:
    """A ranker to train: ``net(positives, **options)``, at the rate ``lr`` of its options."""

    name: str
    net: Callable[..., BprMf | UltraGcn]
    grid: tuple[Options, ...]


@dataclass(frozen=True)
class RankingBaseline:
    """A ranker as a point at t = 1 or, less popularity, as a curve."""

    what: str
    ranker: Remembering | Learning
    penalised: bool = False

    @property
    def tradeoffs(self) -> tuple[float, ...]:
        """The tradeoffs of its points."""
        return tuple(_KNOB.tolist()) if self.penalised else (1.0,)


def measure_ranking_baseline(
    name: str, dataset: Dataset, config: Config, seeds: int, runs: Path
) -> Curve:
    """Measure one baseline over ``seeds`` from ``config.seed`` on, with its split.

    Where neither training nor split depends on a seed, one is enough and errors are unknown.
    """
    baseline = RANKING_BASELINES[name]
    bench = _Bench(baseline, dataset, config, runs)
    options = bench.choose()
    varies = isinstance(baseline.ranker, Learning) or dataset.impressions.split is None
    wanted = range(config.seed, config.seed + (seeds if varies else 1))
    measured = [bench.run(name, options, seed).points for seed in wanted]
    metrics = [
        {key: np.array([run[t][key].mean for run in measured]) for key in point}
        for t, point in enumerate(measured[0])
    ]  # a point: values (S,) by name
    areas = [
        hypervolume([(point[AXIS].mean, point[TAIL_AXIS].mean) for point in run], REFERENCE)
        for run in measured
    ]
    points = tuple({key: mean_and_se(values) for key, values in m.items()} for m in metrics)
    return Curve(
        what=baseline.what,
        tradeoffs=baseline.tradeoffs,
        logged=tuple(point[AXIS] for point in points),
        unbiased=tuple(point[TAIL_AXIS] for point in points),
        hypervolume=mean_and_se(np.array(areas)),
        points=points,
        options=dict(options),
    )


@dataclass(frozen=True)
class _Bench:
    """One baseline on one dataset, and where its runs are kept."""

    baseline: RankingBaseline
    dataset: Dataset
    config: Config
    runs: Path

    def choose(self) -> Options:
        """Return the options with the greatest recall on validation at the first seed."""
        grid = self.baseline.ranker.grid
        recalls = []
        for options in grid:
            path = self._path("choice", options, self.config.seed, "json")
            if not path.exists():
                score = self._scores(options, self.config.seed)
                recall = mean_recall(self._task(self.config.seed), score, "validation")
                _keep(path, _Choice(recall=recall))
                logging.info("%s %s: %.4f", self.baseline.ranker.name, options, recall)
            recalls.append(_Choice.model_validate_json(path.read_bytes()).recall)
        return grid[int(np.argmax(recalls))]

    def run(self, name: str, options: Options, seed: int) -> _Run:
        """Return what one seed reaches on the test."""
        path = self._path(name, options, seed, "json")
        if not path.exists():
            task, score = self._task(seed), self._scores(options, seed)
            rankers = penalised(task, score) if self.baseline.penalised else iter((score,))
            points = tuple(full_ranking_metrics(task, ranker, "test") for ranker in rankers)
            _keep(path, _Run(points=points))
        return _Run.model_validate_json(path.read_bytes())

    def _task(self, seed: int) -> RankingTask:
        shares = self.config.split
        split = split_rows(self.dataset, validation=shares.validation, test=shares.test, seed=seed)
        return RankingTask.of(self.dataset, split)

    def _scores(self, options: Options, seed: int) -> Scores:
        """Fit, or take the factors of an equal training."""
        task, ranker = self._task(seed), self.baseline.ranker
        if isinstance(ranker, Remembering):
            return ranker.fit(task, **options)
        path = self._path("factors", options, seed, "npz")
        if not path.exists():
            torch.manual_seed(seed)
            sizes = {key: value for key, value in options.items() if key != "lr"}
            net = ranker.net(task.positives["train"], **sizes)
            users, items = fit_collaborative(net, task, lr=options["lr"])
            content = io.BytesIO()
            np.savez(content, users=users, items=items)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content.getvalue())
        with np.load(path) as arrays:
            return factor_scores((arrays["users"], arrays["items"]))

    def _path(self, what: str, options: Options, seed: int, suffix: str) -> Path:
        """Name a file by data, split, options and code: equal names are equal contents."""
        parts = [
            self.dataset.fingerprint,
            self.config.split.model_dump(),
            dict(options),
            code_version(),
        ]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
        return self.runs / f"{self.baseline.ranker.name}-{seed}-{digest}-{what}.{suffix}"


def penalised(task: RankingTask, score: Scores) -> Iterator[Scores]:
    """Yield s - (1 - t) c log(1 + n) at each t, with c of the greatest hypervolume on validation.

    c is a multiple of the scores' deviation over that of log(1 + n); the axes between measured
    strengths are interpolated.
    """
    log_count = np.log1p(task.train_counts)
    unit = score(task.ranked_users("validation")[:256]).std() / log_count.std()

    def less(strength: float) -> Scores:
        def penalised(users: Rows) -> Floats:
            return np.asarray(score(users) - strength * unit * log_count)

        return penalised

    axes = []
    for strength in _STRENGTHS:
        found = full_ranking_by_user(task, less(strength), "validation")
        axes.append([np.nanmean(found[AXIS]), np.nanmean(found[TAIL_AXIS])])
    logged, tail = np.array(axes).T

    def area(c: float) -> float:
        knots = c * (1 - _KNOB)
        points = zip(
            np.interp(knots, _STRENGTHS, logged), np.interp(knots, _STRENGTHS, tail), strict=True
        )
        return hypervolume(list(points), REFERENCE)

    best = max(_STRENGTHS, key=area)
    return (less((1 - t) * best) for t in _KNOB)


def _keep(path: Path, found: BaseModel) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, found.model_dump_json().encode())


def _grid(**choices: tuple[Any, ...]) -> tuple[Options, ...]:
    """Return all combinations."""
    return tuple(
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    )


_KNN = _grid(neighbours=(100,), shrink=(0, 10), alpha=(0.5, 1.0), damping=(0.0, 1.0))
_RP3 = _grid(neighbours=(100,), alpha=(0.8, 1.0), beta=(0.0, 0.1, 0.2))
_BPR = _grid(dim=(64,), lr=(5e-3,), l2=(1e-2, 1e-1, 1.0))
_ULTRAGCN = _grid(
    dim=(64,),
    lr=(5e-3,),
    l2=(0.1,),
    negatives=(512,),
    negative_weight=(50.0, 200.0),
    item_weight=(1.0,),
)
_LIGHTGCN = Learning(
    "lightgcn", LightGcn, _grid(dim=(64,), lr=(5e-3,), l2=(1e-3,), layers=(2, 3, 4))
)

RANKING_BASELINES = {
    "popularity": RankingBaseline("training count", Remembering("popularity", popularity)),
    "item-knn": RankingBaseline(
        "similarity to what the user liked", Remembering("item-knn", item_knn, _KNN)
    ),
    "rp3beta": RankingBaseline("random walk of three steps", Remembering("rp3beta", rp3beta, _RP3)),
    "bpr-mf": RankingBaseline("matrix factorisation by pairs", Learning("bpr-mf", BprMf, _BPR)),
    "ultragcn": RankingBaseline("the graph as weights", Learning("ultragcn", UltraGcn, _ULTRAGCN)),
    "lightgcn": RankingBaseline("ids propagated along the graph", _LIGHTGCN),
    "penalty": RankingBaseline("LightGCN less c log popularity", _LIGHTGCN, penalised=True),
}
