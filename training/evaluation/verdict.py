"""Whether a front is real: the verdict and the diagnostic."""

from __future__ import annotations

from typing import Literal

import numpy as np

from training.arrays import Floats, Rows
from training.data.dataset import Dataset
from training.metrics.auc import auc

_MONOTONE = 0.9  # Spearman correlation from which a front counts as monotone
_SPAN = 0.005  # of the axis, that each end must win


def diagnose(dataset: Dataset, logged: Rows, unbiased: Rows) -> str:
    """Say whether each proxy tells clicks apart differently on the two axes.

    A front needs that: where a proxy ranks clicks equally well on both, leaving it out or in
    moves both axes together.
    """
    impressions = dataset.impressions
    lines = []
    for index, proxy in enumerate(dataset.proxy_fields):
        score: Floats = impressions.proxies[:, index]
        if proxy.kind == "categorical":  # a category scores as its click rate on logged rows
            code = np.nan_to_num(score, nan=len(proxy.categories)).astype(np.int64)
            clicks = np.bincount(code[logged], impressions.label[logged], len(proxy.categories) + 1)
            count = np.bincount(code[logged], minlength=len(proxy.categories) + 1)
            score = (clicks / np.maximum(count, 1))[code]
        aucs = []
        for rows in (logged, unbiased):
            rows = rows[~np.isnan(score[rows])]  # that have the proxy
            aucs.append(auc(impressions.label[rows], score[rows]) if len(rows) else float("nan"))
        lines.append(f"{proxy.name} alone: AUC {aucs[0]:.3f} logged, {aucs[1]:.3f} unbiased")
    return "; ".join(lines) or "the dataset has no proxies, so nothing separates the two heads"


def verdict(
    gain: Floats, gain_se: Floats, spearman: dict[str, float]
) -> Literal["clear", "weak", "none"]:
    """Judge a front by its gains (logged, unbiased), their standard errors and monotonicity.

    none: a gain is within 2 standard errors of nothing. clear: both gains are at least .005
    and the front is monotone (|Spearman| >= .9 on both axes). weak: the rest.
    """
    if not (gain > 2 * gain_se).all():  # also where an error is unknown
        return "none"
    monotone = spearman["logged"] >= _MONOTONE and spearman["unbiased"] <= -_MONOTONE
    return "clear" if monotone and (gain >= _SPAN).all() else "weak"
