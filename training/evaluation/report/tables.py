"""Reports as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from service.contract.front import Anchors, Estimate, Front, FrontPoint, Trade
from service.contract.front_metrics import FRONT_METRICS, TABLES, FrontMetric
from training.data.split import POPULARITY_SHIFT
from training.evaluation.advice import MOST_COSTS, Curves, best_trade, share
from training.evaluation.anchors.outcome import shortfall
from training.evaluation.report.data_table import data_table
from training.evaluation.report.schema import (
    Curve,
    Mask,
    Probe,
    RankingReport,
    Report,
    Segment,
)
from training.evaluation.user_groups import largest_gap

_TAIL = "ood_recall_at_20"  # in the points of a curve: recall_at_20 on the unbiased side
_DIGITS = {metric.name: metric.digits for metric in FRONT_METRICS}
_DEFAULT_DIGITS = 4
_MOST_RARE = 0.5  # share of the places that items of few training rows take without a warning


def report_tables(report: Report | RankingReport) -> str:
    """Return all tables of a report, separated by blank lines."""
    data = [data_table(report.data)] if report.data else []
    if isinstance(report, RankingReport):
        return "\n\n".join([rivals_table(report), *data])
    tables = [front_table(report)]
    if report.baselines:
        tables.append(rivals_table(report))
    if report.purification:
        tables.append(probe_table(report.purification))
    if report.segments:
        tables.append(segment_table(report.segments))
    if report.mask:
        tables.append(mask_table(report.mask))
    return "\n\n".join([*tables, *data])


def rivals_table(report: Report | RankingReport) -> str:
    """Return the baselines of a report as a Markdown table."""
    curves = report.baselines
    if isinstance(report, RankingReport) or any(curve.points for curve in curves.values()):
        return ranking_table(curves)
    return baseline_table(report, curves)


def front_table(front: Front) -> str:
    """Return a front as Markdown tables, followed by its gains, verdict and diagnostic.

    The anchors come last; a model that does not beat them is said to be so on the first line.
    Their columns are the metrics of ``FRONT_METRICS`` that the front contains.
    """
    lines = []
    if front.anchors is not None and (problem := shortfall(front.anchors)) is not None:
        lines += [f"{problem}.", ""]
    for table in TABLES:
        columns = [
            (side, metric)
            for metric in FRONT_METRICS
            for side in metric.groups
            if metric.table == table
            and any(metric.name in getattr(point, side) for point in front.points)
        ]
        if columns:
            lines += [
                "| w | " + " | ".join(f"{side} {metric.name}" for side, metric in columns) + " |",
                "|" + " --- |" * (len(columns) + 1),
                *(_row(point, columns) for point in front.points),
                "",
            ]
    is_shift = front.unbiased_kind == POPULARITY_SHIFT
    lines += [
        f"unbiased = {front.unbiased_kind}{', a shift of popularity' if is_shift else ''}; "
        f"standard errors {front.se_kind}; {len(front.seeds)} seed"
        f"{'s' if len(front.seeds) > 1 else ''}",
        *(_headline(trade) for trade in front.trades),
        f"hypervolume above {front.reference}: {_judged(front.hypervolume, 5)}; "
        f"Spearman of w: {front.spearman['logged']:+.2f} logged, "
        f"{front.spearman['unbiased']:+.2f} unbiased",
        f"gain of w = 1 on logged: {_judged(front.gain['logged'])}; "
        f"of w = 0 on unbiased: {_judged(front.gain['unbiased'])}",
        f"verdict: {front.verdict}. {front.advice}".rstrip(),
        f"diagnostic: {front.diagnostic}",
        *_calibration(front),
        *(f"warning: {warning}" for warning in catalogue_warnings(front)),
    ]
    if front.anchors is not None:
        lines += ["", anchor_table(front.anchors)]
    return "\n".join(lines)


def anchor_table(anchors: Anchors) -> str:
    """Return the anchors, best first, and the model's lead over each as a Markdown table."""
    metric = anchors.metric
    lines = [
        f"| anchor | logged {metric} | lead of this model | logged gauc | lead of this model |",
        "| --- | --- | --- | --- | --- |",
        f"| **this model, w = 1** | {cell(anchors.model)} |  | {cell(anchors.model_gauc)} |  |",
    ]
    for anchor in anchors.anchors:
        gauc_lead = "" if anchor.gauc_lead is None else _judged(anchor.gauc_lead)
        cells = (cell(anchor.value), _judged(anchor.lead), cell(anchor.gauc), gauc_lead)
        lines.append(f"| {anchor.name} | {' | '.join(cells)} |")
    lines += ["", f"anchors: simple models, fitted to {anchors.rows} training rows"]
    return "\n".join((*lines, *anchors.skipped))


