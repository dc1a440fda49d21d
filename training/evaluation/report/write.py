"""The files of a report: JSON and a plot."""

from __future__ import annotations

from pathlib import Path

from service.contract.files import write_atomically
from training.evaluation.report.plots import plot_curves, plot_front
from training.evaluation.report.schema import RankingReport, Report


def write_report(report: Report | RankingReport, folder: Path, name: str) -> Path:
    """Write ``name.json`` and ``name.png`` to ``folder``; return their path without the suffix."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    title = f"{name} on {report.dataset}"
    if isinstance(report, Report):
        plot_front([report], folder / f"{name}.png", title=title, curves=report.baselines)
    else:
        plot_curves(report.baselines, folder / f"{name}.png", title=title)
    write_atomically(folder / f"{name}.json", report.model_dump_json(indent=2).encode())
    return path
