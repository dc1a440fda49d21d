"""What a model shows: the top of the whole catalogue, as the service ranks it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from service.contract.manifest import Estimate
from training.arrays import Floats, Rows
from training.metrics.estimates import mean_and_se


def shown_metrics(shown: Rows, clicks: Floats) -> dict[str, Estimate]:
    """Describe lists ``shown`` (U, K) by the training clicks (I,) of their items.

    Errors are those of the users drawn; inequality and coverage of one sample have none.
    """
    by_user = {
        "arp": average_popularity(shown, clicks),
        "popularity_percentile": average_popularity(shown, percentile_rank(clicks)),
        "tail_share": tail_share(shown, clicks),
    }
    exposures = np.bincount(shown.ravel(), minlength=len(clicks))
    return {
        **{name: mean_and_se(values) for name, values in by_user.items()},
        "exposure_gini": Estimate(mean=gini(exposures)),
        "coverage": Estimate(mean=coverage(shown, len(clicks))),
    }


def percentile_rank(values: Floats) -> NDArray[np.float64]:
    """Return where each value (I,) stands among all, in (0, 100): 50 on average, ties alike."""
    ranks: NDArray[np.float64] = 100 * (rankdata(values) - 0.5) / len(values)
    return ranks


def average_popularity(shown: Rows, popularity: Floats) -> NDArray[np.float64]:
    """Return the mean popularity (U,) of the items ``shown`` (U, K) to each user.

    ``popularity`` (I,) in any unit. Its mean over users is the average recommendation popularity
    (ARP) of Yin et al., VLDB 2012, as named by Abdollahpouri et al., FLAIRS 2019.
    """
    return np.asarray(popularity[shown].mean(axis=1, dtype=np.float64))


def tail_share(shown: Rows, popularity: Floats, tail: float = 0.8) -> NDArray[np.float64]:
    """Return the share (U,) of each user's ``shown`` (U, K) that is among the least popular items.

    The tail are the items with percentile rank up to 100 ``tail`` among ``popularity`` (I,). After
    the average percentage of long-tail items of Abdollahpouri et al., FLAIRS 2019.
    """
    return np.asarray((percentile_rank(popularity) <= 100 * tail)[shown].mean(axis=1))


def coverage(shown: Rows, items: int) -> float:
    """Return the share of ``items`` that anyone is shown, in [0, 1]; shown (U, K)."""
    return len(np.unique(shown)) / items


def gini(amount: Floats | Rows) -> float:
    """Return the Gini coefficient of amounts (I,) >= 0, NaN if all are 0.

    In [0, 1 - 1 / I]: 0 where all are equal, the most where one has everything. From the ordered
    amounts x_1 <= ... <= x_I: sum_i (2 i - I - 1) x_i / (I sum_i x_i).
    """
    count, total = len(amount), amount.sum()
    if not total:
        return float("nan")
    weight = 2 * np.arange(1, count + 1) - count - 1
    return float(weight @ np.sort(amount) / (count * total))
