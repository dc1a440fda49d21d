"""The report of an experiment as Markdown tables and sentences."""

from __future__ import annotations

from collections.abc import Iterator

from training.evaluation.experiment.analysis import LEAST_USERS, MISMATCH_P
from training.evaluation.experiment.schema import (
    Comparison,
    ExperimentReport,
    Interval,
    Look,
)


def report_text(report: ExperimentReport) -> str:
    """Return the tables and what they come to."""
    parts = [arms_table(report), differences_table(report), "\n".join(verdicts(report))]
    return "\n\n".join(part for part in (*parts, "\n".join(notes(report))) if part)


def arms_table(report: ExperimentReport) -> str:
    """Return a row an arm."""
    names = list(report.arms[0].measures) or [report.primary]
    shares = {arm.name: arm.share for arm in report.experiment.arms}
    lines = [
        "| arm | share | users entered | users counted | rankings | " + " | ".join(names) + " |",
        "|" + " --- |" * (5 + len(names)),
    ]
    for arm in report.arms:
        cells = [_cell(arm.measures.get(name)) for name in names]
        control = " (control)" if arm.name == report.control else ""
        lines.append(
            f"| {arm.name}{control} | {shares[arm.name]:.1%} | {arm.entered:,} | {arm.users:,} | "
            f"{arm.rankings:,} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def differences_table(report: ExperimentReport) -> str:
    """Return a row for each arm but the control: its measures less those of the control."""
    names = list(report.arms[0].measures)
    if not report.comparisons or not names:
        return ""
    lines = [
        f"| less {report.control} | " + " | ".join(names) + " |",
        "|" + " --- |" * (1 + len(names)),
    ]
    for comparison in report.comparisons:
        cells = [_signed(comparison.now.get(name)) for name in names]
        lines.append(f"| {comparison.arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def verdicts(report: ExperimentReport) -> list[str]:
    """Return a sentence for each comparison: whether the arm differs in the primary measure."""
    if report.sample_ratio is not None and report.sample_ratio.mismatch:
        return [
            "The numbers of users do not fit the shares: something loses users of one arm, and the "
            "differences below mean nothing until it is found."
        ]
    return [_verdict(report, comparison) for comparison in report.comparisons]


def notes(report: ExperimentReport) -> Iterator[str]:
    """Yield what has to be known to read the tables."""
    hours = report.window_ms / 3_600_000
    yield (
        f"as of {report.until:%Y-%m-%d %H:%M} UTC; a user counts with the first {hours:g} h, once "
        "they are over"
    )
    if report.arms[0].measures:
        yield (
            f"intervals: {report.level:.0%} confidence sequences, valid at every look; those of "
            f"{report.primary} hold together, the others each by itself"
        )
    if (ratio := report.sample_ratio) is not None:
        yield (
            f"sample ratio: p = {ratio.always_valid_p:.2g} at any look, {ratio.chi_square_p:.2g} "
            f"by a chi-square test of one look; a mismatch is below {MISMATCH_P:g}"
        )
    yield from (f"warning: {warning}" for warning in report.warnings)


def first_seen(report: ExperimentReport, comparison: Comparison) -> Look | None:
    """Return the first look of those since which zero is excluded, None if it is not."""
    found = None
    for look in reversed(comparison.looks):
        difference = look.differences.get(report.primary)
        if difference is None or not difference.excludes_zero:
            break
        found = look
    return found


def _verdict(report: ExperimentReport, comparison: Comparison) -> str:
    name, control = comparison.arm, report.control
    difference = comparison.now.get(report.primary)
    if difference is None or difference.low is None or difference.high is None:
        return f"{name}: too few users count yet, fewer than {LEAST_USERS} of an arm."
    base = next(arm for arm in report.arms if arm.name == control).measures[report.primary].value
    span = _signed(difference)
    if base > 0:
        span += f", {difference.value / base:+.1%} of {control}"
    since = first_seen(report, comparison)
    if since is None:
        return f"{name}: no difference from {control} is proven in {report.primary}: {span}."
    more = "more" if difference.value > 0 else "less"
    return (
        f"{name}: {more} than {control} in {report.primary}: {span}; proven since "
        f"{since.time:%Y-%m-%d} with {since.users:,} users."
    )


def _cell(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return _with_bounds(interval, f"{interval.value:.4g}", "")


def _signed(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return _with_bounds(interval, f"{interval.value:+.4g}", "+")


def _with_bounds(interval: Interval, value: str, sign: str) -> str:
    if interval.low is None or interval.high is None:
        return value
    return f"{value} ({interval.low:{sign}.4g} to {interval.high:{sign}.4g})"
