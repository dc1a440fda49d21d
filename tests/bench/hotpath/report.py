"""Results as rows of JSON, Markdown tables and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.bench.common import Flat, Spread

Cell = str | int | float


@dataclass(frozen=True)
class Row(Flat):
    """A variant at one number of candidates.

    ``ratio``: its CPU time over ours, turn by turn. ``late_p99_ms``: delay of the open loop's own
    client. ``difference``: largest difference of a score from the reference.
    """

    variant: str
    n: int
    cpu_us: Spread
    ratio: Spread
    p50_ms: float
    p99_ms: float
    late_p99_ms: float
    rps: float
    rss_mb: float
    difference: float
    library: str
    description: str


@dataclass(frozen=True)
class Table:
    """Results of a further measurement; all rows have the same columns."""

    name: str
    caption: str
    rows: Sequence[Mapping[str, Cell]]


def main_table(rows: Sequence[Row], setting: str, failed: Mapping[str, str]) -> str:
    """Return the table of all variants, and the ratios of ours to the floor."""
    lines = [
        setting,
        "Median (least to greatest). CPU: user and system time per request, all processes of the",
        "server, in a closed loop of 8. Ratio: CPU of the variant over CPU of ours in the same",
        "turn; above 1, ours is cheaper. p50, p99: open loop with Poisson arrivals at 60 % of the",
        "variant's requests/s, from the intended time of sending. RSS: sum over processes.",
        "",
        "| N | variant | library | CPU us per request | ratio | requests/s | p50 ms | p99 ms "
        "| RSS MB |",
        "|" + " --- |" * 9,
        *(_cells(row) for row in rows),
        *(f"| | {name} | | failed | | | | | |" for name in failed),
        "",
    ]
    for row in rows:
        if row.variant == "floor":
            ours = [1 / value for value in (row.ratio.greatest, row.ratio.median, row.ratio.least)]
            lines.append(
                f"Ours / floor at N = {row.n}: {ours[1]:.1f} ({ours[0]:.1f} to {ours[2]:.1f})."
            )
    differences = [row.difference for row in rows if row.variant != "floor"]
    lines += [
        "",
        "Before the clock starts, the first rankings of every variant are compared with the",
        "artifact's graphs: ids, places, statuses and scores to three digits are equal byte for",
        f"byte, and scores differ by at most {max(differences, default=0.0):.0e}.",
        "",
        *(f"{name}: {' '.join(reason.split())[:300]}" for name, reason in failed.items()),
    ]
    return "\n".join(lines) + "\n"


def short_table(rows: Sequence[Row]) -> str:
    """Return a line per variant: CPU and its ratio to ours at each N, latency at the middle N."""
    sizes = sorted({row.n for row in rows})
    middle = sizes[len(sizes) // 2]
    by_size = {(row.variant, row.n): row for row in rows}
    lines = [
        f"| CPU us per request | {' | '.join(f'N = {n}' for n in sizes)} "
        f"| p50, p99 ms at {middle} |",
        "|" + " --- |" * (len(sizes) + 2),
    ]
    for variant in dict.fromkeys(row.variant for row in rows):
        costs = (
            f"{row.cpu_us.median:,.0f} ({row.ratio.median:.2g}x)"
            for row in (by_size[variant, n] for n in sizes)
        )
        at = by_size[variant, middle]
        lines.append(
            f"| {variant}: {at.description} | {' | '.join(costs)} "
            f"| {at.p50_ms:.1f}, {at.p99_ms:.1f} |"
        )
    return "\n".join(lines) + "\n"


def further_table(caption: str, rows: Sequence[Mapping[str, Cell]]) -> str:
    """Return the table of a further measurement; all rows have the same columns."""
    lines = [
        caption,
        "",
        "| " + " | ".join(rows[0]) + " |",
        "|" + " --- |" * len(rows[0]),
        *("| " + " | ".join(map(_text, row.values())) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw CPU time by variant, one panel for each number of candidates."""
    sizes = sorted({row.n for row in rows})
    figure = Figure(figsize=(3.4 * len(sizes) + 1, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(sizes), squeeze=False, sharey=True)[0]
    for axes, n in zip(panels, sizes, strict=True):
        _plot_cost(axes, [row for row in rows if row.n == n])
        axes.set_title(f"{n} candidates", fontsize=10)
    panels[0].invert_yaxis()
    panels[len(panels) // 2].set_xlabel("server CPU microseconds per request, log scale")
    figure.savefig(path, dpi=120)


def _plot_cost(axes: Axes, rows: Sequence[Row]) -> None:
    middle = [row.cpu_us.median for row in rows]
    error = [
        [row.cpu_us.median - row.cpu_us.least for row in rows],
        [row.cpu_us.greatest - row.cpu_us.median for row in rows],
    ]
    colours = ["C0" if row.variant == "ours" else "C7" for row in rows]
    bars = axes.barh([row.variant for row in rows], middle, xerr=error, capsize=2, color=colours)
    axes.bar_label(bars, [f" {value:,.0f}" for value in middle], fontsize=7)
    axes.set_xscale("log")
    axes.set_xlim(right=max(row.cpu_us.greatest for row in rows) * 4)
    axes.grid(axis="x", alpha=0.3)


def _cells(row: Row) -> str:
    cells = [
        f"{row.n}",
        row.variant,
        row.library,
        row.cpu_us.cell(",.0f"),
        row.ratio.cell(".2f") if row.variant != "ours" else "",
        f"{row.rps:,.0f}",
        f"{row.p50_ms:.1f}",
        f"{row.p99_ms:.1f}",
        f"{row.rss_mb:,.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _text(value: Cell) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value
