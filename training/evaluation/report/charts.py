"""The further plots of a page: anchors, segments, calibration, exposure and training."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from service.contract.front import Anchors, Estimate, Front, UserGroup
from service.contract.front_metrics import FRONT_METRICS
from training.evaluation.report.schema import Segment
from training.evaluation.report.style import LINE, OURS, QUIET, drawn, svg

_ROW_INCHES = 0.32
_WIDTH = 7.5
_SHOWN = ("popularity_percentile", "tail_share", "exposure_gini", "coverage")
_W0, _W1 = "w = 0", "w = 1"  # the scores of a segment


def anchors_chart(anchors: Anchors) -> str:
    """Return an SVG of this model and its anchors on logged traffic, each with its interval."""
    rows = [("this model, w = 1", anchors.model, OURS)]
    rows += [(anchor.name, anchor.value, QUIET) for anchor in anchors.anchors]
    with drawn(_WIDTH, 0.8 + _ROW_INCHES * len(rows)) as figure:
        axes = figure.add_subplot()
        for place, (_, value, colour) in enumerate(rows):
            _interval(axes, value, place, colour)
        _name_rows(axes, [name for name, _, _ in rows])
        axes.set_xlabel(f"{anchors.metric.upper()} on logged traffic; bars: 2 standard errors")
        return svg(figure)


def segments_chart(segments: Sequence[Segment]) -> str:
    """Return an SVG of the AUC at w = 0 (hollow) and w = 1 (filled) on each segment."""
    with drawn(_WIDTH, 0.8 + _ROW_INCHES * len(segments)) as figure:
        axes = figure.add_subplot()
        for place, segment in enumerate(segments):
            for score, filled, shift in ((_W0, False, -0.12), (_W1, True, 0.12)):
                if (value := segment.auc.get(score)) is not None:
                    _interval(axes, value, place + shift, OURS, filled=filled)
        _name_rows(axes, [f"{segment.side}: {segment.name}" for segment in segments])
        axes.set_xlabel("AUC; hollow: w = 0, filled: w = 1; bars: 2 standard errors")
        return svg(figure)


def shown_chart(front: Front) -> str:
    """Return an SVG of what the top 10 of the whole catalogue shows, by tradeoff."""
    metrics = [
        metric
        for metric in FRONT_METRICS
        if metric.name in _SHOWN and all(metric.name in point.shown for point in front.points)
    ]
    columns = min(len(metrics), 2)
    with drawn(_WIDTH, 2.6 * -(-len(metrics) // columns)) as figure:
        for place, metric in enumerate(metrics, start=1):
            axes = figure.add_subplot(-(-len(metrics) // columns), columns, place)
            values = [point.shown[metric.name] for point in front.points]
            axes.errorbar(
                [point.tradeoff for point in front.points],
                [value.mean for value in values],
                yerr=[2 * (value.se or 0.0) for value in values],
                color=OURS, marker="o", markersize=4, linewidth=2, elinewidth=0.8,
            )  # fmt: skip
            axes.set_title(metric.name.replace("_", " "), fontsize=10)
            axes.set_xlabel("tradeoff w")
            axes.grid(color=LINE, linewidth=0.5)
        return svg(figure)


def calibration_chart(groups: Sequence[UserGroup]) -> str:
    """Return an SVG of predicted and observed click rates at w = 1 by group of users."""
    with drawn(_WIDTH, 4) as figure:
        axes = figure.add_subplot()
        axes.errorbar(
            [group.predicted for group in groups],
            [group.observed for group in groups],
            yerr=[2 * (group.gap.se or 0.0) for group in groups],
            color=OURS, marker="o", linestyle="none", elinewidth=0.8,
        )  # fmt: skip
        end = 1.05 * max(max(group.predicted, group.observed) for group in groups)
        axes.plot((0, end), (0, end), color=QUIET, linewidth=0.8, zorder=0)
        axes.annotate(
            "equal",
            (end, end),
            xytext=(2, -10),
            textcoords="offset points",
            color=QUIET,
            fontsize=9,
        )
        axes.set_xlabel("predicted click rate of a group of users, mean score at w = 1")
        axes.set_ylabel("observed click rate")
        axes.grid(color=LINE, linewidth=0.5)
        return svg(figure)


def training_chart(histories: Sequence[Sequence[float]]) -> str:
    """Return an SVG of the validation value after each evaluation, a line a seed."""
    with drawn(_WIDTH, 3) as figure:
        axes = figure.add_subplot()
        for history in histories:
            evaluations = range(1, len(history) + 1)
            axes.plot(evaluations, history, color=OURS, linewidth=1.5, alpha=0.7)
            best = max(evaluations, key=lambda e: history[e - 1])
            axes.plot(best, history[best - 1], color=OURS, marker="o")
        axes.set_xlabel("evaluation; the dot marks the weights that were kept")
        axes.set_ylabel("validation, higher is better")
        axes.grid(color=LINE, linewidth=0.5)
        return svg(figure)


def _interval(
    axes: Axes, value: Estimate, place: float, colour: str, *, filled: bool = True
) -> None:
    axes.errorbar(
        value.mean, place, xerr=2 * (value.se or 0.0), color=colour, marker="o", elinewidth=1,
        markerfacecolor=colour if filled else "none",
    )  # fmt: skip


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows 0, 1, ... from the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=LINE, linewidth=0.5)
