"""The last day of a loop as a table, and what exploration cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from training.demo.loop.figures import Day
from training.metrics.estimates import mean_and_se

_COLUMNS = {
    "exposure_gini": "Gini",
    "tail_share": "long tail",
    "new_share": "new items",
    "liking": "liked",
    "clicks": "clicks",
}


def table(arms: Mapping[str, Sequence[Sequence[Day]]]) -> str:
    """Return figures of the last day by arm, as mean and standard error over seeds.

    Then, over all days, the cost of a uniform slot in true liking, and at how many points the
    measured unbiased AUC agrees with the truth. Then what drawn rankings would have come to at each
    tradeoff, by day.
    """
    lines = ["".join(f"{name:<18}" for name in ("last day", *_COLUMNS.values()))]
    for name, seeds in arms.items():
        cells = [_cell([getattr(days[-1], column) for days in seeds]) for column in _COLUMNS]
        lines.append("".join(f"{cell:<18}" for cell in (name, *cells)))
    all_days = [day for seeds in arms.values() for days in seeds for day in days]
    costs = [day.slot_cost for day in all_days if day.slot_cost is not None]
    if costs:
        lines.append(f"\na uniform slot costs {_cell(costs)} of liked places")
    points = [point for day in all_days for point in day.unbiased]
    agree = sum(point.agrees for point in points)
    lines.append(f"unbiased AUC on uniform slots as in truth: {agree} of {len(points)} points")
    speed = np.median([day.rankings_per_s for day in all_days])
    lines.append(f"rankings a second, with clicks reported, by one visitor at a time: {speed:.0f}")
    return "\n".join([*lines, *_unseen(all_days)])


def _unseen(days: Sequence[Day]) -> list[str]:
    """Return a line for each day with what its drawn rankings would have come to."""
    clicks = defaultdict[tuple[int, float], list[float]](list)
    for day in days:
        for unseen in day.unseen:
            clicks[day.day, unseen.tradeoff].append(unseen.clicks)
    by_day = defaultdict[int, list[str]](list)
    for (number, tradeoff), values in sorted(clicks.items()):
        by_day[number].append(f"{np.mean(values):.4f} at w = {tradeoff:g}")
    return [
        f"day {number}, drawn rankings, true clicks: {', '.join(parts)}"
        for number, parts in by_day.items()
    ]


def _cell(values: Sequence[float]) -> str:
    estimate = mean_and_se(np.array(values))
    return f"{estimate.mean:.4f}" + ("" if estimate.se is None else f" ± {estimate.se:.4f}")
