"""A model's card as a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from service.contract.card import Card
from service.contract.front import Estimate, FrontPoint
from service.contract.front_metrics import FRONT_METRICS, FrontMetric
from training.evaluation.report.page import VERDICTS
from training.evaluation.report.tables import anchor_table
from training.evaluation.verdict import proven

_AXES = {
    "auc": "AUC: how often an impression that was clicked scores higher than one that was not; 0.5 "
    "is chance.",
    "recall_at_20": "recall_at_20: the share of a person's clicks among the first 20 items of the "
    "whole catalogue.",
}
_SHOWN = ("popularity_percentile", "tail_share", "coverage")  # columns of the front's table
_METRICS = {metric.name: metric for metric in FRONT_METRICS}


@dataclass(frozen=True)
class _Column:
    """A column of the front's table."""

    side: Literal["logged", "unbiased", "shown"]
    metric: FrontMetric

    @property
    def head(self) -> str:
        """The head of the column."""
        shown = self.side == "shown"
        return self.metric.name if shown else f"{self.side} {self.metric.name}"

    @property
    def description(self) -> str:
        """What the column holds; empty for the axis, which the page explains."""
        return self.metric.description if self.side == "shown" else ""

    def holds(self, point: FrontPoint) -> bool:
        """Return whether it was measured."""
        return self.metric.name in getattr(point, self.side)

    def of(self, point: FrontPoint) -> str:
        """Return the cell of a tradeoff."""
        return number(getattr(point, self.side)[self.metric.name], self.metric.digits)


def card_page(card: Card) -> str:
    """Return the page of a card; it says nothing that the card does not hold."""
    front = card.front
    columns = [_Column("logged", _METRICS[front.axis]), _Column("unbiased", _METRICS[front.axis])]
    columns += [_Column("shown", _METRICS[name]) for name in _SHOWN]
    return _TEMPLATE.render(
        card=card,
        front=front,
        data=card.data,
        exposure=card.exposure,
        verdict=VERDICTS[front.verdict],
        axis=_AXES[front.axis],
        reasons={entry.part: entry.reason for entry in card.not_measured},
        columns=[column for column in columns if all(map(column.holds, front.points))],
    )


def cell(text: str) -> str:
    """Return text, of a dataset perhaps, as one line that no Markdown table or HTML reads."""
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;")


def count(number: int) -> str:
    """Return a whole number with commas."""
    return f"{number:,}"


def percent(value: float, signed: bool = False) -> str:
    """Return a share in percent, with one decimal."""
    return f"{100 * value:{'+' if signed else ''}.1f} %"


def percent_of(estimate: Estimate, signed: bool = False) -> str:
    """Return a share with its standard error, in percent."""
    error = "unknown" if estimate.se is None else f"{100 * estimate.se:.1f}"
    return f"{percent(estimate.mean, signed)} ± {error}"


def number(estimate: Estimate, digits: int) -> str:
    """Return a value with its standard error; some measures have none."""
    error = "" if estimate.se is None else f" ± {estimate.se:.{digits}f}"
    return f"{estimate.mean:.{digits}f}{error}"


def when(time: datetime) -> str:
    """Return a time in UTC, to the minute."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def heads(card: Card) -> list[str]:
    """Return the tradeoffs of a card as heads of columns, with the roles that they have."""
    roles = {card.front.recommended: "recommended", card.default_tradeoff: "default"}
    if card.front.recommended == card.default_tradeoff:
        roles = {card.default_tradeoff: "recommended, default"}
    return [f"w = {w:g}" + (f" ({roles[w]})" if w in roles else "") for w in card.tradeoffs]


def movements(card: Card) -> list[str]:
    """Return for each tradeoff below 1 which groups gain and lose exposure against w = 1."""
    if card.exposure is None:
        return []
    sentences = []
    for t, w in enumerate(card.tradeoffs[:-1]):
        changes = [(group.group, group.change[t]) for group in card.exposure.items]
        gain = [name for name, e in changes if proven(e.mean, e.se or 0.0)]
        lose = [name for name, e in changes if proven(-e.mean, e.se or 0.0)]
        sentences.append(
            f"At w = {w:g}, against w = 1, these gain exposure: {_listed(gain)}. These lose it: "
            f"{_listed(lose)}."
        )
    return sentences


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "no group, beyond two standard errors"


_ENVIRONMENT = Environment(
    loader=PackageLoader("training.evaluation.report"),
    autoescape=False,  # noqa: S701  # Markdown; ``cell`` escapes what a dataset names
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=StrictUndefined,
)
_ENVIRONMENT.filters |= {"cell": cell, "percent_of": percent_of}
_ENVIRONMENT.globals |= {
    "anchor_table": anchor_table,
    "count": count,
    "heads": heads,
    "movements": movements,
    "number": number,
    "percent": percent,
    "percent_of": percent_of,
    "when": when,
}
_TEMPLATE = _ENVIRONMENT.get_template("card.md.jinja")
