"""The plot of a loop: what feedback does to a feed, by tradeoff and day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from training.arrays import Floats
from training.demo.loop.figures import Day
from training.evaluation.report.style import (
    INK,
    LINE,
    OTHER,
    OURS,
    QUIET,
    Name,
    drawn,
    name_in_margin,
)

_PANELS = {
    "exposure_gini": "Inequality of exposure (Gini)",
    "tail_share": "Share of places for the long tail",
    "liking": "Places that the user likes, in truth",
    "clicks": "Clicks per ranking",
}
_COLOURS = (OTHER, OURS, INK, QUIET)

Arms = Mapping[str, Sequence[Sequence[Day]]]  # by the arm's name: the days of each seed


def plot_loop(arms: Arms, file: Path, *, title: str) -> None:
    """Write a PNG with a panel for each figure; bands are 2 standard errors over seeds."""
    with drawn(11, 7) as figure:
        for axes, (name, text) in zip(figure.subplots(2, 2).flat, _PANELS.items(), strict=True):
            _panel(axes, arms, name)
            axes.set_title(text)
            axes.set_xlabel("day")
        figure.suptitle(title, fontsize=12, x=0.01, ha="left")
        figure.savefig(file, format="png", dpi=120)


def plot_agreement(arms: Arms, file: Path, *, title: str) -> None:
    """Write a PNG of the unbiased AUC on uniform slots against the truth, on the last day."""
    with drawn(5.5, 5) as figure:
        axes = figure.add_subplot()
        for (name, seeds), colour in zip(arms.items(), _COLOURS, strict=False):
            points = [point for days in seeds for point in days[-1].unbiased]
            axes.errorbar(
                [point.true.mean for point in points],
                [point.measured.mean for point in points],
                yerr=[1.96 * (point.measured.se or 0) for point in points],
                fmt="o", markersize=4, elinewidth=0.8, color=colour, label=name,
            )  # fmt: skip
        low, high = axes.get_xlim()
        axes.plot([low, high], [low, high], color=LINE, zorder=0)
        axes.set_xlabel("true unbiased AUC")
        axes.set_ylabel("measured on uniform slots, 95 % intervals")
        axes.legend(frameon=False, loc="upper left")
        figure.suptitle(title, fontsize=12, x=0.01, ha="left")
        figure.savefig(file, format="png", dpi=120)


def _panel(axes: Axes, arms: Arms, name: str) -> None:
    names = []
    for (arm, seeds), colour in zip(arms.items(), _COLOURS, strict=False):
        day = [figures.day for figures in seeds[0]]
        values = np.array(
            [[getattr(figures, name) for figures in days] for days in seeds]
        )  # (S, N)
        mean, error = values.mean(axis=0), _standard_error(values)
        axes.plot(day, mean, color=colour, linewidth=2)
        axes.fill_between(day, mean - 2 * error, mean + 2 * error, color=colour, alpha=0.15, lw=0)
        names.append(Name(arm, day[-1], mean[-1], colour))
    name_in_margin(axes, names)


def _standard_error(values: Floats) -> Floats:
    """Return the standard error (N,) of the mean over seeds of values (S, N); 0 for one seed."""
    if len(values) == 1:
        return np.zeros(values.shape[1])
    error: Floats = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return error
