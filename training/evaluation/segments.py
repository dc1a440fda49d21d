"""AUC by segment of the test rows: cold items, popularity, missing modalities, new users."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from training.arrays import Flags, Floats, Rows
from training.config import Config
from training.data.dataset import SPLITS, Dataset
from training.data.split import Split, training_clicks, unbiased_rows
from training.errors import ConfigError
from training.evaluation.report.schema import Segment
from training.fitting.fitted_net import FittedNet
from training.fitting.runs import RunStore, over_seeds
from training.fitting.train_net import train_net
from training.metrics.accuracy import Sample
from training.metrics.estimates import mean_over_seeds_and_users

TRADEOFFS = np.array([0.0, 0.5, 1.0])
_PRIOR_ROWS = 10.0  # added to an item's rows at the mean click rate: shrinks rates of few rows
_FIT_ROWS = 200_000
_TENTHS = 10  # of the items, from those with the fewest training clicks

Scores = Mapping[str, Floats]
Side = Literal["logged", "unbiased"]


class _Run(BaseModel):
    """The segments of one seed, with errors by bootstrap over users."""

    segments: tuple[Segment, ...]


def measure_segments(
    dataset: Dataset, config: Config, seeds: int, runs: RunStore, hidden_share: float
) -> tuple[Segment, ...]:
    """Return the segments of the test rows, over ``seeds`` trainings.

    Cold items and new users have no training row. A second training leaves out ``hidden_share`` of
    the users. It scores their test rows with and without their history.
    """
    hidden = hidden_users(dataset, hidden_share)
    results = over_seeds(
        dataset,
        config,
        seeds,
        runs,
        f"segments-{hidden_share:g}",
        _Run,
        lambda run: _measure(dataset, run, runs, hidden),
    )
    return pool([run.segments for run in results])


def hidden_users(dataset: Dataset, share: float) -> Rows:
    """Return ``share`` of the users of logged rows, the same ones for each training.

    Raises ConfigError if a positive share comes to no user, or to all.
    """
    impressions = dataset.impressions
    users = np.unique(impressions.user[~impressions.uniform])
    count = round(share * len(users))
    if share and not 0 < count < len(users):
        raise ConfigError(
            f"--cold-users: {share:g} of {len(users)} users leaves none hidden or none to train on"
        )
    return np.sort(np.random.default_rng(0).choice(users, count, replace=False))


def without_users(dataset: Dataset, split: Split, hidden: Rows) -> Dataset:
    """Return the dataset without the training and validation rows of ``hidden`` users.

    All other rows keep their place in ``split``. The dataset has a fingerprint of its own.
    """
    impressions = dataset.impressions
    code = np.full(len(impressions), SPLITS.index("test"))
    code[split.train], code[split.validation] = SPLITS.index("train"), SPLITS.index("validation")
    remains = (code == SPLITS.index("test")) | ~np.isin(impressions.user, hidden)
    with_split = replace(impressions, split=code)
    columns = {field.name: getattr(with_split, field.name) for field in fields(with_split)}
    remaining: dict[str, Any] = {
        name: None if column is None else column[remains] for name, column in columns.items()
    }
    names = " ".join(dataset.user_ids[user] for user in hidden)
    fingerprint = hashlib.sha256(f"{dataset.fingerprint} without {names}".encode()).hexdigest()
    return replace(dataset, impressions=replace(with_split, **remaining), fingerprint=fingerprint)


def priors(dataset: Dataset, rows: Rows, seed: int) -> dict[str, Floats]:
    """Return scores (R,) of all impressions, computed without a net, by name.

    ``click rate``: the item's rate among training ``rows``, shrunk towards the mean rate.
    ``proxies``: the logit of a click by the row's proxies alone, from boosted trees fitted to
    training rows; absent if all proxies are unknown.
    """
    impressions = dataset.impressions
    item, label = impressions.item[rows], impressions.label[rows]
    count = np.bincount(item, minlength=len(dataset.item_ids))
    clicks = np.bincount(item, label, minlength=len(dataset.item_ids))
    rate = (clicks + _PRIOR_ROWS * label.mean()) / (count + _PRIOR_ROWS)
    scores: dict[str, Floats] = {"click rate": rate[impressions.item]}
    informative = ~np.isnan(impressions.proxies[rows]).all(axis=0)
    if informative.any():
        fit_rows = np.random.default_rng(seed).permutation(rows)[:_FIT_ROWS]
        proxies = impressions.proxies[:, informative]
        trees = HistGradientBoostingClassifier(random_state=seed)
        trees.fit(proxies[fit_rows], impressions.label[fit_rows])
        scores["proxies"] = trees.decision_function(proxies)
    return scores


def pool(seeds: list[tuple[Segment, ...]]) -> tuple[Segment, ...]:
    """Pool the segments of several seeds; leave out a segment or score that one of them lacks."""
    tables = [{(segment.side, segment.name): segment for segment in segments} for segments in seeds]
    pooled = []
    for side, name in tables[0]:
        if not all((side, name) in table for table in tables):
            continue
        segments = [table[side, name] for table in tables]
        counts = {
            count: float(np.mean([getattr(segment, count) for segment in segments]))
            for count in ("rows", "clicks", "users", "items")
        }
        aucs = {
            score: mean_over_seeds_and_users([segment.auc[score] for segment in segments])
            for score in segments[0].auc
            if all(score in segment.auc for segment in segments)
        }
        pooled.append(Segment(side=side, name=name, auc=aucs, **counts))
    return tuple(pooled)


def _measure(dataset: Dataset, config: Config, runs: RunStore, hidden: Rows) -> _Run:
    fitted = train_net(dataset, config, runs)
    split = fitted.split
    sides: dict[Side, Rows] = {"logged": split.test, "unbiased": unbiased_rows(dataset, split)[0]}
    prior = priors(dataset, split.train, config.seed)
    segments = []
    for side, rows in sides.items():
        scores = _scores(fitted, rows)
        for name, in_segment in _parts(fitted, rows):
            segment_scores = {score: values[in_segment] for score, values in scores.items()}
            segments += _segment(
                dataset, side, name, rows[in_segment], segment_scores, prior, config
            )
    if len(hidden):
        segments += _hidden_segments(fitted, sides, prior, config, runs, hidden)
    return _Run(segments=tuple(segments))


def _parts(fitted: FittedNet, rows: Rows) -> Iterator[tuple[str, Flags]]:
    """Yield the name of each part of ``rows`` (R,) and which of them are in it (R,)."""
    dataset, impressions = fitted.dataset, fitted.dataset.impressions
    item, user = impressions.item[rows], impressions.user[rows]
    warm = fitted.warm.cpu().numpy()[item]
    yield "warm items", warm
    yield "cold items", ~warm
    yield "new users", ~np.isin(user, impressions.user[fitted.split.train])
    clicks = training_clicks(dataset, fitted.split)
    order = np.empty(len(clicks), np.int64)
    order[np.argsort(clicks, kind="stable")] = np.arange(len(clicks))
    tenth = order[item] * _TENTHS // len(clicks)
    for place in range(_TENTHS):
        yield f"items by clicks, tenth {place + 1}", tenth == place
    for modality, present in zip(dataset.modalities, dataset.modality_mask[item].T, strict=True):
        yield f"items without {modality.name}", ~present


def _hidden_segments(
    fitted: FittedNet,
    sides: Mapping[Side, Rows],
    prior: Scores,
    config: Config,
    runs: RunStore,
    hidden: Rows,
) -> list[Segment]:
    """Return segments of the ``hidden`` users' rows, by nets trained with and without them."""
    dataset, train_rows = fitted.dataset, fitted.split.train
    blind = replace(
        train_net(without_users(dataset, fitted.split, hidden), config, runs), dataset=dataset
    )
    vectors = {
        "hidden users: by history": blind.user_vectors_by_history(hidden, train_rows),
        "hidden users: by nothing": blind.user_vectors_by_history(hidden, train_rows[:0]),
    }
    segments = []
    for side, all_rows in sides.items():
        rows = all_rows[np.isin(dataset.impressions.user[all_rows], hidden)]
        trained = _scores(fitted, rows)
        segments += _segment(
            dataset, side, "hidden users: trained on", rows, trained, prior, config
        )
        for name, users in vectors.items():
            segments += _segment(
                dataset, side, name, rows, _scores(blind, rows, users), prior, config
            )
    return segments


def _scores(fitted: FittedNet, rows: Rows, users: Tensor | None = None) -> Scores:
    logits = fitted.score_rows(rows, TRADEOFFS, users)
    return {f"w = {w:g}": logit for w, logit in zip(TRADEOFFS, logits, strict=True)}


def _segment(
    dataset: Dataset,
    side: Side,
    name: str,
    rows: Rows,
    scores: Scores,
    prior: Scores,
    config: Config,
) -> list[Segment]:
    """Return the segment of ``rows`` (R,); an empty list if they hold one label only.

    scores: values (R,) by name; prior: values of all impressions, by name.
    """
    impressions = dataset.impressions
    label = impressions.label[rows]
    if not 0 < label.sum() < len(label):
        return []
    sample = Sample.draw(dataset, rows, config.front.bootstrap, np.random.default_rng(config.seed))
    every_score = {**scores, **{prior_name: score[rows] for prior_name, score in prior.items()}}
    return [
        Segment(
            side=side,
            name=name,
            rows=len(rows),
            clicks=float(label.sum()),
            users=len(np.unique(impressions.user[rows])),
            items=len(np.unique(impressions.item[rows])),
            auc={score_name: sample.auc(score) for score_name, score in every_score.items()},
        )
    ]
