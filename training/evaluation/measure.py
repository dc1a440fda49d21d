"""The measurement of a front: accuracy on both sides and the items shown, by tradeoff."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel
from tqdm import tqdm

from service.contract.front import Estimate, Front, FrontPoint, UserGroup
from training.arrays import Floats
from training.config import Config, FrontOptions
from training.data.dataset import Dataset
from training.data.split import positives_only, training_clicks, training_rows, unbiased_rows
from training.evaluation.anchors.measure import anchors_over_seeds
from training.evaluation.front import one_front, pool_fronts
from training.evaluation.ranking_front import measure_ranking_front
from training.evaluation.user_groups import user_groups
from training.evaluation.verdict import diagnose
from training.fitting.fitted_net import FittedNet, sample_users
from training.fitting.runs import RunStore, over_seeds
from training.fitting.train_net import train_net
from training.metrics.accuracy import Sample, logged_metrics, matched_metrics, row_metrics
from training.metrics.exposure import shown_metrics


def measure_front(fitted: FittedNet, options: FrontOptions, seed: int) -> Front:
    """Return the front: accuracy on both sides and the top 10 shown, at evenly spaced tradeoffs.

    Errors are by bootstrap over users; ``FRONT_METRICS`` lists the metrics. Clicks alone have no
    AUC: ``measure_ranking_front`` measures their front.
    """
    if positives_only(fitted.dataset):
        return measure_ranking_front(fitted, options, seed)
    dataset, split = fitted.dataset, fitted.split
    tradeoffs = np.linspace(0, 1, options.points)
    unbiased, kind = unbiased_rows(dataset, split)
    rng = np.random.default_rng(seed)
    clicks = training_clicks(dataset, split)
    tables: list[list[dict[str, Estimate]]] = []
    replicates: list[Floats] = []
    positives: dict[str, int] = {}
    groups: tuple[UserGroup, ...] = ()
    for side, rows in (("logged", split.test), ("unbiased", unbiased)):
        logits = fitted.score_rows(rows, tradeoffs)  # (T, R)
        sample = Sample.draw(dataset, rows, options.bootstrap, rng)
        log_theta = fitted.log_examination(rows)
        positives[side] = int(sample.label.sum())
        tables.append([])
        aucs, matched_aucs = [], []
        for w, logit in zip(tradeoffs, tqdm(logits, f"measure {side}", leave=False), strict=True):
            table, draws = row_metrics(sample, logit, fitted.calibration)
            by_popularity, matched_draws = matched_metrics(
                sample,
                logit,
                clicks[dataset.impressions.item[rows]],
                with_error=w in (0.0, 1.0),  # the verdict compares the ends
            )
            table |= by_popularity
            if side == "logged":
                table |= logged_metrics(sample, logit, fitted.calibration, log_theta)
            tables[-1].append(table)
            aucs.append(draws)
            matched_aucs.append(matched_draws)
        if side == "logged":
            groups = user_groups(dataset, split, logits[-1], fitted.calibration)
        replicates.append(np.stack(aucs, axis=1))  # (B, T)
    users = sample_users(dataset.impressions.user[split.test], len(dataset.item_ids))
    top, _ = fitted.rank_catalogue(users, tradeoffs)  # (T, U, K)
    counts = training_rows(dataset, split)
    points = tuple(
        FrontPoint(
            tradeoff=float(w), logged=logged_table, unbiased=unbiased_table, shown=shown_table
        )
        for w, logged_table, unbiased_table, shown_table in zip(
            tradeoffs, *tables, [shown_metrics(lists, clicks, counts) for lists in top], strict=True
        )
    )
    return one_front(
        points,
        replicates,
        np.stack(matched_aucs, axis=1),
        axis="auc",
        options=options,
        unbiased_kind=kind,
        positives=positives,
        user_groups=groups,
        diagnostic=diagnose(dataset, split.test, unbiased),
        seed=seed,
        dataset=dataset,
    )


def front_over_seeds(dataset: Dataset, config: Config, seeds: int, runs: RunStore) -> Front:
    """Return the pooled front of ``seeds`` trainings, with their anchors."""
    fronts = over_seeds(
        dataset,
        config,
        seeds,
        runs,
        "front",
        Front,
        lambda run: measure_front(train_net(dataset, run, runs), run.front, run.seed),
    )
    anchors = anchors_over_seeds(dataset, config, seeds, runs)
    return pool_fronts(fronts, config.front).model_copy(update={"anchors": anchors})


class _Curve(BaseModel):
    """The values of validation of one seed."""

    values: tuple[float, ...]


def training_curves(
    dataset: Dataset, config: Config, seeds: int, runs: RunStore
) -> tuple[tuple[float, ...], ...]:
    """Return the values of validation of ``seeds`` trainings, in their order."""
    curves = over_seeds(
        dataset,
        config,
        seeds,
        runs,
        "curve",
        _Curve,
        lambda run: _Curve(values=train_net(dataset, run, runs).fit.history),
    )
    return tuple(curve.values for curve in curves)