def _headline(trade: Trade) -> str:
    """Return the greatest gain at a bounded cost, in the unit of the axis and as shares."""
    if trade.tradeoff == 1:
        return f"gain at most {share(trade.most_cost)} cost: none"
    gain, cost = (
        _judged(estimate) + ("" if part is None else f" ({share(part)})")
        for estimate, part in ((trade.gain, trade.gain_share), (trade.cost, trade.cost_share))
    )
    return (
        f"gain at most {share(trade.most_cost)} cost: {gain} for {cost}, at w = {trade.tradeoff:g}"
    )


def _calibration(front: Front) -> list[str]:
    if not front.user_groups:
        return []
    return [
        f"calibration at w = 1 by user group, the largest gap: {largest_gap(front.user_groups)}"
    ]


def catalogue_warnings(front: Front) -> list[str]:
    """Return a sentence if items that training hardly saw fill the top 10 at some tradeoff."""
    measured = [point for point in front.points if "rare_share" in point.shown]
    worst = max(measured, key=lambda point: point.shown["rare_share"].mean, default=None)
    if worst is None or worst.shown["rare_share"].mean <= _MOST_RARE:
        return []
    return [
        f"at w = {worst.tradeoff:g}, {share(worst.shown['rare_share'].mean)} of the "
        f"top-10 places go to {worst.shown['rare_items'].mean:.0f} items with fewer than 3 "
        "training rows: check their embeddings, or serve a greater w"
    ]


def _row(point: FrontPoint, columns: Sequence[tuple[str, FrontMetric]]) -> str:
    cells = [cell(getattr(point, side).get(metric.name), metric.digits) for side, metric in columns]
    return f"| {point.tradeoff:.2f} | " + " | ".join(cells) + " |"


def cell(estimate: Estimate | None, digits: int = _DEFAULT_DIGITS) -> str:
    """Return mean and standard error; an empty cell for None."""
    if estimate is None:
        return ""
    error = "" if estimate.se is None else f" ± {estimate.se:.{digits}f}"
    return f"{estimate.mean:.{digits}f}{error}"


def _judged(estimate: Estimate, digits: int = _DEFAULT_DIGITS) -> str:
    """Return a cell that the verdict rests on: an unknown error is named."""
    return cell(estimate, digits) + (" ± unknown" if estimate.se is None else "")


def probe_table(probes: Sequence[Probe]) -> str:
    """Return the linear probes of all proxies as a Markdown table."""
    lines = [
        "| proxy | linear probe | purified | without purification | difference | content alone |",
        "|" + " --- |" * 6,
    ]
    for probe in probes:
        cells = (probe.purified, probe.unpurified, probe.difference, probe.content)
        measure = {"r2": "R2 of its rank", "auc": "AUC"}[probe.measure]
        lines.append(f"| {probe.proxy} | {measure} | {' | '.join(map(cell, cells))} |")
    return "\n".join(lines)


def mask_table(mask: Mask) -> str:
    """Return an invariant mask and its effect on rankings as a Markdown table."""
    lines = ["| mask | value |", "| --- | --- |"]
    lines += [f"| open gates, {name} | {cell(share, 3)} |" for name, share in mask.open.items()]
    lines += [
        f"| share of the top 10 that w = 0 and w = 1 have in common | {cell(mask.overlap, 3)} |",
        f"| the same, with learned popularity taken out | {cell(mask.content_overlap, 3)} |",
    ]
    if mask.weights:
        lines += [
            f"| lambda*, mean over steps | {cell(mask.weight, 3)} |",
            f"| lambda*, deviation over steps | {cell(mask.weight_deviation, 3)} |",
            f"| lambda* by tenths of the steps | {' '.join(f'{w:.2f}' for w in mask.weights)} |",
            f"| clicks moved, by reassignment | {' '.join(f'{m:.3f}' for m in mask.moved)} |",
        ]
    return "\n".join(lines)


