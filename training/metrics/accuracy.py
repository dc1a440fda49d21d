"""Accuracy of scores on one side of a front, with errors by bootstrap over users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from service.contract.front import Estimate
from service.contract.manifest import Calibration
from service.contract.measures import scaled_logit
from training.arrays import Floats, Rows
from training.data.dataset import Dataset
from training.metrics.auc import auc, auc_by_user, auc_replicates, gauc
from training.metrics.calibration_error import expected_calibration_error, logloss, mass_bins
from training.metrics.estimates import LEAST_USERS, bootstrapped, users_by_label
from training.metrics.top_k import top_k_by_user

CALIBRATION_BINS = 15
POPULARITY_BINS = 20  # of equally many rows; a click is matched with the skips of its bin
MATCHED = "matched_row_auc"
TOP = 10


@dataclass(frozen=True)
class Sample:
    """The rows of one side, and B bootstrap redraws of their users.

    label (R,) 0 or 1; group (R,) in [0, G): the user of each row; weights (B, G): the number of
    times that a redraw contains each user. All metrics and tradeoffs share the redraws.
    """

    label: Floats
    group: Rows
    weights: NDArray[np.float32]

    @classmethod
    def draw(
        cls, dataset: Dataset, rows: Rows, replicates: int, rng: np.random.Generator
    ) -> Sample:
        """Return the sample of ``rows`` (R,); its users are redrawn ``replicates`` times."""
        users, group = np.unique(dataset.impressions.user[rows], return_inverse=True)
        weights = rng.multinomial(len(users), np.full(len(users), 1 / len(users)), replicates)
        return cls(dataset.impressions.label[rows], group, weights.astype(np.float32))

    def aucs(self, score: Floats, stratum: Rows | None = None) -> NDArray[np.float64]:
        """Return the AUC (B,) of scores (R,) in each redraw; within ``stratum`` (R,) if given.

        NaN where a redraw holds one label only, and for fewer than ``LEAST_USERS`` users with a
        click or with a skip.
        """
        if min(users_by_label(self.group, self.label).values()) < LEAST_USERS:
            return np.full(len(self.weights), np.nan)
        return auc_replicates(self.label, score, self.group, self.weights, stratum)

    def auc(self, score: Floats) -> Estimate:
        """Return the AUC of scores (R,) with its error; the sample must hold both labels."""
        return bootstrapped(auc(self.label, score), self.aucs(score))

    def gauc(self, score: Floats) -> tuple[float, Floats] | None:
        """Return the GAUC of scores (R,), and in each redraw (B,); None if no user has both labels.

        A user's weight are its rows, those of users with both labels.
        """
        users, user_auc, rows, _ = auc_by_user(self.group, self.label, score)
        if not len(users):
            return None
        mean = float(np.average(user_auc, weights=rows))
        return mean, self.means(user_auc * rows, rows, users)

    def means(
        self, total: Floats | Rows, count: Floats | Rows, users: Rows | slice = slice(None)
    ) -> Floats:
        """Return the ratio of summed ``total`` to summed ``count`` (B, ...) in each redraw.

        total, count (G', ...) of ``users`` (G',), by default of all. NaN for fewer than
        ``LEAST_USERS`` users.
        """
        weights = self.weights[:, users]
        if weights.shape[1] < LEAST_USERS:
            weights = np.full_like(weights, np.nan)
        with np.errstate(invalid="ignore"):  # a redraw may contain none of these users
            return np.asarray((weights @ total).T / (weights @ count)).T


def row_metrics(
    sample: Sample, logit: Floats, calibration: Calibration
) -> tuple[dict[str, Estimate], Floats]:
    """Return the metrics of logits (R,) on a sample by name, and the AUC's replicates (B,).

    auc; logloss of the calibrated probability, in nats; and, within users that have both labels,
    gauc, weighted by rows, and ndcg_at_10 and recall_at_10, each user with equal weight.
    """
    label, group = sample.label, sample.group
    scaled = scaled_logit(calibration, logit)
    row_loss = np.logaddexp(0, scaled) - label * scaled
    aucs = sample.aucs(logit)
    losses = sample.means(np.bincount(group, row_loss), np.bincount(group))
    table = {
        "auc": bootstrapped(auc(label, logit), aucs),
        "logloss": bootstrapped(logloss(label, expit(scaled)), losses),
    }
    gauc = sample.gauc(logit)
    if gauc is None:
        return table, aucs
    table["gauc"] = bootstrapped(*gauc)
    users, ndcg, recall = top_k_by_user(group, label, logit, TOP)
    for name, value in ((f"ndcg_at_{TOP}", ndcg), (f"recall_at_{TOP}", recall)):
        means = sample.means(value, np.ones(len(users)), users)
        table[name] = bootstrapped(float(value.mean()), means)
    return table, aucs


def matched_metrics(
    sample: Sample, logit: Floats, popularity: Floats, *, with_error: bool = True
) -> tuple[dict[str, Estimate], Floats]:
    """Return the matched AUC of logits (R,) by name, and its replicates (B,).

    popularity (R,) of each row's item, in any unit. A click is compared with the skips of its
    twentieth of the rows by popularity: a score of popularity alone has about .5. No metric if no
    twentieth holds both labels. Without ``with_error`` the replicates, which take as long as those
    of the AUC, are NaN.
    """
    bins = mass_bins(popularity, POPULARITY_BINS)
    mean = gauc(bins, sample.label, logit, "pairs")
    replicates = sample.aucs(logit, bins) if with_error else np.full(len(sample.weights), np.nan)
    return ({} if np.isnan(mean) else {MATCHED: bootstrapped(mean, replicates)}), replicates


def logged_metrics(
    sample: Sample, logit: Floats, calibration: Calibration, log_theta: Floats | None
) -> dict[str, Estimate]:
    """Return the metrics of the logged side alone, by name, for logits (R,).

    ece: expected calibration error of the calibrated probability. auc_with_position, only with
    ``log_theta`` (R,): AUC of P(click at position k) = theta_k sigmoid(logit).
    """
    probability = expit(scaled_logit(calibration, logit))
    cell = sample.group * CALIBRATION_BINS + mass_bins(probability, CALIBRATION_BINS)
    cells = sample.weights.shape[1] * CALIBRATION_BINS
    excess = np.bincount(cell, sample.label - probability, cells).reshape(-1, CALIBRATION_BINS)
    eces = np.abs(sample.means(excess, np.bincount(sample.group))).sum(axis=1)
    ece = expected_calibration_error(sample.label, probability, CALIBRATION_BINS)
    table = {"ece": bootstrapped(ece, eces)}
    if log_theta is not None:
        table["auc_with_position"] = sample.auc(log_theta + log_expit(logit.astype(np.float64)))
    return table
