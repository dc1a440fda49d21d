"""Plots of fronts and baselines."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from service.contract.front import Front
from training.data.split import POPULARITY_SHIFT
from training.evaluation.report.schema import Curve

_SHOWN = "popularity_percentile"
_LABELLED = (0.0, 0.5, 1.0)
_STYLE: dict[str, Any] = {
    "marker": "o",
    "markersize": 4,
    "elinewidth": 0.6,
    "capsize": 2,
    "linewidth": 1.2,
}
_CURVES = [(marker, f"C{color}") for marker in ".x" for color in range(1, 10)]  # C0: the front


def plot_front(
    fronts: Sequence[Front],
    file: Path | IO[bytes],
    *,
    title: str,
    curves: Mapping[str, Curve] | None = None,
) -> None:
    """Write a PNG of fronts, with bars of 2 standard errors, and of baselines: both sides.

    A second plot shows the popularity of the items shown, by tradeoff, if all fronts measured it.
    """
    shown = all(_SHOWN in point.shown for front in fronts for point in front.points)
    figure = Figure(figsize=(11, 4.8) if shown else (6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1, 2, width_ratios=(3, 2)) if shown else figure.add_gridspec(1, 1)
    axes = figure.add_subplot(grid[0])
    _draw_fronts(axes, fronts, title)
    _draw_curves(axes, curves or {})
    if shown:
        _draw_shown(figure.add_subplot(grid[1]), fronts)
    figure.savefig(file, format="png", dpi=120)


def plot_curves(curves: Mapping[str, Curve], file: Path | IO[bytes], *, title: str) -> None:
    """Write a PNG of the baselines of a full ranking, both sides, without a front."""
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlabel("recall@20 of all test positives")
    axes.set_ylabel("recall@20 of those on less popular items")
    axes.set_title(title, fontsize=9)
    _draw_curves(axes, curves)
    figure.savefig(file, format="png", dpi=120)


def _draw_fronts(axes: Axes, fronts: Sequence[Front], title: str) -> None:
    for front in fronts:
        x = [point.logged[front.axis] for point in front.points]
        y = [point.unbiased[front.axis] for point in front.points]
        axes.errorbar(
            [metric.mean for metric in x],
            [metric.mean for metric in y],
            xerr=[2 * (metric.se or 0.0) for metric in x],
            yerr=[2 * (metric.se or 0.0) for metric in y],
            label=f"{front.dataset}, seeds {', '.join(map(str, front.seeds))}",
            **_STYLE,
        )
        for point, logged, unbiased in zip(front.points, x, y, strict=True):
            if point.tradeoff in _LABELLED:
                axes.annotate(
                    f"w = {point.tradeoff:g}", (logged.mean, unbiased.mean),
                    textcoords="offset points", xytext=(6, 6), fontsize=9,
                    bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7},
                )  # fmt: skip
    front = fronts[0]
    axes.set_xlabel(f"{front.axis.upper()} on logged traffic")
    kind = front.unbiased_kind
    traffic = f"the {kind}" if kind == POPULARITY_SHIFT else f"unbiased traffic ({kind})"
    axes.set_ylabel(f"{front.axis.upper()} on {traffic}")
    axes.set_title(f"{title}: front {front.verdict}; bars: 2 standard errors {front.se_kind}",
                   fontsize=9)  # fmt: skip


def _draw_curves(axes: Axes, curves: Mapping[str, Curve]) -> None:
    styles = itertools.cycle(_CURVES)
    for (name, curve), (marker, color) in zip(curves.items(), styles, strict=False):
        x_means = [metric.mean for metric in curve.logged]
        y_means = [metric.mean for metric in curve.unbiased]
        axes.plot(x_means, y_means, marker=marker, color=color, linewidth=0.8, label=name)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _draw_shown(axes: Axes, fronts: Sequence[Front]) -> None:
    for front in fronts:
        popularity = [point.shown[_SHOWN] for point in front.points]
        axes.errorbar(
            [point.tradeoff for point in front.points],
            [metric.mean for metric in popularity],
            yerr=[2 * (metric.se or 0.0) for metric in popularity],
            **_STYLE,
        )
    axes.set_xlabel("tradeoff w")
    axes.set_ylabel("mean popularity percentile (50: the median item)")
    axes.set_title("Items shown: top 10 of the whole catalogue", fontsize=9)
    axes.grid(alpha=0.3)
