"""Tables of outcomes: ``chaos.json``, ``chaos.md`` and a part of ``docs/reliability.md``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.common import ROOT
from tests.chaos.outcome import PHASES, Outcome
from tests.chaos.scenario import SCENARIOS
from tests.chaos.soak import Soak

PAGE = ROOT / "docs" / "reliability.md"
BEGIN = "<!-- Written by `make chaos`, down to the next comment. -->"
END = "<!-- The end of what `make chaos` writes. -->"

_P99 = "p99 before / during / after, ms"
_HEADERS = ("fault", "codes", "degraded", _P99, "recovery, s", "lost", "verdict")

Rows = dict[str, dict[str, Any]]


def write(build: Path, outcomes: Sequence[Outcome], *, quick: bool) -> None:
    """Write the outcomes, with earlier ones of scenarios that were not run now."""
    path = build / ("chaos-quick.json" if quick else "chaos.json")
    rows = _read(path).get("rows", {})
    rows |= {row.name: row.document() for row in outcomes}
    rows = {name: rows[name] for name in SCENARIOS if name in rows}
    path.write_text(json.dumps({**_conditions(), "rows": rows}, indent=2) + "\n")
    path.with_suffix(".md").write_text(table(rows) + "\n")


def write_soak(build: Path, soak: Soak) -> None:
    """Write what a soak showed."""
    document = {**_conditions(), "soak": soak.document()}
    (build / "soak.json").write_text(json.dumps(document, indent=2) + "\n")


def write_page(build: Path, page: Path = PAGE) -> None:
    """Replace the part of the page between its two comments by what ``build`` holds."""
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    measured = _measured(_read(build / "chaos.json"), _read(build / "soak.json"))
    page.write_text(f"{before}{BEGIN}\n\n{measured}\n\n{END}{after}")


def table(rows: Rows) -> str:
    """Return a Markdown table, one row a scenario."""
    lines = [f"| {' | '.join(_HEADERS)} |", "| --- " * len(_HEADERS) + "|"]
    for row in rows.values():
        p99 = " / ".join(f"{row['p99_ms'][phase]:.3g}" for phase in PHASES)
        cells = (
            row["fault"],
            _counts(row["codes"]),
            _counts(row["degraded"]),
            p99,
            f"{row['recovery_s']:.1f}",
            str(row["lost"]),
            row["verdict"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _measured(chaos: dict[str, Any], soak: dict[str, Any]) -> str:
    rows: Rows = chaos["rows"]
    requests = sum(row["requests"] for row in rows.values())
    wrong = sum(row["wrong"] for row in rows.values())
    parts = [
        f"Measured on {chaos['date']}, on {chaos['machine']}. Of {requests:,} answers, {wrong:,} "
        "were wrong.",
        table(rows),
    ]
    if soak:
        parts.append(_soak(soak))
    return "\n\n".join(parts)


def _soak(document: dict[str, Any]) -> str:
    soak = document["soak"]
    lines = [
        f"A soak of {soak['minutes']:g} minutes on {document['date']}: {soak['requests']:,} "
        f"requests, {soak['swaps']} swaps between two versions, each followed by an update of all "
        f"records. {soak['lost']} requests were lost, {soak['unsound']} answers were degraded or "
        f"no ranking, {soak['wrong']} were wrong.",
        "",
        "| measured in the soak | early | late |",
        "| --- | --- | --- |",
    ]
    for number, (early, late) in enumerate(soak["rss_mb"], start=1):
        slope = soak["slope_mb_h"][number - 1]
        lines.append(
            f"| memory of replica {number}, MB; slope {slope:+g} MB/h | {early} | {late} |"
        )
    for number, (early, late) in enumerate(soak["descriptors"], start=1):
        lines.append(f"| descriptors of replica {number} | {early} | {late} |")
    for name in ("p50", "p99"):
        early, late = soak[f"{name}_ms"]
        lines.append(f"| {name}, ms | {early:.3g} | {late:.3g} |")
    return "\n".join(lines)


def _conditions() -> dict[str, str]:
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"a virtual machine with {os.cpu_count()} cores, which clients, proxy, replicas "
        "and Redis share",
    }


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return document


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items()) or "none"
