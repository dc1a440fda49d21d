"""Plots and tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.contract.front_metrics import FRONT_METRICS, TABLES
from service.contract.manifest import Estimate, Front, FrontPoint
from training.evaluation.report.schema import Curve, Mask, Probe, Segment

_SHOWN = "popularity_percentile"
_TABLES = [[m.name for m in FRONT_METRICS if m.table == table] for table in TABLES]
_RANKING = (  # metrics of a full ranking, in order
    "recall_at_20",
    "ndcg_at_20",
    "ndcg_at_20_hit",
    "ood_recall_at_20",
    "cold_recall_at_20",
    "matched_auc",
    "arp",
)
_DIGITS = {metric.name: metric.digits for metric in FRONT_METRICS}


def front_table(front: Front) -> str:
    """Return the front as Markdown tables, with hypervolume, verdict and diagnostic below.

    One table of accuracy, and where it was measured one of the top 10; ``FrontPoint`` tells what
    the columns are.
    """
    lines = []
    for names in _TABLES:
        columns = [
            (axis, name)
            for name in names
            for axis in ("logged", "unbiased", "shown")
            if any(name in getattr(point, axis) for point in front.points)
        ]
        if columns:
            lines += [
                "| w | " + " | ".join(f"{axis} {name}" for axis, name in columns) + " |",
                "|" + " --- |" * (len(columns) + 1),
                *(_row(point, columns) for point in front.points),
                "",
            ]
    lines += [
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


def _row(point: FrontPoint, columns: Sequence[tuple[str, str]]) -> str:
    cells = [
        _cell(table[name], _DIGITS.get(name, 4)) if name in table else ""
        for table, name in ((getattr(point, axis), name) for axis, name in columns)
    ]
    return f"| {point.tradeoff:.2f} | " + " | ".join(cells) + " |"


def _cell(metric: Estimate, digits: int = 4) -> str:
    error = "" if metric.se is None else f" ± {metric.se:.{digits}f}"
    return f"{metric.mean:.{digits}f}{error}"


def probe_table(probes: Sequence[Probe]) -> str:
    """Return what is left of each proxy in the common features, as Markdown."""
    lines = [
        "| proxy | linear probe | purified | without purification | difference | content alone |",
        "|" + " --- |" * 6,
    ]
    for probe in probes:
        cells = (probe.purified, probe.unpurified, probe.difference, probe.content)
        measure = {"r2": "R2 of its rank", "auc": "AUC"}[probe.measure]
        lines.append(f"| {probe.proxy} | {measure} | {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines)


def mask_table(mask: Mask) -> str:
    """Return what an invariant mask does, as Markdown."""
    lines = ["| what | value |", "| --- | --- |"]
    lines += [f"| open gates, {name} | {_cell(share, 3)} |" for name, share in mask.open.items()]
    lines += [
        f"| share of the top 10 that w = 0 and w = 1 have in common | {_cell(mask.overlap, 3)} |",
        f"| the same, were variant content all that w moved | {_cell(mask.content_overlap, 3)} |",
    ]
    if mask.weights:
        lines += [
            f"| lambda*, mean over steps | {_cell(mask.weight, 3)} |",
            f"| lambda*, deviation over steps | {_cell(mask.weight_deviation, 3)} |",
            f"| lambda* by tenths of the steps | {' '.join(f'{w:.2f}' for w in mask.weights)} |",
            f"| clicks moved, by reassignment | {' '.join(f'{m:.3f}' for m in mask.moved)} |",
        ]
    return "\n".join(lines)


def cold_table(parts: Sequence[Segment]) -> str:
    """Return the AUC of each part of the test rows, as Markdown."""
    names = list(dict.fromkeys(name for part in parts for name in part.auc))
    lines = [
        "| axis | who | rows | clicks | users | items | " + " | ".join(names) + " |",
        "|" + " --- |" * (6 + len(names)),
    ]
    for part in parts:
        counts = (part.rows, part.clicks, part.users, part.items)
        cells = [f"{count:.0f}" for count in counts]
        cells += [_cell(part.auc[name]) if name in part.auc else "" for name in names]
        lines.append(f"| {part.axis} | {part.who} | {' | '.join(cells)} |")
    return "\n".join(lines)


def baseline_table(front: Front, curves: Mapping[str, Curve]) -> str:
    """Return the ends of each baseline and its hypervolume, the front's own first, as Markdown."""
    own = Curve(
        what="this model",
        tradeoffs=tuple(point.tradeoff for point in front.points),
        logged=tuple(point.logged[front.axis] for point in front.points),
        unbiased=tuple(point.unbiased[front.axis] for point in front.points),
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
            for metrics in (curve.logged, curve.unbiased)
            for w in (0.0, 1.0)
        ]
        area = _cell(curve.hypervolume, 5)
        lines.append(f"| {name} | {curve.what} | {' | '.join(ends)} | {area} |")
    return "\n".join(lines)


def ranking_table(curves: Mapping[str, Curve]) -> str:
    """Return what each ranker of whole catalogues reaches at the ends of its curve, as Markdown."""
    names = [
        name
        for name in _RANKING
        if any(name in p for curve in curves.values() for p in curve.points)
    ]
    lines = [
        "| | what | w | " + " | ".join(names) + " | hypervolume |",
        "|" + " --- |" * (len(names) + 4),
    ]
    for name, curve in curves.items():
        for w, point in zip(curve.tradeoffs, curve.points, strict=True):
            if w not in (0.0, 1.0):
                continue
            cells = [
                _cell(point[key], _DIGITS.get(key, 4)) if key in point else "" for key in names
            ]
            area = _cell(curve.hypervolume, 5)
            lines.append(f"| {name} | {curve.what} | {w:g} | {' | '.join(cells)} | {area} |")
    return "\n".join(lines)
