"""The files of an experiment's report: JSON, a page and a plot."""

from __future__ import annotations

import io
from pathlib import Path

from service.contract.files import write_atomically
from training.evaluation.experiment.plot import draw, size
from training.evaluation.experiment.schema import ExperimentReport
from training.evaluation.experiment.table import arms_table, differences_table, notes, verdicts
from training.evaluation.report.page import Card, Section, html, page
from training.evaluation.report.style import drawn, svg

_TITLES = {
    "none": "The arms did not get the users that they should have",
    "clear": "An arm differs from the control",
    "weak": "No difference is proven yet",
}
_READ = (
    "The line is the difference as it was on each day, the band its interval. The truth lies in "
    "the bands of all days at once, with the stated confidence: on any day, a band without zero is "
    "proof."
)


def write_experiment(report: ExperimentReport, folder: Path) -> Path:
    """Write the report to ``folder`` under the experiment's name; return its path less suffix."""
    folder.mkdir(parents=True, exist_ok=True)
    place, plot = folder / report.experiment.name, io.BytesIO()
    with drawn(*size(report)) as figure:
        draw(figure, report)
        figure.savefig(plot, format="png", dpi=120)
    write_atomically(place.with_suffix(".png"), plot.getbuffer())
    write_atomically(place.with_suffix(".html"), experiment_page(report).encode())
    write_atomically(place.with_suffix(".json"), report.model_dump_json(indent=2).encode())
    return place


def experiment_page(report: ExperimentReport) -> str:
    """Return the page of a report."""
    with drawn(*size(report)) as figure:
        draw(figure, report)
        chart = svg(figure)
    tone = _tone(report)
    experiment = report.experiment
    stopped = "runs" if experiment.stopped is None else f"stopped {experiment.stopped:%Y-%m-%d}"
    sections = [
        Section("Day by day", _READ, chart),
        Section("Arms", table=html(arms_table(report))),
        Section("Differences", table=html(differences_table(report))),
        Section("How to read it", table=html("\n".join(f"- {note}" for note in notes(report)))),
        Section("Experiment", code=experiment.model_dump_json(indent=2)),
        *([Section("How to reproduce", code=report.command)] if report.command else []),
    ]
    return page(
        f"Experiment {experiment.name}",
        f"started {experiment.started:%Y-%m-%d}, {stopped}, control {report.control}",
        [Card(tone, _TITLES[tone], verdicts(report))],
        sections,
    )


def _tone(report: ExperimentReport) -> str:
    if report.sample_ratio is not None and report.sample_ratio.mismatch:
        return "none"
    nows = [comparison.now.get(report.primary) for comparison in report.comparisons]
    return "clear" if any(now is not None and now.excludes_zero for now in nows) else "weak"
