"""What-if as text: Markdown tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from service.contract.front import Estimate
from training.evaluation.off_policy.schema import (
    ESTIMATORS,
    Pair,
    PolicyEstimate,
    Source,
    WhatIf,
)
from training.evaluation.report.tables import cell


def what_if_text(result: WhatIf) -> str:
    """Return all that ``what-if`` prints."""
    parts = [usable(result)]
    if result.policies:
        parts.append(policy_table(result.policies, result.metric))
        parts.append(place_table(result.policies))
    if result.order:
        parts.append(order_table(result.order))
    if result.ranked_again:
        parts.append(policy_table(result.ranked_again, result.metric))
    parts += result.notes
    if result.advice is not None:
        parts.append(result.advice.sentence)
    return "\n\n".join(parts)


def usable(result: WhatIf) -> str:
    """Return how much of the log the estimates rest on."""
    lines = [f"{result.read:,} decisions read{_less(result.left_out)}"]
    for source in (result.randomised, result.slots):
        if source is not None:
            lines.append(_source(source, result.read))
    return "\n".join(lines)


def policy_table(policies: Sequence[PolicyEstimate], metric: str) -> str:
    """Return policies with their outcome per request by every estimator, as a Markdown table."""
    names = [name for name in ESTIMATORS if any(name in p.outcome for p in policies)]
    has_tail = any(p.tail_share is not None for p in policies)
    headline = policies[0].headline
    ordered = [headline, *(name for name in names if name != headline)]
    columns = ["policy", *(f"{metric}, {name}" for name in ordered), "change", "decisions' worth"]
    columns += ["tail share", "change"] if has_tail else []
    rows = []
    for policy in policies:
        cells = [f"{policy.model}, {policy.name}" if metric == "" else policy.name]
        cells += [cell(policy.outcome.get(name)) for name in ordered]
        cells += [_percent(policy.change, policy), f"{policy.effective:,.0f}"]
        if has_tail:
            cells += [cell(policy.tail_share), _signed(policy.tail_change)]
        rows.append(cells)
    return _table(columns, rows)


def place_table(policies: Sequence[PolicyEstimate]) -> str:
    """Return the outcome of each place under each policy, as a Markdown table."""
    columns = ["place", *(policy.name for policy in policies), "decisions' worth, least"]
    rows = []
    for places in zip(*(policy.places for policy in policies), strict=True):
        least = min(place.effective for place in places)
        cells = [cell(place.outcome) for place in places]
        rows.append([str(places[0].place), *cells, f"{least:,.0f}"])
    return _table(columns, rows)


def order_table(order: Sequence[Pair]) -> str:
    """Return neighbours by outcome, and the decisions that tell them apart, as Markdown."""
    columns = ["better", "worse", "difference", "sure", "more decisions"]
    rows = [
        [
            pair.better,
            pair.worse,
            cell(pair.difference),
            "yes" if pair.sure else "no",
            "unknown" if pair.more is None else f"{pair.more:,}",
        ]
        for pair in order
    ]
    return _table(columns, rows)


def _source(source: Source, read: int) -> str:
    share = source.decisions / read
    return (
        f"{source.kind}: {source.decisions:,} decisions ({share:.0%}) of {source.users:,} users, "
        f"{source.places} places{_less(source.left_out)}"
    )


def _less(left_out: dict[str, int]) -> str:
    parts = [f"{count:,} {reason}" for reason, count in left_out.items() if count]
    return f"; left out were {', '.join(parts)}" if parts else ""


def _percent(change: Estimate | None, policy: PolicyEstimate) -> str:
    """Return a change as a share of what it is compared with."""
    if change is None or policy.value is None or policy.value.mean == change.mean:
        return ""
    whole = policy.value.mean - change.mean
    error = "" if change.se is None else f" ± {abs(change.se / whole):.1%}"
    return f"{change.mean / whole:+.1%}{error}"


def _signed(change: Estimate | None) -> str:
    if change is None:
        return ""
    error = "" if change.se is None else f" ± {change.se:.4f}"
    return f"{change.mean:+.4f}{error}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
