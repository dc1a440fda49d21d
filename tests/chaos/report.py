"""Tables of outcomes: ``chaos.json``, ``chaos.md`` and a part of ``docs/reliability.md``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.chaos.outcome import PHASES, Outcome
from tests.chaos.scenario import SCENARIOS

_P99 = "p99 before / during / after, ms"
_HEADERS = ("fault", "codes", "degraded", _P99, "recovery, s", "lost", "verdict")


def write(build: Path, outcomes: Sequence[Outcome], *, quick: bool) -> None:
    """Write the outcomes, with earlier ones of scenarios that were not run now."""
    path = build / ("chaos-quick.json" if quick else "chaos.json")
    rows = json.loads(path.read_text())["rows"] if path.exists() else {}
    rows |= {row.name: row.document() for row in outcomes}
    rows = {name: rows[name] for name in SCENARIOS if name in rows}
    path.write_text(json.dumps({"rows": rows}, indent=2) + "\n")
    path.with_suffix(".md").write_text(table(rows) + "\n")


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table, one row a scenario."""
    lines = [
        f"| {' | '.join(_HEADERS)} |",
        "| --- " * len(_HEADERS) + "|",
    ]
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


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items()) or "none"
