"""The verdict on a front, and the diagnostic of its dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from training.arrays import Floats, Rows
from training.data.dataset import Dataset
from training.metrics.auc import auc
from training.metrics.estimates import LEAST_USERS, users_by_label

_MONOTONE = 0.9  # least |Spearman correlation| with w of a monotone front
_SPAN = 0.005  # least gain of each end of a clear front, in the unit of the axis
# Test clicks that a clear front needs on each side: an AUC of fewer is itself unsure by about .03.
LEAST_POSITIVES = 100


def diagnose(dataset: Dataset, logged: Rows, unbiased: Rows) -> str:
    """Return a text on users that are too few, and the AUC of each proxy alone on both sides.

    The sides are the rows ``logged`` and ``unbiased``. A front needs a proxy whose AUC differs
    between them. If a proxy ranks clicks equally well on both, its weight moves both sides
    together.
    """
    impressions = dataset.impressions
    sentences = []
    for index, proxy in enumerate(dataset.proxy_fields):
        score: Floats = impressions.proxies[:, index]
        if proxy.kind == "categorical":  # a category scores as its click rate on logged rows
            code = np.nan_to_num(score, nan=len(proxy.categories)).astype(np.int64)
            clicks = np.bincount(code[logged], impressions.label[logged], len(proxy.categories) + 1)
            count = np.bincount(code[logged], minlength=len(proxy.categories) + 1)
            score = (clicks / np.maximum(count, 1))[code]
        aucs = []
        for rows in (logged, unbiased):
            rows = rows[~np.isnan(score[rows])]  # rows with a known proxy
            aucs.append(auc(impressions.label[rows], score[rows]) if len(rows) else float("nan"))
        sentences.append(f"{proxy.name} alone: AUC {aucs[0]:.3f} logged, {aucs[1]:.3f} unbiased")
    users = {
        side: users_by_label(impressions.user[rows], impressions.label[rows])
        for side, rows in (("logged", logged), ("unbiased", unbiased))
    }
    return too_few_users(users) + (
        "; ".join(sentences) or "the dataset has no proxies, so nothing separates the two heads"
    )


def too_few_users(users: Mapping[str, Mapping[str, int]]) -> str:
    """Return why errors are unknown, each reason followed by "; "; empty where none is.

    ``users`` are numbers of users by side and by the label that they have.
    """
    return "".join(
        f"only {count} user{'s' if count != 1 else ''} with a {label} on the {side} side, "
        f"{LEAST_USERS} are needed: the error is unknown; "
        for side, counts in users.items()
        for label, count in counts.items()
        if count < LEAST_USERS
    )


def too_few_positives(positives: Mapping[str, int]) -> str:
    """Return why a front with ``positives`` on each side is not clear, each reason after "; "."""
    return "".join(
        f"; only {count} test clicks on the {side} side, a clear front needs {LEAST_POSITIVES}"
        for side, count in positives.items()
        if count < LEAST_POSITIVES
    )


def proven(gain: float | Floats, se: float | Floats) -> bool:
    """Return whether all gains exceed two standard errors, each of them known and above 0.

    Redraws or seeds that change nothing show nothing.
    """
    return bool(np.all((np.asarray(gain) > 2 * np.asarray(se)) & (np.asarray(se) > 0)))


def verdict(
    gain: Floats, gain_se: Floats, spearman: Mapping[str, float], positives: Mapping[str, int]
) -> Literal["clear", "weak", "none"]:
    """Judge a front by its gains (logged, unbiased), their standard errors and its monotonicity.

    none: a gain is not ``proven``. clear: both gains are at least .005, the front is monotone
    (|Spearman| >= .9 on both sides), and each side has ``LEAST_POSITIVES`` test clicks. weak: all
    other fronts.
    """
    if not proven(gain, gain_se):  # so also for NaN, an unknown error
        return "none"
    monotone = spearman["logged"] >= _MONOTONE and spearman["unbiased"] <= -_MONOTONE
    suffice = not too_few_positives(positives)
    return "clear" if monotone and suffice and (gain >= _SPAN).all() else "weak"
