"""Exposure bias of the top of the whole catalogue, ranked as the service ranks it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from service.contract.front import Estimate
from service.contract.measures import gini, in_tail
from training.arrays import Floats, Rows
from training.metrics.estimates import LEAST_USERS, mean_and_se

_RARE = 3  # training rows: an item with fewer is ranked by its content


def shown_metrics(shown: Rows, clicks: Floats, rows: Floats) -> dict[str, Estimate]:
    """Describe lists ``shown`` (U, K) by the training clicks and training rows (I,) of their items.

    The standard errors are over the sampled users, unknown for fewer than ``LEAST_USERS``;
    inequality, coverage and numbers of items have none.
    """
    rare = rows < _RARE
    users_suffice = len(shown) >= LEAST_USERS
    by_user = {
        "arp": average_popularity(shown, clicks),
        "popularity_percentile": average_popularity(shown, percentile_rank(clicks)),
        "tail_share": tail_share(shown, clicks),
        "rare_share": rare[shown].mean(axis=1),
    }
    exposures = np.bincount(shown.ravel(), minlength=len(clicks))
    return {
        **{
            name: mean_and_se(values, users_suffice=users_suffice)
            for name, values in by_user.items()
        },
        "exposure_gini": Estimate(mean=gini(exposures)),
        "coverage": Estimate(mean=coverage(shown, len(clicks))),
        "rare_items": Estimate(mean=float(np.count_nonzero(rare & (exposures > 0)))),
    }


def percentile_rank(values: Floats) -> NDArray[np.float64]:
    """Return the percentile of each value (I,) among all, in (0, 100): 50 on average.

    Equal values have equal percentiles.
    """
    ranks: NDArray[np.float64] = 100 * (rankdata(values) - 0.5) / len(values)
    return ranks


def average_popularity(shown: Rows, popularity: Floats) -> NDArray[np.float64]:
    """Return the mean popularity (U,) of the items ``shown`` (U, K) to each user.

    ``popularity`` (I,) in any unit. Its mean over users is the average recommendation popularity
    (ARP) of Yin et al., VLDB 2012, as named by Abdollahpouri et al., FLAIRS 2019.
    """
    return np.asarray(popularity[shown].mean(axis=1, dtype=np.float64))


def tail_share(shown: Rows, popularity: Floats) -> NDArray[np.float64]:
    """Return the share (U,) of each user's list ``shown`` (U, K) that is in the tail.

    ``measures.in_tail`` defines the tail; ``popularity`` (I,) in any unit.
    """
    return np.asarray(in_tail(percentile_rank(popularity))[shown].mean(axis=1))


def coverage(shown: Rows, items: int) -> float:
    """Return the share of ``items`` that at least one user is shown, in [0, 1]; shown (U, K)."""
    return len(np.unique(shown)) / items
