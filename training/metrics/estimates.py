"""Means with their standard errors, in the contract's form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.contract.front import Estimate
from training.arrays import Floats, Rows

# An error over fewer users is unknown: it would itself be off by 13 % and more, 1 / sqrt(2 (n - 1))
# of n users, and the redraws of a single user do not vary at all.
LEAST_USERS = 30


def mean_and_se(values: Floats, *, users_suffice: bool = True) -> Estimate:
    """Return the mean of values (S,) with its standard error.

    The error is None for a single value, and unless ``users_suffice``.
    """
    se = finite(standard_error(values)) if users_suffice else None
    return Estimate(mean=float(values.mean()), se=se)


def mean_over_seeds(estimates: Sequence[Estimate], *, of_users: bool = True) -> Estimate:
    """Return the mean of one estimate per seed, with its standard error over seeds.

    Estimates ``of_users`` have an error over users; where it is None in a seed, for lack of users,
    it is None over seeds too.
    """
    means = np.array([estimate.mean for estimate in estimates])
    return mean_and_se(means, users_suffice=all_known(estimates) or not of_users)


def mean_over_seeds_and_users(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of one estimate per seed, with an error that covers users and seeds.

    Its variance is the sum of two: over users, the mean of the bootstrap variances, for seeds share
    their test users; and over seeds, 0 for a single one. None if one of ``estimates`` has no error.
    """
    means = np.array([estimate.mean for estimate in estimates])
    if not all_known(estimates):
        return Estimate(mean=float(means.mean()))
    user_variance = np.mean(np.square(np.array([e.se for e in estimates], np.float64)))
    seed_variance = means.var(ddof=1) / len(means) if len(means) > 1 else 0.0
    return Estimate(mean=float(means.mean()), se=float(np.sqrt(user_variance + seed_variance)))


def all_known(estimates: Sequence[Estimate]) -> bool:
    """Return whether all ``estimates`` have a standard error."""
    return all(estimate.se is not None for estimate in estimates)


def users_by_label(user: Rows, label: Floats) -> dict[str, int]:
    """Return the numbers of users with a click and with a skip; user, label (R,)."""
    clicks, rows = np.bincount(user, label), np.bincount(user)
    return {"click": int((clicks > 0).sum()), "skip": int((clicks < rows).sum())}


def redrawn_means(values: Floats, draws: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the means (B,) of values (U,) over redraws of the users (B, U), NaN values left out.

    NaN for values of fewer than ``LEAST_USERS`` users.
    """
    defined = ~np.isnan(values)
    if defined.sum() < LEAST_USERS:
        return np.full(len(draws), np.nan)
    return np.asarray((draws @ np.where(defined, values, 0.0)) / (draws @ defined))


def standard_error(values: Floats) -> Floats:
    """Return the standard error of the mean over the first axis; NaN for a single value."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(values.std(axis=0, ddof=1) / np.sqrt(len(values)))


def bootstrapped(mean: float, replicates: Floats) -> Estimate:
    """Return a mean with the standard deviation of its replicates (B,); None if one is NaN."""
    return Estimate(mean=mean, se=finite(replicates.std(ddof=1)))


def finite(value: np.floating | Floats) -> float | None:
    """Return the value as a float; None for NaN and infinity."""
    return float(value) if np.isfinite(value) else None
