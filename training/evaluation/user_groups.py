"""Calibration by group of users, and what a score may be called in its light."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from service.contract.front import Estimate, UserGroup
from service.contract.manifest import Calibration
from service.contract.measures import scaled_logit
from training.arrays import Floats
from training.data.dataset import Dataset
from training.data.split import Split, training_click_rates
from training.fitting.calibration import UNCALIBRATED
from training.metrics.calibration_error import mass_bins
from training.metrics.estimates import LEAST_USERS, mean_over_seeds_and_users

GROUPS = 10  # of equally many rows; fewer where a group would have too few users for an error
NEW = GROUPS  # the group of users without training rows
_USERS = 40  # in a group on average: more than the least for an error, as groups differ
MOST_GAP = 0.03  # of a click probability, beyond two standard errors


def user_groups(
    dataset: Dataset, split: Split, logit: Floats, calibration: Calibration
) -> tuple[UserGroup, ...]:
    """Return predicted and observed clicks of the test rows, grouped by their user's click rate.

    Ten groups, fewer with less than 400 users. logit (R,): of the test rows at w = 1. The rate is
    that of the user's training rows; users without any are a group of their own, left out where
    they are too few for an error. Empty for a score that was not calibrated.
    """
    if calibration == UNCALIBRATED:
        return ()
    impressions = dataset.impressions
    rate = training_click_rates(dataset, split)[impressions.user[split.test]]
    user, label = impressions.user[split.test], impressions.label[split.test]
    probability = expit(scaled_logit(calibration, logit))
    known = ~np.isnan(rate)
    group = np.full(len(rate), NEW)
    if known.any():
        groups = min(GROUPS, max(len(np.unique(user[known])) // _USERS, 1))
        group[known] = mass_bins(rate[known], groups)
    judged = known | (len(np.unique(user[~known])) >= LEAST_USERS)
    return tuple(
        UserGroup(
            group=int(g),
            users=len(np.unique(user[rows])),
            rows=int(np.count_nonzero(rows)),
            click_rate=None if g == NEW else float(rate[rows].mean()),
            predicted=float(probability[rows].mean()),
            observed=float(label[rows].mean()),
            gap=_mean_by_user(probability[rows] - label[rows], user[rows]),
        )
        for g in np.unique(group[judged])
        for rows in [group == g]
    )


def pool_user_groups(seeds: Sequence[tuple[UserGroup, ...]]) -> tuple[UserGroup, ...]:
    """Pool the groups of several seeds; leave out a group that one of them lacks."""
    tables = [{group.group: group for group in groups} for groups in seeds]
    pooled = []
    for number, first in tables[0].items():
        if not all(number in table for table in tables):
            continue
        groups = [table[number] for table in tables]
        means = {
            name: float(np.mean([getattr(group, name) for group in groups]))
            for name in ("click_rate", "predicted", "observed")
            if getattr(first, name) is not None
        }
        gap = mean_over_seeds_and_users([group.gap for group in groups])
        pooled.append(first.model_copy(update={**means, "gap": gap}))
    return tuple(pooled)


def meaning(calibration: Calibration, groups: Sequence[UserGroup]) -> str:
    """Return what the calibrated score may be called, with the largest gap of a group of users.

    A click probability only where no group's gap exceeds ``MOST_GAP`` by two standard errors.
    """
    if not groups:
        return calibration.meaning
    known = [group.gap for group in groups if group.gap.se is not None]
    if any(abs(gap.mean) - 2 * (gap.se or 0) > MOST_GAP for gap in known):
        return f"a rank score; not calibrated by user group: {largest_gap(groups)}"
    if len(known) < len(groups):
        return f"{calibration.meaning}; by user group unknown, for too few users"
    return f"{calibration.meaning}; by user group, the largest gap: {largest_gap(groups)}"


def largest_gap(groups: Sequence[UserGroup]) -> str:
    """Return the group whose prediction is furthest from its clicks, in words."""
    group = max(groups, key=lambda group: abs(group.gap.mean))
    error = "unknown" if group.gap.se is None else f"{group.gap.se:.3f}"
    rate = group.click_rate
    who = "without training rows" if rate is None else f"of training click rate {rate:.3f}"
    return (
        f"users {who} are predicted "
        f"{group.predicted:.3f} and click {group.observed:.3f} "
        f"(gap {group.gap.mean:+.3f} ± {error})"
    )


def _mean_by_user(excess: Floats, user: Floats) -> Estimate:
    """Return the mean of ``excess`` (R,) with its error over redrawn users, to first order."""
    mean = float(excess.mean())
    _, group = np.unique(user, return_inverse=True)
    totals = np.bincount(group, excess - mean)  # their sum is 0
    users = len(totals)
    if users < LEAST_USERS:
        return Estimate(mean=mean)
    return Estimate(mean=mean, se=float(np.sqrt(users / (users - 1) * totals @ totals) / len(user)))
