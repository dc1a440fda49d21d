"""The selection rule of early stopping."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from training.data.dataset import Dataset
from training.data.split import Split, positives_only
from training.fitting.scoring import catalogue_scores, score_rows
from training.metrics.auc import auc, gauc
from training.metrics.full_ranking import (
    AXIS,
    RankingTask,
    full_ranking_by_user,
)
from training.nets.base import FrontNet

_CELL_BINS = 8


def validation(dataset: Dataset, known: torch.Tensor, split: Split) -> Callable[[FrontNet], float]:
    """Return the selection rule: both ends of the front judged on logged validation rows.

    The mean of AUC at w = 1, and at w = 0 of the AUC of pairs that share a cell of proxy bins
    and position, where exposure can not tell the two apart. Of clicks alone there is no AUC:
    ``ranking_validation``.
    """
    if positives_only(dataset):
        return ranking_validation(dataset, known, split)
    impressions = dataset.impressions
    rows = split.validation
    label = impressions.label[rows]
    cell = np.zeros(len(rows), np.int64)
    columns = list(impressions.proxies[rows].T)
    if impressions.position is not None:
        columns.append(impressions.position[rows].astype(np.float32))
    for column in columns:
        if np.isnan(column).all():
            continue
        cuts = np.nanquantile(column, np.linspace(0, 1, _CELL_BINS + 1)[1:-1])
        code = np.where(np.isnan(column), len(cuts) + 1, np.digitize(column, cuts))
        cell = cell * (_CELL_BINS + 1) + code

    def value(net: FrontNet) -> float:
        debiased, logged = score_rows(net, dataset, known, rows, np.array([0.0, 1.0]))
        within = gauc(cell, label, debiased, weight="pairs")
        overall = auc(label, logged)
        return float(np.nanmean([overall, within]))

    return value


def ranking_validation(
    dataset: Dataset, known: torch.Tensor, split: Split
) -> Callable[[FrontNet], float]:
    """Return the selection rule: recall of validation positives at w = 1."""
    task = RankingTask.of(dataset, split)

    def value(net: FrontNet) -> float:
        score = catalogue_scores(net, dataset, known)(1.0)
        return float(np.mean(full_ranking_by_user(task, score, "validation")[AXIS]))

    return value
