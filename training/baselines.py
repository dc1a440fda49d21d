"""What a front is compared with: other ways to trade logged accuracy for less bias.

Each baseline trains CP2Rec's published main model (DCN) on the same rows for as many epochs, with
the learning rate of its own configuration, and is measured as a point or, where it has a knob, as
a curve. Equal trainings are shared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from service.contract.artifact import write_atomically
from training.config import Config, load_config
from training.curves import Curve
from training.data.dataset import Dataset
from training.errors import ConfigError
from training.evaluate import mean_and_se, score_rows, unbiased_rows
from training.metrics import auc, hypervolume
from training.pipeline import Trained, run_key, train_net
from training.propensity import shuffled_proxies

CONFIG = "cp2rec-paper"
_BACKDOOR_DRAWS = 8
_KNOB = np.linspace(0.0, 1.0, 11)

Rows = NDArray[np.int64]
Floats = NDArray[np.floating]
Score = Callable[[Trained, Dataset, Rows], Floats]


class _Run(BaseModel):
    """What one seed of one baseline measured; kept, so that it is not run again."""

    logged: tuple[float, ...]
    unbiased: tuple[float, ...]


@dataclass(frozen=True)
class Baseline:
    """How a baseline is trained and how its scores (T, R) at ``tradeoffs`` (T,) come about."""

    what: str
    overrides: tuple[str, ...]
    tradeoffs: tuple[float, ...]
    score: Score
    blind: bool = False  # trained and scored with all proxies unknown


def baseline_names(wanted: str) -> tuple[str, ...]:
    """Parse ``all``, ``none`` or a comma-separated list; raises ConfigError for unknown names."""
    if wanted in ("", "none"):
        return ()
    names = tuple(BASELINES) if wanted == "all" else tuple(wanted.split(","))
    for name in names:
        if name not in BASELINES:
            raise ConfigError(f"--baselines: {name!r} is not one of {', '.join(BASELINES)}")
    return names


def measure_baseline(name: str, dataset: Dataset, config: Config, seeds: int, runs: Path) -> Curve:
    """Measure one baseline over ``seeds`` from ``config.seed`` on, with its split and epochs."""
    baseline = BASELINES[name]
    if baseline.blind:
        dataset = _without_proxies(dataset)
    measured = []
    for seed in range(config.seed, config.seed + seeds):
        packaged = load_config(CONFIG, overrides=baseline.overrides)
        schedule = packaged.train.model_copy(update={"epochs": config.train.epochs})
        update = {"seed": seed, "split": config.split, "train": schedule}
        run = packaged.model_copy(update=update)
        path = runs / f"{run_key(dataset, run)}-{name}.json"
        if not path.exists():
            found = _measure(baseline, train_net(dataset, run, runs), dataset)
            write_atomically(path, found.model_dump_json().encode())
        measured.append(_Run.model_validate_json(path.read_bytes()))
    logged = np.array([run.logged for run in measured])  # (S, T)
    unbiased = np.array([run.unbiased for run in measured])
    areas = [
        hypervolume(list(zip(run.logged, run.unbiased, strict=True)), config.front.reference)
        for run in measured
    ]
    return Curve(
        what=baseline.what,
        tradeoffs=baseline.tradeoffs,
        logged_auc=tuple(mean_and_se(column) for column in logged.T),
        unbiased_auc=tuple(mean_and_se(column) for column in unbiased.T),
        hypervolume=mean_and_se(np.array(areas)),
    )


def _measure(baseline: Baseline, trained: Trained, dataset: Dataset) -> _Run:
    label = dataset.impressions.label
    axes = []
    for rows in (trained.split.test, unbiased_rows(dataset, trained.split)[0]):
        scores = baseline.score(trained, dataset, rows)
        axes.append(tuple(auc(label[rows], row) for row in scores))
    return _Run(logged=axes[0], unbiased=axes[1])


def _head(w: float) -> Score:
    """Return scores of one head of the paper's net."""

    def score(trained: Trained, dataset: Dataset, rows: Rows) -> Floats:
        return score_rows(trained.net, dataset, trained.known, rows, np.array([w]))

    return score


def _mix(trained: Trained, dataset: Dataset, rows: Rows) -> Floats:
    return score_rows(trained.net, dataset, trained.known, rows, _KNOB)


def _backdoor(trained: Trained, dataset: Dataset, rows: Rows) -> Floats:
    """(1 - w) mean_k f(c_k, z) + w f(c, z), c_k the proxies of random training rows."""
    own = _head(1.0)(trained, dataset, rows)  # (1, R)
    rng = np.random.default_rng(trained.fit.evaluations)
    average = np.zeros_like(own)
    for _ in range(_BACKDOOR_DRAWS):
        shuffled = shuffled_proxies(dataset, rows, trained.split.train, rng)
        average += _head(1.0)(trained, shuffled, rows) / _BACKDOOR_DRAWS
    return (1 - _KNOB)[:, None] * average + _KNOB[:, None] * own


def _penalty(trained: Trained, dataset: Dataset, rows: Rows) -> Floats:
    """F - (1 - w) log(1 + n_i), n_i the item's training clicks; nothing logged can tune it."""
    impressions = dataset.impressions
    train = trained.split.train
    clicks = np.bincount(
        impressions.item[train], impressions.label[train], minlength=len(dataset.item_ids)
    )
    own = _head(1.0)(trained, dataset, rows)
    return own - (1 - _KNOB)[:, None] * np.log1p(clicks)[impressions.item[rows]]


def _without_proxies(dataset: Dataset) -> Dataset:
    """Return the dataset with every proxy unknown, under a fingerprint of its own."""
    blind = dataset.with_proxies(np.full_like(dataset.impressions.proxies, np.nan))
    fingerprint = hashlib.sha256(f"{dataset.fingerprint} without proxies".encode()).hexdigest()
    return replace(blind, fingerprint=fingerprint)


_CURVE = tuple(_KNOB.tolist())
_PLAIN = ("net.debias=none", "net.purifier=none")

BASELINES = {
    "plain": Baseline("cross-entropy on all features", _PLAIN, (1.0,), _head(1.0)),
    "no-proxy": Baseline("plain, never shown a proxy", _PLAIN, (1.0,), _head(1.0), blind=True),
    "ips": Baseline("CP2Rec's debiased head, IPS", (), (0.0,), _head(0.0)),
    "snips": Baseline("the same, SNIPS", ("net.debias=snips",), (0.0,), _head(0.0)),
    "pos": Baseline("the same, only clicks weighted", ("net.debias=pos",), (0.0,), _head(0.0)),
    "rel": Baseline("the same, squared Rel-MF", ("net.debias=rel",), (0.0,), _head(0.0)),
    "two-head": Baseline("mix of CP2Rec's two heads, IPS", (), _CURVE, _mix),
    "backdoor": Baseline("plain, mixed with its mean over proxies", _PLAIN, _CURVE, _backdoor),
    "penalty": Baseline("plain less log popularity", _PLAIN, _CURVE, _penalty),
}
