"""How well items and users without a past are scored, beside those with one and beside priors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from service.contract.manifest import Estimate
from training.arrays import Floats, Rows
from training.config import Config
from training.data.dataset import SPLITS, Dataset
from training.data.split import Split, unbiased_rows
from training.errors import ConfigError
from training.evaluation.report.schema import Segment
from training.fitting.runs import over_seeds
from training.fitting.scoring import catalogue_states, score_rows
from training.fitting.train_net import Trained, train_net
from training.metrics.accuracy import Sample
from training.nets.base import FrontNet

TRADEOFFS = np.array([0.0, 0.5, 1.0])
_PRIOR_ROWS = 10.0  # at the mean click rate, so that few impressions move an item's rate little
_FIT_ROWS = 200_000

Scores = Mapping[str, Floats]
Axis = Literal["logged", "unbiased"]


class _Run(BaseModel):
    """One seed; errors of its AUCs are by bootstrap over users."""

    parts: tuple[Segment, ...]


def measure_cold(
    dataset: Dataset, config: Config, seeds: int, runs: Path, hidden_share: float
) -> tuple[Segment, ...]:
    """Return AUCs of cold and warm items and users over ``seeds``.

    Items are cold where no training row has them; so are users. And ``hidden_share`` of the users
    is kept from a second training, then scored from their history, and from nothing.
    """
    hidden = hidden_users(dataset, hidden_share)
    found = over_seeds(
        dataset,
        config,
        seeds,
        runs,
        f"cold-{hidden_share:g}",
        _Run,
        lambda run: _measure(dataset, run, runs, hidden),
    )
    return pool([run.parts for run in found])


def hidden_users(dataset: Dataset, share: float) -> Rows:
    """Return ``share`` of the users of logged rows, the same ones for every training."""
    impressions = dataset.impressions
    users = np.unique(impressions.user[~impressions.uniform])
    count = round(share * len(users))
    if share and not 0 < count < len(users):
        raise ConfigError(f"--cold-users: {share:g} of {len(users)} users leaves none on one side")
    return np.sort(np.random.default_rng(0).choice(users, count, replace=False))


def without_users(dataset: Dataset, split: Split, hidden: Rows) -> Dataset:
    """Return the dataset less what ``hidden`` users did before the test, its fingerprint changed.

    What is left keeps its part of ``split``.
    """
    impressions = dataset.impressions
    part = np.full(len(impressions), SPLITS.index("test"))
    part[split.train], part[split.validation] = SPLITS.index("train"), SPLITS.index("validation")
    keep = (part == SPLITS.index("test")) | ~np.isin(impressions.user, hidden)
    marked = replace(impressions, split=part)
    columns = {field.name: getattr(marked, field.name) for field in fields(marked)}
    kept: dict[str, Any] = {
        name: None if column is None else column[keep] for name, column in columns.items()
    }
    names = " ".join(dataset.user_ids[user] for user in hidden)
    fingerprint = hashlib.sha256(f"{dataset.fingerprint} without {names}".encode()).hexdigest()
    return replace(dataset, impressions=replace(marked, **kept), fingerprint=fingerprint)


@torch.inference_mode()
def users_by_history(
    net: FrontNet, dataset: Dataset, known: Tensor, users: Rows, rows: Rows
) -> Tensor:
    """Return user vectors (users, U) where ``users`` are encoded by what they clicked in ``rows``.

    As the service does for somebody without a record; without clicks, the average user.
    """
    vectors = net.user_vectors().clone()
    states = catalogue_states(net, dataset, known)
    impressions = dataset.impressions
    clicked = rows[(impressions.label[rows] > 0.5) & np.isin(impressions.user[rows], users)]
    clicked = clicked[np.argsort(impressions.user[clicked], kind="stable")]
    bounds = np.searchsorted(impressions.user[clicked], np.stack([users, users + 1]))
    items = torch.from_numpy(impressions.item[clicked])
    for user, start, end in zip(users.tolist(), *bounds.tolist(), strict=True):
        vectors[user] = net.user_encoder(states[items[start:end]])[0]
    return vectors


def priors(dataset: Dataset, rows: Rows, seed: int) -> dict[str, Floats]:
    """Return what a service without a model would rank all impressions (R,) by.

    ``click rate``: of the item among training ``rows``, the mean rate for an item without any.
    ``proxies``: P(click) by the row's proxies alone, boosted trees fitted to training rows.
    """
    impressions = dataset.impressions
    item, label = impressions.item[rows], impressions.label[rows]
    count = np.bincount(item, minlength=len(dataset.item_ids))
    clicks = np.bincount(item, label, minlength=len(dataset.item_ids))
    rate = (clicks + _PRIOR_ROWS * label.mean()) / (count + _PRIOR_ROWS)
    found: dict[str, Floats] = {"click rate": rate[impressions.item]}
    informative = ~np.isnan(impressions.proxies[rows]).all(axis=0)
    if informative.any():
        some = np.random.default_rng(seed).permutation(rows)[:_FIT_ROWS]
        proxies = impressions.proxies[:, informative]
        trees = HistGradientBoostingClassifier(random_state=seed)
        trees.fit(proxies[some], impressions.label[some])
        found["proxies"] = trees.decision_function(proxies)
    return found


def pool(seeds: list[tuple[Segment, ...]]) -> tuple[Segment, ...]:
    """Pool the parts of several seeds; a part or a score that a seed lacks is left out."""
    tables = [{(part.axis, part.who): part for part in parts} for parts in seeds]
    pooled = []
    for axis, who in tables[0]:
        if not all((axis, who) in table for table in tables):
            continue
        parts = [table[axis, who] for table in tables]
        counts = {
            name: float(np.mean([getattr(part, name) for part in parts]))
            for name in ("rows", "clicks", "users", "items")
        }
        aucs = {
            name: _pool_metric([part.auc[name] for part in parts])
            for name in parts[0].auc
            if all(name in part.auc for part in parts)
        }
        pooled.append(Segment(axis=axis, who=who, auc=aucs, **counts))
    return tuple(pooled)


def _pool_metric(metrics: list[Estimate]) -> Estimate:
    """Return the mean over seeds, which share their test users.

    Its variance is that of the users, the mean of the bootstraps, and that of the seeds' mean.
    """
    means = np.array([metric.mean for metric in metrics])
    errors = [metric.se for metric in metrics]
    if None in errors:
        return Estimate(mean=float(means.mean()))
    of_users = np.mean(np.square(np.array(errors, np.float64)))
    of_seeds = means.var(ddof=1) / len(means) if len(means) > 1 else 0.0
    return Estimate(mean=float(means.mean()), se=float(np.sqrt(of_users + of_seeds)))


def _measure(dataset: Dataset, config: Config, runs: Path, hidden: Rows) -> _Run:
    trained = train_net(dataset, config, runs)
    split, impressions = trained.split, dataset.impressions
    axes: dict[Axis, Rows] = {"logged": split.test, "unbiased": unbiased_rows(dataset, split)[0]}
    prior = priors(dataset, split.train, config.seed)
    past = np.isin(np.arange(len(dataset.user_ids)), impressions.user[split.train])
    parts = []
    for axis, rows in axes.items():
        scores = _scores(trained, dataset, rows)
        warm, past_of = trained.known.numpy()[impressions.item[rows]], past[impressions.user[rows]]
        for who, which in (
            ("warm items", warm),
            ("cold items", ~warm),
            ("new users", ~past_of),
        ):
            own = {name: score[which] for name, score in scores.items()}
            parts += _part(dataset, axis, who, rows[which], own, prior, config)
    if not len(hidden):
        return _Run(parts=tuple(parts))
    blind = train_net(without_users(dataset, split, hidden), config, runs)
    encoded = {
        "hidden users: by history": split.train,
        "hidden users: by nothing": split.train[:0],
    }
    vectors = {
        who: users_by_history(blind.net, dataset, blind.known, hidden, past_rows)
        for who, past_rows in encoded.items()
    }
    for axis, rows in axes.items():
        own_rows = rows[np.isin(impressions.user[rows], hidden)]
        known = _scores(trained, dataset, own_rows)
        parts += _part(dataset, axis, "hidden users: trained on", own_rows, known, prior, config)
        for who, users in vectors.items():
            scores = _scores(blind, dataset, own_rows, users)
            parts += _part(dataset, axis, who, own_rows, scores, prior, config)
    return _Run(parts=tuple(parts))


def _scores(trained: Trained, dataset: Dataset, rows: Rows, users: Tensor | None = None) -> Scores:
    logits = score_rows(trained.net, dataset, trained.known, rows, TRADEOFFS, users)
    return {f"w = {w:g}": logit for w, logit in zip(TRADEOFFS, logits, strict=True)}


def _part(
    dataset: Dataset,
    axis: Axis,
    who: str,
    rows: Rows,
    scores: Scores,
    prior: Scores,
    config: Config,
) -> list[Segment]:
    """Return the part of ``rows`` (R,), scores (R,) and priors (all rows,); none if one-sided."""
    impressions = dataset.impressions
    label = impressions.label[rows]
    if not 0 < label.sum() < len(label):
        return []
    sample = Sample.draw(dataset, rows, config.front.bootstrap, np.random.default_rng(config.seed))
    everything = {**scores, **{name: score[rows] for name, score in prior.items()}}
    return [
        Segment(
            axis=axis,
            who=who,
            rows=len(rows),
            clicks=float(label.sum()),
            users=len(np.unique(impressions.user[rows])),
            items=len(np.unique(impressions.item[rows])),
            auc={name: sample.auc(score) for name, score in everything.items()},
        )
    ]
