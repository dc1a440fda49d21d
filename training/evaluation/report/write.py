"""The files of a report: JSON, a page and a plot."""

from __future__ import annotations

import io
from pathlib import Path

from service.contract.files import check_file, write_atomically
from training.errors import ConfigError
from training.evaluation.report.page import report_page
from training.evaluation.report.plots import plot_curves, plot_front
from training.evaluation.report.schema import RankingReport, Report


def check_report(folder: Path, name: str) -> None:
    """Raise ConfigError or OSError unless ``write_report`` can write to ``folder`` as ``name``."""
    if name in ("", ".", "..") or Path(name).name != name:
        raise ConfigError(f"{name!r} is no name of a report: write it without folders")
    for path in _files(folder, name):
        check_file(path)


def write_report(report: Report | RankingReport, folder: Path, name: str) -> Path:
    """Write ``name`` .json, .html and .png to ``folder``; return their path without the suffix."""
    check_report(folder, name)
    folder.mkdir(parents=True, exist_ok=True)
    title = f"{name} on {report.dataset}"
    plot = io.BytesIO()
    if isinstance(report, Report):
        plot_front(report, plot, title=title, curves=report.baselines)
    else:
        plot_curves(report.baselines, plot, title=title)
    json_file, page_file, plot_file = _files(folder, name)
    write_atomically(plot_file, plot.getbuffer())
    write_atomically(page_file, report_page(report, title).encode())
    write_atomically(json_file, report.model_dump_json(indent=2).encode())
    return folder / name


def _files(folder: Path, name: str) -> tuple[Path, Path, Path]:
    return folder / f"{name}.json", folder / f"{name}.html", folder / f"{name}.png"
