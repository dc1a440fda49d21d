"""Plots of an experiment: how the intervals narrowed, and what each arm showed."""

from __future__ import annotations

from datetime import timedelta

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evaluation.experiment.schema import Comparison, ExperimentReport
from training.evaluation.report.style import LINE, OTHER, OURS, QUIET

TAIL = "tail share"
_HEIGHT = 2.6
_DAY = timedelta(days=1)


def size(report: ExperimentReport) -> tuple[float, float]:
    """Return width and height in inches."""
    width = 10.5 if _has_tail(report) else 7.5
    return width, 1.0 + _HEIGHT * max(1, len(report.comparisons))


def draw(figure: Figure, report: ExperimentReport) -> None:
    """Draw the difference of each arm day by day, and clicks against the tail, arm by arm."""
    tail, rows = _has_tail(report), max(1, len(report.comparisons))
    grid = figure.add_gridspec(rows, 2 if tail else 1, width_ratios=(3, 2) if tail else (1,))
    shared = None
    for row, comparison in enumerate(report.comparisons):
        axes = figure.add_subplot(grid[row, 0], sharex=shared, sharey=shared)
        shared = shared or axes
        _by_day(axes, report, comparison)
    if tail or not report.comparisons:
        _arms(figure.add_subplot(grid[:, -1]), report)


def _has_tail(report: ExperimentReport) -> bool:
    return any(TAIL in arm.measures for arm in report.arms)


def _by_day(axes: Axes, report: ExperimentReport, comparison: Comparison) -> None:
    points = [
        ((look.time - report.experiment.started) / _DAY, each)
        for look in comparison.looks
        if (each := look.differences.get(report.primary)) is not None and each.low is not None
    ]
    times = [time for time, _ in points]
    values = [each.value for _, each in points]
    low = [each.low or 0.0 for _, each in points]
    high = [each.high or 0.0 for _, each in points]
    colour = OURS if points and points[-1][1].excludes_zero else QUIET
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.fill_between(times, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(times, values, color=colour, marker="o", markersize=3)
    axes.set_title(f"{comparison.arm} less {report.control}")
    axes.set_xlabel("days since the start")
    axes.set_ylabel(report.primary)
    axes.grid(color=LINE, linewidth=0.5)


def _arms(axes: Axes, report: ExperimentReport) -> None:
    for arm in report.arms:
        primary, tail = (arm.measures.get(name) for name in (report.primary, TAIL))
        if primary is None:
            continue
        x = 0.0 if tail is None else tail.value
        colour = OTHER if arm.name == report.control else OURS
        for place, span in ((0, tail), (1, primary)):
            if span is not None and span.low is not None:
                ends = [span.low, span.high or 0.0]
                xs, ys = (ends, [primary.value] * 2) if place == 0 else ([x] * 2, ends)
                axes.plot(xs, ys, color=colour, alpha=0.4, linewidth=1)
        axes.plot([x], [primary.value], color=colour, marker="o", markersize=5)
        axes.annotate(
            arm.name, (x, primary.value), xytext=(6, 5), textcoords="offset points",
            color=colour, fontsize=9,
        )  # fmt: skip
    axes.margins(x=0.25)  # for the names
    axes.set_xlabel(TAIL)
    axes.set_ylabel(report.primary)
    axes.set_title("each arm, with its intervals")
    axes.grid(color=LINE, linewidth=0.5)
