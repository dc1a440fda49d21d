"""Plots and tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from service.contract.manifest import Front, FrontPoint, Metric
from training.curves import Curve

_LABELLED = (0.0, 0.5, 1.0)


def plot_front(
    fronts: Sequence[Front], path: Path, *, title: str, curves: Mapping[str, Curve] | None = None
) -> None:
    """Draw fronts with 2 standard errors, and baselines, as a PNG of the two axes."""
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for front in fronts:
        x = [point.logged[front.axis] for point in front.points]
        y = [point.unbiased[front.axis] for point in front.points]
        axes.errorbar(
            [metric.mean for metric in x],
            [metric.mean for metric in y],
            xerr=[2 * (metric.se or 0.0) for metric in x],
            yerr=[2 * (metric.se or 0.0) for metric in y],
            marker="o", markersize=4, elinewidth=0.6, capsize=2, linewidth=1.2,
            label=f"{front.dataset}, seeds {', '.join(map(str, front.seeds))}",
        )  # fmt: skip
        for point, px, py in zip(front.points, x, y, strict=True):
            if point.tradeoff in _LABELLED:
                axes.annotate(
                    f"w = {point.tradeoff:g}", (px.mean, py.mean),
                    textcoords="offset points", xytext=(6, 6),
                )  # fmt: skip
    for name, curve in (curves or {}).items():
        x_means = [metric.mean for metric in curve.logged_auc]
        y_means = [metric.mean for metric in curve.unbiased_auc]
        axes.plot(x_means, y_means, marker=".", linewidth=0.8, label=name)
    front = fronts[0]
    axes.set_xlabel(f"{front.axis.upper()} on logged traffic")
    axes.set_ylabel(f"{front.axis.upper()} on unbiased traffic ({front.unbiased_kind})")
    axes.set_title(f"{title}: front {front.verdict}; bars: 2 standard errors {front.se_kind}",
                   fontsize=9)  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def front_table(front: Front) -> str:
    """Return the front as a Markdown table, with hypervolume, verdict and diagnostic below."""
    names = sorted({name for point in front.points for name in (*point.logged, *point.unbiased)})
    head = [f"{axis} {name}" for name in names for axis in ("logged", "unbiased")]
    lines = [
        "| w | " + " | ".join(head) + " |",
        "|" + " --- |" * (len(head) + 1),
        *(_row(point, names) for point in front.points),
        "",
        f"unbiased = {front.unbiased_kind}; standard errors {front.se_kind}; "
        f"{len(front.seeds)} seed{'s' if len(front.seeds) > 1 else ''}",
        f"hypervolume above {front.reference}: {_cell(front.hypervolume, 5)}; "
        f"Spearman of w: {front.spearman['logged']:+.2f} logged, "
        f"{front.spearman['unbiased']:+.2f} unbiased",
        f"gain of w = 1 on logged: {_cell(front.gain['logged'])}; "
        f"of w = 0 on unbiased: {_cell(front.gain['unbiased'])}",
        f"verdict: {front.verdict}. {front.diagnostic}",
    ]
    return "\n".join(lines)


def _row(point: FrontPoint, names: Sequence[str]) -> str:
    cells = [
        _cell(table[name]) if name in table else ""
        for name in names
        for table in (point.logged, point.unbiased)
    ]
    return f"| {point.tradeoff:.2f} | " + " | ".join(cells) + " |"


def _cell(metric: Metric, digits: int = 4) -> str:
    error = "" if metric.se is None else f" ± {metric.se:.{digits}f}"
    return f"{metric.mean:.{digits}f}{error}"


def baseline_table(front: Front, curves: Mapping[str, Curve]) -> str:
    """Return the ends of each baseline and its hypervolume, the front's own first, as Markdown."""
    own = Curve(
        what="this model",
        tradeoffs=tuple(point.tradeoff for point in front.points),
        logged_auc=tuple(point.logged[front.axis] for point in front.points),
        unbiased_auc=tuple(point.unbiased[front.axis] for point in front.points),
        hypervolume=front.hypervolume,
    )
    lines = [
        "| | what | logged AUC, w = 0 | w = 1 | unbiased AUC, w = 0 | w = 1 | hypervolume |",
        "|" + " --- |" * 7,
    ]
    for name, curve in {"**front**": own, **curves}.items():
        ends = [
            _cell(dict(zip(curve.tradeoffs, metrics, strict=True))[w])
            if w in curve.tradeoffs
            else ""
            for metrics in (curve.logged_auc, curve.unbiased_auc)
            for w in (0.0, 1.0)
        ]
        area = _cell(curve.hypervolume, 5)
        lines.append(f"| {name} | {curve.what} | {' | '.join(ends)} | {area} |")
    return "\n".join(lines)
