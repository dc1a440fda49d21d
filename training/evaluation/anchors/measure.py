"""The measurement of anchors: on the test rows of a fitted net, beside the net at w = 1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np

from service.contract.front import Anchor, Anchors, Estimate
from training.arrays import Floats
from training.config import Config
from training.data.dataset import Dataset
from training.data.split import positives_only
from training.evaluation.anchors.averages import item_and_user, proxy_alone
from training.evaluation.anchors.factorisation import matrix_factorisation
from training.evaluation.anchors.outcome import judged, pool_anchors
from training.evaluation.anchors.task import AnchorTask
from training.evaluation.anchors.trees import ABSENT, boosted_trees, is_installed
from training.evaluation.baselines.full_ranking import RANKING_BASELINES, Untrained
from training.fitting.fitted_net import FittedNet
from training.fitting.runs import Arrays, RunKey, RunStore, over_seeds
from training.fitting.train_net import train_net
from training.metrics.accuracy import Sample
from training.metrics.auc import auc
from training.metrics.estimates import bootstrapped, redrawn_means
from training.metrics.full_ranking import (
    RECALL,
    RankingTask,
    Scores,
    full_ranking_by_user,
    mean_recall,
)

_NEIGHBOUR_ITEMS = 50_000  # most items for ItemKNN, whose rows of similarities are dense
_TOO_MANY_ITEMS = (
    f"item-knn is not among the anchors: the catalogue has more than {_NEIGHBOUR_ITEMS} items"
)


def measure_anchors(fitted: FittedNet, config: Config, runs: RunStore) -> Anchors:
    """Return the anchors of a net, with errors by bootstrap over users, paired with the net.

    The scores of anchors are kept in ``runs``: every net on the same dataset and split has the same
    ones. On clicks alone the metric is recall_at_20, else AUC.
    """
    measure = _ranked if positives_only(fitted.dataset) else _classified
    return judged(measure(fitted, config, runs))


def anchors_over_seeds(dataset: Dataset, config: Config, seeds: int, runs: RunStore) -> Anchors:
    """Return the pooled anchors of ``seeds`` trainings."""
    results = over_seeds(
        dataset,
        config,
        seeds,
        runs,
        "anchors-with-trees" if is_installed() else "anchors",
        Anchors,
        lambda run: measure_anchors(train_net(dataset, run, runs), run, runs),
    )
    return pool_anchors(results)


def _classified(fitted: FittedNet, config: Config, runs: RunStore) -> Anchors:
    dataset, seed = fitted.dataset, config.seed
    task = AnchorTask.of(dataset, fitted.split, seed)
    options = {"split": config.split.model_dump(), "trees": is_installed()}
    key = RunKey("anchors", seed, dataset.fingerprint, options)
    scores = runs.arrays(key, "scores", lambda: anchor_scores(task, seed))
    rng = np.random.default_rng(seed)
    sample = Sample.draw(dataset, task.test, config.front.bootstrap, rng)
    model = fitted.score_rows(task.test, np.ones(1))[0]
    model_auc, model_draws = auc(sample.label, model), sample.aucs(model)
    model_gauc = sample.gauc(model)
    anchors = []
    for name, score in scores.items():
        value, draws = auc(sample.label, score), sample.aucs(score)
        gauc = sample.gauc(score)
        anchors.append(
            Anchor(
                name=name,
                value=bootstrapped(value, draws),
                gauc=gauc and bootstrapped(*gauc),
                lead=bootstrapped(model_auc - value, model_draws - draws),
                gauc_lead=gauc
                and model_gauc
                and bootstrapped(model_gauc[0] - gauc[0], model_gauc[1] - gauc[1]),
            )
        )
    return Anchors(
        metric="auc",
        model=bootstrapped(model_auc, model_draws),
        model_gauc=model_gauc and bootstrapped(*model_gauc),
        anchors=tuple(anchors),
        beaten=False,
        rows=len(task.train),
        skipped=() if is_installed() else (ABSENT,),
    )


def anchor_scores(task: AnchorTask, seed: int) -> Arrays:
    """Return the scores (R,) of test rows by every anchor that is there, by name."""
    scores = {"item rate + user rate": item_and_user(task)}
    for index, proxy in enumerate(task.dataset.proxy_fields):
        scores[f"{proxy.name} alone"] = proxy_alone(task, index)
    scores["matrix factorisation"] = matrix_factorisation(task, seed)
    if is_installed():
        scores["LightGBM"] = boosted_trees(task, seed)
    return scores


def _ranked(fitted: FittedNet, config: Config, _runs: RunStore) -> Anchors:
    task = RankingTask.of(fitted.dataset, fitted.split)
    model = full_ranking_by_user(task, fitted.catalogue_scores()(1.0), "test")[RECALL]  # (U',)
    rng = np.random.default_rng(config.seed)
    draws = rng.multinomial(len(model), np.full(len(model), 1 / len(model)), config.front.bootstrap)

    def mean(values: Floats) -> Estimate:
        return bootstrapped(float(values.mean()), redrawn_means(values, draws))

    anchors = []
    for name, score in _rankers(task):
        recall = full_ranking_by_user(task, score, "test")[RECALL]
        anchors.append(Anchor(name=name, value=mean(recall), lead=mean(model - recall)))
    return Anchors(
        metric="recall_at_20",
        model=mean(model),
        anchors=tuple(anchors),
        beaten=False,
        rows=len(fitted.split.train),
        skipped=(_TOO_MANY_ITEMS,) if task.items > _NEIGHBOUR_ITEMS else (),
    )


def _rankers(task: RankingTask) -> Iterator[tuple[str, Scores]]:
    """Yield the anchors on clicks alone; validation recall chooses their options."""
    names = ("popularity", "item-knn") if task.items <= _NEIGHBOUR_ITEMS else ("popularity",)
    for name in names:
        ranker = cast(Untrained, RANKING_BASELINES[name].ranker)
        candidates = [ranker.fit(task, **options) for options in ranker.grid]
        if len(candidates) > 1:
            recalls = [mean_recall(task, score, "validation") for score in candidates]
            candidates = [candidates[int(np.argmax(recalls))]]
        yield name, candidates[0]
