"""The files of a what-if: JSON, a page and a plot."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from service.contract.files import check_file, write_atomically
from training.evaluation.off_policy.plot import plot_what_if, what_if_chart
from training.evaluation.off_policy.schema import ESTIMATORS, WhatIf
from training.evaluation.off_policy.table import order_table, place_table, policy_table, usable
from training.evaluation.report.page import Card, Section, html, page

NAME = "what-if"

_READ = (
    "Each row is a policy: what every request would have come to, had it been served. ± is one "
    "standard error, over users. A change is against {against}, from the same decisions. "
    "Decisions' worth: the effective sample size, in decisions that had shown just this policy. "
    "Estimators: {estimators}."
)


def check_what_if(folder: Path) -> None:
    """Raise OSError unless ``write_what_if`` can write to ``folder``."""
    for path in _files(folder):
        check_file(path)


def write_what_if(result: WhatIf, folder: Path) -> Path:
    """Write what-if .json, .html and .png to ``folder``; return their path without the suffix."""
    folder.mkdir(parents=True, exist_ok=True)
    title = f"What if: {result.model}"
    plot = io.BytesIO()
    plot_what_if(result, plot, title=title)
    json_file, page_file, plot_file = _files(folder)
    write_atomically(plot_file, plot.getbuffer())
    write_atomically(page_file, what_if_page(result, title).encode())
    write_atomically(json_file, result.model_dump_json(indent=2).encode())
    return folder / NAME


def what_if_page(result: WhatIf, title: str) -> str:
    """Return the page of a result."""
    cards = []
    if result.advice is not None:
        tone = "clear" if result.advice.suffices else "weak"
        heading = "The log suffices" if result.advice.suffices else "The log does not suffice"
        cards.append(Card(tone, heading, [result.advice.sentence, *result.notes]))
    return page(title, f"{result.metric} per request", cards, list(what_if_sections(result)))


def what_if_sections(result: WhatIf) -> Iterator[Section]:
    """Yield the sections of a result, for its own page or a report's."""
    named = {name for policy in result.policies for name in policy.outcome}
    estimators = "; ".join(f"{name}, {text}" for name, text in ESTIMATORS.items() if name in named)
    text = _READ.format(against=result.against, estimators=estimators)
    if result.policies:
        table = html(policy_table(result.policies, result.metric))
        yield Section("Policies", text, what_if_chart(result), table)
    if result.ranked_again:
        table = html(policy_table(result.ranked_again, result.metric))
        text = (
            "Policies that did not serve, or not at these tradeoffs, from uniform slots alone: at "
            "the places that may be a slot. An empty cell: the log shows nothing of it. Without ±: "
            "too little."
        )
        yield Section("Ranked again", text, table=table)
    if result.order:
        text = (
            "Neighbours by outcome. More decisions: as many would make it sure, four times of five."
        )
        yield Section("Order", text, table=html(order_table(result.order)))
    if result.policies:
        table = html(place_table(result.policies))
        yield Section("Places", "The same by place, from the top.", table=table, folded=True)
    yield Section("The log", table=html(usable(result)))
    if result.command:
        yield Section("How to reproduce", code=result.command)


def _files(folder: Path) -> tuple[Path, Path, Path]:
    return folder / f"{NAME}.json", folder / f"{NAME}.html", folder / f"{NAME}.png"
