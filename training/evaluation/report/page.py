"""A report as one HTML file that needs no network, for readers who have not read the papers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader
from markdown_it import MarkdownIt

from service.contract.front import Front
from training.evaluation.advice import share
from training.evaluation.anchors.outcome import shortfall
from training.evaluation.report.charts import (
    anchors_chart,
    calibration_chart,
    segments_chart,
    shown_chart,
    training_chart,
)
from training.evaluation.report.data_table import data_table
from training.evaluation.report.plots import curves_axes, front_axes
from training.evaluation.report.schema import Origin, RankingReport, Report
from training.evaluation.report.style import drawn, svg
from training.evaluation.report.tables import (
    anchor_table,
    front_table,
    mask_table,
    probe_table,
    rivals_table,
    segment_table,
)

VERDICTS = {
    "clear": "The tradeoff works on this data",
    "weak": "The tradeoff has an effect, with limits",
    "none": "The tradeoff has no proven effect on this data",
}
_READ_FRONT = (
    "Each blue dot is the same model at one tradeoff w. Right is better at predicting the clicks "
    "of the log; up is better at what users like when items are shown without the log's bias. "
    "Bars that overlap are differences that chance explains."
)
_TEMPLATE = Environment(
    loader=PackageLoader("training.evaluation.report"), autoescape=True, trim_blocks=True
).get_template("page.html.jinja")
_MARKDOWN = MarkdownIt("commonmark", {"breaks": True}).enable("table")


@dataclass(frozen=True)
class Card:
    """What a reader sees first: ``tone`` is a verdict, facts are names with values."""

    tone: str
    title: str
    lines: Sequence[str]
    facts: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Section:
    """A part of a page: text, a chart (SVG), a table (HTML) that may be folded, and code."""

    title: str
    text: str = ""
    chart: str = ""
    table: str = ""
    folded: bool = False
    code: str = ""

    @property
    def anchor(self) -> str:
        """The section's address within the page."""
        return self.title.lower().replace(" ", "-")


def report_page(report: Report | RankingReport, title: str) -> str:
    """Return the page of a report."""
    if isinstance(report, RankingReport):
        with drawn(7.5, 4.6) as figure:
            curves_axes(figure.add_subplot(), report.baselines)
            chart = svg(figure)
        sections = [Section("Rankers", chart=chart, table=html(rivals_table(report)))]
        cards = []
    else:
        cards, sections = [_verdict(report)], list(_sections(report))
    sections += _provenance(report)
    return page(title, f"{report.dataset}, seeds {_seeds(report)}", cards, sections)


def page(title: str, subtitle: str, cards: Sequence[Card], sections: Sequence[Section]) -> str:
    """Return the HTML of a page."""
    return _TEMPLATE.render(title=title, subtitle=subtitle, cards=cards, sections=sections)


def _verdict(front: Front) -> Card:
    """Return the card that says what was found and what to do."""
    lines = [front.advice] if front.advice else []
    if front.anchors is not None and (problem := shortfall(front.anchors)) is not None:
        lines.insert(0, f"{problem}.")
    facts = [
        (
            f"gain at most {share(trade.most_cost)} cost",
            "none"
            if trade.tradeoff == 1
            else f"{trade.gain.mean:+.4f} unbiased for {trade.cost.mean:.4f} logged, at "
            f"w = {trade.tradeoff:g}",
        )
        for trade in front.trades
    ]
    if front.anchors is not None:
        lead = front.anchors.best.lead
        error = "unknown" if lead.se is None else f"{lead.se:.4f}"
        facts.append(
            (
                "ahead of the best simple model",
                f"{lead.mean:+.4f} ± {error}, {front.anchors.best.name}",
            )
        )
    facts.append(("errors", f"{front.se_kind}, ± is one standard error"))
    return Card(front.verdict, VERDICTS[front.verdict], lines, facts)


def _sections(report: Report) -> Iterator[Section]:
    with drawn(7.5, 4.6) as figure:
        front_axes(figure.add_subplot(), [report], report.baselines)
        chart = svg(figure)
    yield Section("The front", f"{_READ_FRONT} By one proxy alone: {report.diagnostic}.", chart)
    if report.baselines:
        text = "Other ways to trade the two sides, trained and measured on the same rows."
        yield Section("Baselines", text, table=html(rivals_table(report)))
    if report.anchors is not None:
        yield Section(
            "Simple models",
            "A model that does not beat these is not worth serving.",
            anchors_chart(report.anchors),
            html(anchor_table(report.anchors)),
        )
    if any(point.shown for point in report.points):
        text = (
            "What users would see in the first ten places of the whole catalogue. The tail is the "
            "80 % of items with the fewest clicks; a Gini coefficient of 0 shows all items equally "
            "often, 1 shows a single one."
        )
        yield Section("What is shown", text, shown_chart(report))
    if report.segments:
        text = "How well clicks are predicted for parts of the traffic."
        table = html(segment_table(report.segments))
        yield Section("Segments", text, segments_chart(report.segments), table, folded=True)
    if report.user_groups:
        text = "Dots on the line: for these users, a score of .3 means three clicks in ten."
        yield Section("Calibration", text, calibration_chart(report.user_groups))
    if report.purification:
        yield Section("Purification", table=html(probe_table(report.purification)))
    if report.mask:
        yield Section("Mask", table=html(mask_table(report.mask)))
    if report.training:
        text = "The value by which validation chose the weights, one line a training."
        yield Section("Training", text, training_chart(report.training))
    yield Section("All numbers", table=html(front_table(report)), folded=True)


def _provenance(report: Report | RankingReport) -> Iterator[Section]:
    if report.data is not None:
        text = "Read this first if a figure surprises you."
        yield Section("Data", text, table=html(data_table(report.data).removeprefix("## Data")))
    if report.origin is not None:
        yield Section("How to reproduce", code=_commands(report.origin))
        yield Section("Configuration", code=report.origin.configuration)


def _commands(origin: Origin) -> str:
    source = f"# Sources: commit {origin.commit}\n" if origin.commit else ""
    return f"{source}{origin.command}"


def _seeds(report: Report | RankingReport) -> str:
    return ", ".join(map(str, report.seeds))


def html(markdown: str) -> str:
    """Return Markdown as HTML."""
    return str(_MARKDOWN.render(markdown))