def segment_table(segments: Sequence[Segment]) -> str:
    """Return the AUC of all segments of the test rows as a Markdown table."""
    names = list(dict.fromkeys(name for segment in segments for name in segment.auc))
    lines = [
        "| side | segment | rows | clicks | users | items | " + " | ".join(names) + " |",
        "|" + " --- |" * (6 + len(names)),
    ]
    for segment in segments:
        counts = (segment.rows, segment.clicks, segment.users, segment.items)
        cells = [f"{count:.0f}" for count in counts]
        cells += [cell(segment.auc.get(name)) for name in names]
        lines.append(f"| {segment.side} | {segment.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def baseline_table(front: Front, curves: Mapping[str, Curve]) -> str:
    """Return the ends and hypervolumes of the front and of all baselines as a Markdown table."""
    front_curve = Curve(
        description="this model",
        tradeoffs=tuple(point.tradeoff for point in front.points),
        logged=tuple(point.logged[front.axis] for point in front.points),
        unbiased=tuple(point.unbiased[front.axis] for point in front.points),
        hypervolume=front.hypervolume,
    )
    lines = [
        "| | description | logged AUC, w = 0 | w = 1 | unbiased AUC, w = 0 | w = 1 | hypervolume |",
        "|" + " --- |" * 7,
    ]
    for name, curve in {"**front**": front_curve, **curves}.items():
        ends = [
            cell(dict(zip(curve.tradeoffs, estimates, strict=True)).get(w))
            for estimates in (curve.logged, curve.unbiased)
            for w in (0.0, 1.0)
        ]
        area = cell(curve.hypervolume, 5)
        lines.append(f"| {name} | {curve.description} | {' | '.join(ends)} | {area} |")
    return "\n".join(lines)


def ranking_table(curves: Mapping[str, Curve]) -> str:
    """Return the metrics of full rankings at the ends of all curves as a Markdown table."""
    measured = {name for curve in curves.values() for point in curve.points for name in point}
    ordered = [metric.name for metric in FRONT_METRICS if metric.table == "full ranking"]
    names = [name for name in (*ordered, _TAIL, "arp") if name in measured]
    lines = [
        "| | description | w | "
        + " | ".join(names)
        + "".join(f" | gain at most {share(most_cost)} cost" for most_cost in MOST_COSTS)
        + " | hypervolume |",
        "|" + " --- |" * (len(names) + 4 + len(MOST_COSTS)),
    ]
    for name, curve in curves.items():
        gains = " | ".join(_curve_gain(curve, most_cost) for most_cost in MOST_COSTS)
        for w, point in zip(curve.tradeoffs, curve.points, strict=True):
            if w not in (0.0, 1.0):
                continue
            cells = [cell(point.get(key), _DIGITS.get(key, _DEFAULT_DIGITS)) for key in names]
            area = cell(curve.hypervolume, 5)
            cells += [gains, area]
            lines.append(f"| {name} | {curve.description} | {w:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _curve_gain(curve: Curve, most_cost: float) -> str:
    """Return a ranker's greatest gain at a bounded cost of recall; empty for a single point."""
    if len(curve.tradeoffs) == 1:
        return ""
    logged, unbiased = (
        np.array([metric.mean for metric in side]) for side in (curve.logged, curve.unbiased)
    )
    unknown = np.full(len(curve.tradeoffs), np.nan)
    tradeoffs = np.array(curve.tradeoffs)
    trade = best_trade(Curves(tradeoffs, logged, unbiased, unknown, unknown, 0.0), most_cost)
    part = "" if trade.gain_share is None else f" ({share(trade.gain_share)})"
    return f"{trade.gain.mean:.4f}{part}, w = {trade.tradeoff:g}"
