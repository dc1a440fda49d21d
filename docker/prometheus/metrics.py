"""Writes docs/metrics.md from telemetry.py; with ``--check``, compares it.

``python -m docker.prometheus.metrics``
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from service.telemetry import Telemetry

OUT = Path(__file__).parents[2] / "docs" / "metrics.md"
HEAD = """\
# Metrics

Made from [telemetry.py](../service/telemetry.py) by `python -m docker.prometheus.metrics`.
Each replica exposes its own metrics at `/metrics`. Labels are bounded: routes, loaded models,
tenths of the tradeoff and fixed lists. A histogram `NAME` is exposed as `NAME_bucket`, `NAME_sum`
and `NAME_count`.

| metric | kind | labels | description |
| --- | --- | --- | --- |
"""


def table() -> str:
    """Return the page: one line for each metric, in the order of ``telemetry.py``."""
    lines = []
    for metric in Telemetry().docs:
        labels = ", ".join(f"`{name}`" for name in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.description} |\n")
    return HEAD + "".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with ``--check`` return 1 where it is out of date."""
    if "--check" not in arguments:
        OUT.write_text(table())
    elif OUT.read_text() != table():
        sys.stderr.write("docs/metrics.md differs from telemetry.py: run this without --check\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
