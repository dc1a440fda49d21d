"""docs/metrics.md from telemetry.py: run it to write the file, ``--check`` compares."""

from __future__ import annotations

import sys
from pathlib import Path

from service.telemetry import Telemetry

OUT = Path(__file__).parents[2] / "docs" / "metrics.md"
HEAD = """\
# Metrics

Made from [telemetry.py](../service/telemetry.py) by `python docker/prometheus/metrics.py`.
Every replica counts for itself at `/metrics`; label values are bounded by routes, models loaded,
tenths of the tradeoff and fixed lists. A counter `NAME_total` is shown under that name, a histogram
as `NAME_bucket`, `NAME_sum` and `NAME_count`.

| metric | kind | labels | description |
| --- | --- | --- | --- |
"""


def table() -> str:
    """Return the page, one line a metric in the order of ``telemetry.py``."""
    lines = []
    for metric in Telemetry().docs:
        labels = ", ".join(f"`{name}`" for name in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.description} |\n")
    return HEAD + "".join(lines)


def main() -> int:
    """Write the page, or with ``--check`` tell whether it is up to date."""
    if "--check" not in sys.argv[1:]:
        OUT.write_text(table())
    elif OUT.read_text() != table():
        sys.stderr.write("docs/metrics.md is not what telemetry.py says: run this\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
