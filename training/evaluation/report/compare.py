"""Two reports side by side."""

from __future__ import annotations

import math

from service.contract.front import Estimate, FrontPoint
from service.contract.front_metrics import FRONT_METRICS
from training.evaluation.report.page import VERDICTS, Card, Section, html, page
from training.evaluation.report.plots import front_axes
from training.evaluation.report.schema import Report
from training.evaluation.report.style import drawn, svg
from training.evaluation.report.tables import front_table

_COMPARED = ("auc", "recall_at_20", "gauc", "popularity_percentile", "tail_share", "exposure_gini")


def comparison_page(first: Report, second: Report, names: tuple[str, str]) -> str:
    """Return a page that compares two reports: both fronts, and differences by tradeoff."""
    with drawn(7.5, 4.6) as figure:
        front_axes(figure.add_subplot(), (first, second), {}, names)
        chart = svg(figure)
    sections = [
        Section(
            "Fronts", f"Blue: {names[0]}. Orange: {names[1]}. {_same_data(first, second)}", chart
        ),
        Section(
            "Differences",
            f"{names[1]} less {names[0]}. The errors take the two as independent: on the same rows "
            "and seeds they overstate.",
            table=html(difference_table(first, second)),
        ),
        *(
            Section(name, table=html(front_table(report)), folded=True)
            for name, report in zip(names, (first, second), strict=True)
        ),
    ]
    cards = [
        Card(r.verdict, name, [VERDICTS[r.verdict] + ".", r.advice])
        for name, r in zip(names, (first, second), strict=True)
    ]
    return page(f"{names[0]} and {names[1]}", "Two reports compared", cards, sections)


def difference_table(first: Report, second: Report) -> str:
    """Return second - first by tradeoff as a Markdown table: the metrics that both measured."""
    pairs = [
        (a, b) for a in first.points for b in second.points if math.isclose(a.tradeoff, b.tradeoff)
    ]
    columns = [
        (side, metric)
        for metric in FRONT_METRICS
        for side in metric.groups
        if metric.name in _COMPARED
        and all(metric.name in getattr(point, side) for pair in pairs for point in pair)
    ]
    lines = [
        "| w | " + " | ".join(f"{side} {metric.name}" for side, metric in columns) + " |",
        "|" + " --- |" * (len(columns) + 1),
    ]
    for a, b in pairs:
        cells = [
            _difference(_value(a, side, metric.name), _value(b, side, metric.name), metric.digits)
            for side, metric in columns
        ]
        lines.append(f"| {a.tradeoff:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _value(point: FrontPoint, side: str, metric: str) -> Estimate:
    value: Estimate = getattr(point, side)[metric]
    return value


def _difference(first: Estimate, second: Estimate, digits: int) -> str:
    text = f"{second.mean - first.mean:+.{digits}f}"
    if first.se is None or second.se is None:
        return text
    return f"{text} ± {math.hypot(first.se, second.se):.{digits}f}"


def _same_data(first: Report, second: Report) -> str:
    if first.data == second.data:
        return "Both were measured on the same data."
    return "They were measured on different data: compare shapes, not heights."
