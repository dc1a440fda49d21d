"""The front of clicks alone: recall of held-out positives among the whole catalogue.

Without skips there is no AUC. The logged side is recall_at_20 of all test positives, the unbiased
side recall_at_20 of those on items with at most the median training count.
"""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from service.contract.front import Estimate, Front, FrontPoint
from training.arrays import Floats
from training.config import FrontOptions
from training.data.split import POPULARITY_SHIFT, training_clicks, training_rows
from training.evaluation.front import one_front
from training.evaluation.verdict import too_few_users
from training.fitting.fitted_net import FittedNet, sample_users
from training.metrics.estimates import redrawn_means
from training.metrics.exposure import shown_metrics
from training.metrics.full_ranking import (
    RECALL,
    TAIL_RECALL,
    HeldOut,
    RankingTask,
    full_ranking_by_user,
    mean_over_users,
)


def measure_ranking_front(
    fitted: FittedNet, options: FrontOptions, seed: int, split_name: HeldOut = "test"
) -> Front:
    """Return the front: full-ranking metrics and the top 10 shown, at evenly spaced tradeoffs.

    Errors are by bootstrap over users; all tradeoffs share the redraws.
    """
    dataset, split = fitted.dataset, fitted.split
    tradeoffs = np.linspace(0, 1, options.points)
    task = RankingTask.of(dataset, split)
    scores = fitted.catalogue_scores()
    by_user = [
        full_ranking_by_user(task, scores(float(w)), split_name)
        for w in tqdm(tradeoffs, desc=f"measure {split_name}", leave=False)
    ]
    users = sample_users(task.ranked_users(split_name), task.items)
    top, _ = fitted.rank_catalogue(users, tradeoffs)  # (T, U, K)
    clicks, counts = training_clicks(dataset, split), training_rows(dataset, split)
    points = tuple(
        _point(float(w), values, shown_metrics(lists, clicks, counts), seed)
        for w, values, lists in zip(tradeoffs, by_user, top, strict=True)
    )
    rng = np.random.default_rng(seed)
    count = len(by_user[0][RECALL])
    draws = rng.multinomial(count, np.full(count, 1 / count), options.bootstrap)  # (B, U')
    *replicates, matched = (
        np.stack([redrawn_means(values[name], draws) for values in by_user], axis=1)
        for name in (RECALL, TAIL_RECALL, "matched_auc")
    )
    positives = task.positives[split_name]
    return one_front(
        points,
        replicates,
        matched,
        axis=RECALL,
        options=options,
        unbiased_kind=POPULARITY_SHIFT,
        positives={
            "logged": positives.nnz,
            "unbiased": int(task.tail_items(split_name)[positives.indices].sum()),
        },
        diagnostic=_diagnose(task, split_name),
        seed=seed,
        dataset=dataset,
    )


def _point(
    tradeoff: float, values: dict[str, Floats], shown: dict[str, Estimate], seed: int
) -> FrontPoint:
    metrics = mean_over_users(values, seed)
    tail = metrics.pop(TAIL_RECALL)
    metrics.pop("arp")  # ``shown`` holds the arp of the first 10
    return FrontPoint(tradeoff=tradeoff, logged=metrics, unbiased={RECALL: tail}, shown=shown)


def _diagnose(task: RankingTask, split_name: HeldOut) -> str:
    """Return a text on users that are too few and on the popularity of both sides' positives."""
    positives = task.positives[split_name]  # (U, I)
    counts = task.train_counts[positives.indices]
    in_tail = task.tail_items(split_name)
    tail = in_tail[positives.indices]
    users = {
        "logged": {"click": len(task.ranked_users(split_name))},
        "unbiased": {"click": int(np.count_nonzero(positives @ in_tail))},
    }
    return (
        f"{too_few_users(users)}"
        f"median training clicks of an item: {np.median(task.train_counts):g}; of a {split_name} "
        f"positive's item: {np.median(counts):g} logged, {np.median(counts[tail]):g} unbiased"
    )
