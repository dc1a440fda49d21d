"""The plot of a front: both sides, rivals and the items shown."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from matplotlib.axes import Axes

from service.contract.front import Estimate, Front
from training.data.split import POPULARITY_SHIFT
from training.evaluation.report.schema import Curve
from training.evaluation.report.style import (
    LINE,
    OTHER,
    OURS,
    PAPER,
    QUIET,
    Name,
    drawn,
    name_in_margin,
)

_SHOWN = "popularity_percentile"
_LABELLED = {0.0: (7, 9), 0.5: (9, -3), 1.0: (7, -15)}  # offsets of the labels, in points
_BARS: dict[str, Any] = {"elinewidth": 0.8, "capsize": 0, "markersize": 5, "linewidth": 2}
_OURS = ((OURS, "o"), (OTHER, "s"))  # of one front, and of a second that it is compared with
_RIVALS = [(marker, fill) for fill in (QUIET, PAPER) for marker in "^vDPX<>phd*8"]  # all are grey


def plot_front(
    front: Front,
    file: Path | IO[bytes],
    *,
    title: str,
    curves: Mapping[str, Curve] | None = None,
) -> None:
    """Write a PNG of a front, with bars of 2 standard errors, and of baselines.

    A second plot shows the popularity of the items shown, by tradeoff, if the front measured it.
    """
    shown = all(_SHOWN in point.shown for point in front.points)
    with drawn(11 if shown else 7.5, 4.6) as figure:
        grid = (
            figure.add_gridspec(1, 2, width_ratios=(3, 2)) if shown else figure.add_gridspec(1, 1)
        )
        front_axes(figure.add_subplot(grid[0]), [front], curves or {})
        if shown:
            _draw_popularity(figure.add_subplot(grid[1]), front)
        figure.suptitle(title, fontsize=12, x=0.01, ha="left")
        figure.savefig(file, format="png", dpi=120)


def plot_curves(curves: Mapping[str, Curve], file: Path | IO[bytes], *, title: str) -> None:
    """Write a PNG of the baselines of a full ranking, both sides, without a front."""
    with drawn(7.5, 4.6) as figure:
        curves_axes(figure.add_subplot(), curves)
        figure.suptitle(title, fontsize=12, x=0.01, ha="left")
        figure.savefig(file, format="png", dpi=120)


def front_axes(
    axes: Axes,
    fronts: Sequence[Front],
    curves: Mapping[str, Curve],
    called: Sequence[str] = ("this model",),
) -> None:
    """Draw at most two fronts, as they are ``called``, and rivals: logged and unbiased side."""
    names = _draw_rivals(axes, curves)
    for front, text, (colour, marker) in zip(fronts, called, _OURS, strict=False):
        x = [point.logged[front.axis] for point in front.points]
        y = [point.unbiased[front.axis] for point in front.points]
        axes.plot(
            [value.mean for value in x], [value.mean for value in y],
            color=colour, marker=marker, markersize=5, linewidth=2, zorder=3,
        )  # fmt: skip
        for point, logged, unbiased in zip(front.points, x, y, strict=True):
            if point.tradeoff in _LABELLED:
                _bars(axes, [logged], [unbiased], colour, marker)
                _label(axes, point.tradeoff, logged.mean, unbiased.mean, colour)
        if len(fronts) > 1 or curves:
            middle = len(x) // 2
            names.append(Name(text, x[middle].mean, y[middle].mean, colour))
    front = fronts[0]
    metric = front.axis.upper()
    kind = front.unbiased_kind
    traffic = f"the {kind}" if kind == POPULARITY_SHIFT else f"unbiased traffic ({kind})"
    axes.set_xlabel(f"{metric} on logged traffic")
    axes.set_ylabel(f"{metric} on {traffic}")
    axes.set_title(f"front: {front.verdict}; bars: 2 standard errors {front.se_kind}", color=QUIET,
                   fontsize=9)  # fmt: skip
    _finish(axes, names)


def curves_axes(axes: Axes, curves: Mapping[str, Curve]) -> None:
    """Draw the baselines of a full ranking."""
    axes.set_xlabel("recall@20 of all test positives")
    axes.set_ylabel("recall@20 of those on less popular items")
    _finish(axes, _draw_rivals(axes, curves))


def _draw_popularity(axes: Axes, front: Front) -> None:
    tradeoffs = [Estimate(mean=point.tradeoff) for point in front.points]
    popularity = [point.shown[_SHOWN] for point in front.points]
    _bars(axes, tradeoffs, popularity, *_OURS[0])
    axes.set_xlabel("tradeoff w")
    axes.set_ylabel("mean popularity percentile (50: the median item)")
    axes.set_title("items shown: top 10 of the whole catalogue", color=QUIET, fontsize=9)
    axes.grid(color=LINE, linewidth=0.5)


def _bars(
    axes: Axes, x: Sequence[Estimate], y: Sequence[Estimate], colour: str, marker: str
) -> None:
    _, _, bars = axes.errorbar(
        [value.mean for value in x],
        [value.mean for value in y],
        xerr=[2 * (value.se or 0.0) for value in x],
        yerr=[2 * (value.se or 0.0) for value in y],
        color=colour,
        marker=marker,
        zorder=3,
        **_BARS,
    )
    for bar in bars:
        bar.set_alpha(0.4)


def _draw_rivals(axes: Axes, curves: Mapping[str, Curve]) -> list[Name]:
    """Draw baselines in grey, each with a marker of its own; return their names."""
    names = []
    for (name, curve), (marker, fill) in zip(
        curves.items(), itertools.cycle(_RIVALS), strict=False
    ):
        x = [value.mean for value in curve.logged]
        y = [value.mean for value in curve.unbiased]
        axes.plot(
            x, y, marker=marker, markerfacecolor=fill, color=QUIET, linewidth=0.8, markersize=5,
            label=name,
        )  # fmt: skip
        end = max(range(len(x)), key=lambda i: x[i])
        names.append(Name(name, x[end], y[end]))
    return names


def _label(axes: Axes, tradeoff: float, x: float, y: float, colour: str) -> None:
    axes.annotate(
        f"w = {tradeoff:g}", (x, y), textcoords="offset points",
        xytext=_LABELLED[tradeoff], color=colour, fontsize=9, fontweight="bold", zorder=4,
    )  # fmt: skip


def _finish(axes: Axes, names: Sequence[Name]) -> None:
    axes.grid(color=LINE, linewidth=0.5)
    axes.margins(0.08)
    axes.autoscale_view()
    name_in_margin(axes, names)
