"""The summary of a dataset as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from service.contract.dataset_summary import Counts, DatasetSummary


def data_table(summary: DatasetSummary) -> str:
    """Return the section "Data" of a report; suspicious things stand last, one a line."""
    splits = ", ".join(f"{count:,} {name}" for name, count in summary.splits.items())
    times = f"{summary.first} to {summary.last}" if summary.first else "none"
    if not summary.first and summary.split_by == "random":
        times += ": random split"
    alone = ": clicks alone, train painvrl" if summary.clicks_alone else ""
    facts = {
        "rows": f"{summary.rows:,}: {summary.logged:,} logged, {summary.uniform:,} uniform",
        "click rate": f"{_share(summary.click_rate)} logged, "
        f"{_share(summary.uniform_click_rate)} uniform{alone}",
        "users, items": f"{summary.users:,}, {summary.items:,}",
        "times": times,
        f"split by {summary.split_by}": splits,
        "rows of a user": _counts(summary.rows_by_user),
        "rows of an item": _counts(summary.rows_by_item),
        "attributes of users": f"{summary.user_attributes} numbers",
    }
    sections = ["## Data", _table(("", ""), list(facts.items()))]
    if summary.proxies:
        sections.append(
            _table(
                ("proxy", "kind", "missing", "AUC alone", "correlation with the label"),
                [
                    (p.name, p.kind, _share(p.missing), _number(p.auc), _number(p.correlation))
                    for p in summary.proxies
                ],
            )
        )
    sections.append(
        _table(
            ("modality", "dim", "missing", "norm, median", "99 %", "largest"),
            [
                (
                    m.name,
                    str(m.dim),
                    _share(m.missing),
                    *(f"{norm:.4g}" for norm in (m.norm_median, m.norm_p99, m.norm_max)),
                )
                for m in summary.modalities
            ],
        )
    )
    lines = [f"- {sentence}" for sentence in summary.suspicious]
    sections.append("\n".join(["Suspicious:", *lines] if lines else ["Suspicious: nothing"]))
    return "\n\n".join(sections)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _counts(counts: Counts) -> str:
    return (
        f"least {counts.least:g}, median {counts.median:g}, 90 % {counts.p90:.4g}, "
        f"99 % {counts.p99:.4g}, most {counts.most:g}"
    )


def _share(share: float | None) -> str:
    if share is None:
        return "-"
    return f"{100 * share:.1f} %" if not 0 < share < 0.0005 else "below 0.1 %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
