"""Targets: a measure that a ranking should have, in place of a tradeoff.

A front says what each tradeoff comes to in a measure. A ``Curve`` is the strictly monotone line
nearest to it, so that each value within its reach is that of one tradeoff.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from service.contract.front import Estimate, Front, FrontPoint
from service.contract.front_metrics import monitored

Floats = NDArray[np.float64]
Measure = Literal["tail_share", "popularity_percentile", "logged_auc_cost"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
COST: Measure = "logged_auc_cost"
# Measures of what rankings show: the service sees them, and can hold them.
SHOWN = frozenset(name for name, group, _ in monitored() if group == "shown") & set(MEASURES)


@dataclass(frozen=True)
class Curve:
    """A measure by tradeoff: ``values`` (T,), strictly monotone, at ascending ``tradeoffs`` (T,).

    T >= 2. Between them it is linear.
    """

    tradeoffs: Floats
    values: Floats

    @property
    def reach(self) -> tuple[float, float]:
        """The least and the greatest value."""
        ends = float(self.values[0]), float(self.values[-1])
        return min(ends), max(ends)

    def value(self, tradeoff: float) -> float:
        """Return the measure at a tradeoff."""
        return float(np.interp(tradeoff, self.tradeoffs, self.values))

    def tradeoff(self, value: float) -> float:
        """Return the tradeoff with a value of the measure; for one out of reach, that of an end."""
        step = 1 if self.values[-1] > self.values[0] else -1
        return float(np.interp(value, self.values[::step], self.tradeoffs[::step]))


def curves(front: Front) -> dict[Measure, Curve]:
    """Return the curve of each measure that the front has and that its tradeoff moves.

    ``logged_auc_cost`` is the logged AUC at w = 1 less that at w.
    """
    found: dict[Measure, Curve] = {}
    for measure in MEASURES:
        means = [_mean(point, measure) for point in front.points]
        known = np.array([mean is not None for mean in means])
        tradeoffs = np.array([point.tradeoff for point in front.points])[known]
        values = np.array([mean for mean in means if mean is not None], np.float64)
        if measure == COST and len(values):
            values = values[-1] - values
        if len(values) > 1 and (curve := _monotone(tradeoffs, values)) is not None:
            found[measure] = curve
    return found


def _mean(point: FrontPoint, measure: Measure) -> float | None:
    group: Mapping[str, Estimate] = point.logged if measure == COST else point.shown
    estimate = group.get("auc" if measure == COST else measure)
    return None if estimate is None else estimate.mean


def _monotone(tradeoffs: Floats, values: Floats) -> Curve | None:
    """Return the strictly monotone curve of points (T,); None where it would be level.

    Isotonic regression by pooling adjacent violators (Ayer et al., Annals of Mathematical
    Statistics 26, 1955), in the direction of the covariance. Points that are pooled become one
    at their mean tradeoff; those at the ends stay at the ends.
    """
    covariance = float((tradeoffs - tradeoffs.mean()) @ values)
    sign = 1.0 if covariance > 0 else -1.0
    pooled: list[tuple[float, float, int]] = []  # sums of tradeoffs and values, number of points
    for tradeoff, value in zip(tradeoffs.tolist(), (sign * values).tolist(), strict=True):
        pooled.append((tradeoff, value, 1))
        while len(pooled) > 1 and pooled[-2][1] / pooled[-2][2] >= pooled[-1][1] / pooled[-1][2]:
            last, before = pooled.pop(), pooled.pop()
            pooled.append((before[0] + last[0], before[1] + last[1], before[2] + last[2]))
    if len(pooled) < 2:
        return None
    at = np.array([total / count for total, _, count in pooled])
    at[0], at[-1] = tradeoffs[0], tradeoffs[-1]
    return Curve(at, sign * np.array([total / count for _, total, count in pooled]))
