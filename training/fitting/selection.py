"""The selection rule of early stopping. It uses validation rows alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.arrays import Rows
from training.data.dataset import Dataset
from training.data.split import positives_only
from training.fitting.fitted_net import FittedNet
from training.metrics.auc import auc, gauc
from training.metrics.full_ranking import RECALL, RankingTask, full_ranking_by_user

_CELL_BINS = 8


def selection_rule(fitting: FittedNet) -> Callable[[], float]:
    """Return a function that computes the validation value of the current net; higher is better.

    With skips: the mean of two AUCs. The first is over all rows at w = 1. The second, at w = 0,
    compares only rows with the same proxy bins and position: exposure cannot explain why their
    labels differ. With clicks alone: recall of validation positives at w = 1.
    """
    if positives_only(fitting.dataset):
        return _recall(fitting)
    rows = fitting.split.validation
    label = fitting.dataset.impressions.label[rows]
    cell = _exposure_cells(fitting.dataset, rows)

    def value() -> float:
        debiased, logged = fitting.score_rows(rows, np.array([0.0, 1.0]))
        within_auc = gauc(cell, label, debiased, weight="pairs")
        overall_auc = auc(label, logged)
        return float(np.nanmean([overall_auc, within_auc]))

    return value


def _exposure_cells(dataset: Dataset, rows: Rows) -> Rows:
    """Return the cell (R,) of each row; rows of one cell share all bins of proxies and position."""
    impressions = dataset.impressions
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
    return cell


def _recall(fitting: FittedNet) -> Callable[[], float]:
    task = RankingTask.of(fitting.dataset, fitting.split)

    def value() -> float:
        score = fitting.catalogue_scores()(1.0)
        return float(np.mean(full_ranking_by_user(task, score, "validation")[RECALL]))

    return value
