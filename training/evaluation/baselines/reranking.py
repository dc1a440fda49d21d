"""Baselines with skips: other ways to trade logged accuracy for less bias.

A baseline is a point, or a curve if it has a parameter to vary. All train on the same rows for the
same number of epochs. Most share the tower of the decomposed net, with its content, histories,
priors and exposure loss, so that only the ways to trade differ (``nets/cp2rec/rivals.py``).
``plain``, and what is computed from its net, trains the tower by a click's likelihood alone,
without exposure loss and purification. The baselines named ``dcn-`` use CP2Rec's published net and
its learning rate. Equal trainings run once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from pydantic import BaseModel

from training.arrays import Floats, Rows
from training.config import Config, RivalConfig, load_config
from training.data.dataset import Dataset
from training.data.split import unbiased_rows
from training.evaluation.report.schema import Curve
from training.fitting.exposure import shuffled_proxies
from training.fitting.fitted_net import FittedNet
from training.fitting.runs import RunKey, RunStore
from training.fitting.train_net import train_net
from training.metrics.auc import auc
from training.metrics.estimates import LEAST_USERS, mean_and_se, users_by_label
from training.metrics.hypervolume import hypervolume
from training.nets.cp2rec.decomposed import Cp2recOptions
from training.nets.cp2rec.rivals import Cp2recRival, RivalOptions
from training.nets.registry import architecture

_BACKDOOR_DRAWS = 8
_GRID = np.linspace(0.0, 1.0, 11)

Score = Callable[[FittedNet, Rows], Floats]


class _Run(BaseModel):
    """The AUCs of one training, by tradeoff, and whether users suffice for their errors."""

    logged: tuple[float, ...]
    unbiased: tuple[float, ...]
    users_suffice: bool


@dataclass(frozen=True)
class Baseline:
    """The training and scoring of a baseline.

    trainings: the objective and options of a rival, one per training; empty for the net of
    ``plain``. score: returns the scores (T', R) of one training. The scores of all trainings, in
    order, are the points at ``tradeoffs`` (T,).
    """

    description: str
    score: Score
    tradeoffs: tuple[float, ...]
    trainings: tuple[Mapping[str, str | float], ...] = ({},)
    published: bool = False  # uses CP2Rec's published net
    blind: bool = False  # trains and scores with all proxies unknown


def measure_baseline(
    name: str, dataset: Dataset, config: Config, seeds: int, runs: RunStore
) -> Curve:
    """Return the curve of one baseline over ``seeds`` from ``config.seed`` on.

    ``config`` provides split and epochs and, if its net has one, the tower.
    """
    baseline = BASELINES[name]
    if baseline.blind:
        dataset = _without_proxies(dataset)
    seed_runs = []
    for seed in range(config.seed, config.seed + seeds):
        seeded = config.model_copy(update={"seed": seed})
        results = [
            _result(name, dataset, _config(baseline, changes, seeded), runs)
            for changes in baseline.trainings
        ]
        seed_runs.append(
            _Run(
                logged=tuple(x for result in results for x in result.logged),
                unbiased=tuple(x for result in results for x in result.unbiased),
                users_suffice=all(result.users_suffice for result in results),
            )
        )
    logged = np.array([run.logged for run in seed_runs])  # (S, T)
    unbiased = np.array([run.unbiased for run in seed_runs])
    areas = [
        hypervolume(list(zip(run.logged, run.unbiased, strict=True)), config.front.reference)
        for run in seed_runs
    ]
    over_seeds = partial(mean_and_se, users_suffice=all(run.users_suffice for run in seed_runs))
    return Curve(
        description=baseline.description,
        tradeoffs=baseline.tradeoffs,
        logged=tuple(map(over_seeds, logged.T)),
        unbiased=tuple(map(over_seeds, unbiased.T)),
        hypervolume=over_seeds(np.array(areas)),
    )


def has_tower(config: Config) -> bool:
    """Return whether baselines use the tower of ``config``; else they use ``cp2rec``'s."""
    return architecture(config.net).tower(config.net) is not None


def _result(name: str, dataset: Dataset, config: Config, runs: RunStore) -> _Run:
    return runs.result(
        RunKey.of(dataset, config),
        name,
        _Run,
        lambda: _measure(BASELINES[name], train_net(dataset, config, runs)),
    )


def _config(baseline: Baseline, changes: Mapping[str, Any], config: Config) -> Config:
    """Return the configuration of one training of a baseline."""
    published = load_config("cp2rec-paper")
    update = {"seed": config.seed, "split": config.split}
    if baseline.published:
        epochs = published.train.model_copy(update={"epochs": config.train.epochs})
        net: Any = replace(published.net, **changes)
        return published.model_copy(update={**update, "train": epochs, "net": net})
    if not has_tower(config):
        config = load_config("cp2rec").model_copy(update=update)
    tower = cast(Cp2recOptions, architecture(config.net).tower(config.net))
    if not changes:
        plain = replace(tower, exposure_weight=0.0, orthogonality_weight=0.0)
        return config.model_copy(update={"net": plain})
    rival = RivalOptions(tower=tower, **changes)
    return RivalConfig(**{**dict(config), "net": rival, "exposure": published.exposure})


def _measure(baseline: Baseline, fitted: FittedNet) -> _Run:
    impressions = fitted.dataset.impressions
    sides: list[tuple[float, ...]] = []
    users: list[int] = []
    for rows in (fitted.split.test, unbiased_rows(fitted.dataset, fitted.split)[0]):
        scores = baseline.score(fitted, rows)
        label = impressions.label[rows]
        sides.append(tuple(auc(label, row) for row in scores))
        users += users_by_label(impressions.user[rows], label).values()
    return _Run(logged=sides[0], unbiased=sides[1], users_suffice=min(users) >= LEAST_USERS)


def _head(w: float) -> Score:
    """Return the scoring function at one tradeoff; 0 and 1 are the heads of a two-headed net."""
    return lambda fitted, rows: fitted.score_rows(rows, np.array([w]))


def _mix(fitted: FittedNet, rows: Rows) -> Floats:
    return fitted.score_rows(rows, _GRID)


def _backdoor(fitted: FittedNet, rows: Rows) -> Floats:
    """Return (1 - w) mean_k f(c_k, z) + w f(c, z), c_k the proxies of random training rows."""
    logged = _head(1.0)(fitted, rows)  # (1, R)
    rng = np.random.default_rng(fitted.fit.evaluations)
    average = np.zeros_like(logged)
    for _ in range(_BACKDOOR_DRAWS):
        shuffled = shuffled_proxies(fitted.dataset, rows, fitted.split.train, rng)
        average += _head(1.0)(replace(fitted, dataset=shuffled), rows) / _BACKDOOR_DRAWS
    return np.asarray((1 - _GRID)[:, None] * average + _GRID[:, None] * logged)


def _penalty(fitted: FittedNet, rows: Rows) -> Floats:
    """Return f - (1 - w) log(1 + n_i), n_i the item's training clicks.

    The penalty has no weight, since logged rows alone could not tune it.
    """
    impressions, train = fitted.dataset.impressions, fitted.split.train
    clicks = np.bincount(
        impressions.item[train], impressions.label[train], minlength=len(fitted.dataset.item_ids)
    )
    logged = _head(1.0)(fitted, rows)
    return np.asarray(logged - (1 - _GRID)[:, None] * np.log1p(clicks)[impressions.item[rows]])


def _pda(fitted: FittedNet, rows: Rows) -> Floats:
    net = cast(Cp2recRival, fitted.net)
    debiased = torch.from_numpy(_head(0.0)(fitted, rows)[0]).to(net.device)
    item = torch.from_numpy(fitted.dataset.impressions.item[rows]).to(net.device)
    with torch.inference_mode():
        scores = [net.with_popularity(debiased, item, float(w)) for w in _GRID]
    return torch.stack(scores).cpu().numpy()


def _without_proxies(dataset: Dataset) -> Dataset:
    """Return the dataset with all proxies unknown. It has a fingerprint of its own."""
    blind = dataset.with_proxies(np.full_like(dataset.impressions.proxies, np.nan))
    fingerprint = hashlib.sha256(f"{dataset.fingerprint} without proxies".encode()).hexdigest()
    return replace(blind, fingerprint=fingerprint)


_CURVE = tuple(_GRID.tolist())
_PLAIN = ({"debias": "none", "purifier": "none"},)


def _rival(objective: str, **options: float) -> tuple[Mapping[str, str | float], ...]:
    return ({"objective": objective, **options},)


BASELINES = {
    "plain": Baseline("cross-entropy on all features", _head(1.0), (1.0,)),
    "no-proxy": Baseline("plain, never shown a proxy", _head(1.0), (1.0,), blind=True),
    "single": Baseline(
        "11 models, each trained for one w",
        _head(1.0),
        _CURVE,
        tuple({"objective": "single", "tradeoff": w} for w in _CURVE),
    ),
    "two-head": Baseline("mix of two heads, IPS", _mix, _CURVE, _rival("ips")),
    "backdoor": Baseline("plain, mixed with its mean over proxies", _backdoor, _CURVE),
    "penalty": Baseline("plain less log popularity", _penalty, _CURVE),
    "pda": Baseline("popularity to a learned exponent", _pda, _CURVE, _rival("pda")),
    "macr": Baseline("counterfactual subtraction", _mix, _CURVE, _rival("macr")),
    "ips": Baseline("debiased head, IPS", _head(0.0), (0.0,), _rival("ips")),
    "snips": Baseline("the same, SNIPS", _head(0.0), (0.0,), _rival("snips")),
    "pos": Baseline("the same, only clicks weighted", _head(0.0), (0.0,), _rival("pos")),
    "rel": Baseline("the same, squared Rel-MF", _head(0.0), (0.0,), _rival("rel")),
    "dcn-plain": Baseline("DCN, cross-entropy", _head(1.0), (1.0,), _PLAIN, published=True),
    "dcn-backdoor": Baseline(
        "DCN, mixed with its mean over proxies", _backdoor, _CURVE, _PLAIN, published=True
    ),
    "dcn-two-head": Baseline("CP2Rec as published, both heads", _mix, _CURVE, published=True),
}
