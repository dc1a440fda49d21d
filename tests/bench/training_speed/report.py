"""Results as rows of JSON, Markdown tables and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.bench.common import Flat, Spread
from tests.bench.training_speed.protocol import Task


@dataclass(frozen=True)
class Speed(Flat):
    """A variant over its repeats; ratios: speed of the reference over its own, turn by turn."""

    variant: str
    users: int | None
    library: str
    trains_on: str
    reference: str
    rows_per_s: Spread
    rows_per_cpu_s: Spread
    ratio: Spread
    cpu_ratio: Spread
    epoch_s: float
    prepare_s: float
    imported_rss_mb: float
    peak_rss_mb: float
    auc: float


@dataclass(frozen=True)
class Memory:
    """Peak memory of ours over one epoch of ``rows`` rows."""

    impressions: int
    rows: int
    imported_rss_mb: float
    peak_rss_mb: float
    rows_per_s: float


def markdown(speeds: Sequence[Speed], memory: Sequence[Memory], task: Task, repeats: int) -> str:
    """Return both tables with their captions."""
    lines = [
        f"Training loop alone, one process on one core, {repeats} alternating turns of every",
        f"variant: {task.impressions:,} simulated logged impressions, {task.epochs} epochs,",
        f"batches of {task.batch_rows} rows, embeddings of {task.dim}, two hidden layers of",
        f"{task.hidden},",
        f"{task.cross_layers} cross layers. Median (least to greatest). Ratio: speed of ours over",
        "the variant's in the same turn; above 1, ours is faster. CPU seconds exclude other load",
        "on the machine. Peak RSS: the whole process with preparation / the imports alone. AUC:",
        "logged test rows after the same epochs. It shows that all variants train, not which is",
        "best.",
        "",
        "| variant | library | trains on | rows/s | rows/CPU s | ratio | ratio by CPU | epoch s "
        "| prepare s | peak RSS MB | AUC |",
        "|" + " --- |" * 11,
        *(_speed_row(speed) for speed in speeds),
        "",
    ]
    if memory:
        lines += [
            "Memory of ours over one epoch, by size. At small sizes, most of the peak is constant.",
            "The allocator's reuse of freed memory moves single steps by some 50 MB.",
            "",
            "| impressions | training rows | peak RSS MB | bytes per further impression | rows/s |",
            "|" + " --- |" * 5,
            *(_memory_row(*pair) for pair in zip(memory, (None, *memory), strict=False)),
            "",
        ]
    return "\n".join(lines)


def by_users(speeds: Mapping[int, Sequence[Speed]], task: Task, repeats: int) -> str:
    """Return the table of speeds on random logs, by their number of users, with its caption."""
    lines = [
        f"Training loop alone, one process on one core, {repeats} alternating turns of every",
        f"variant: {task.impressions:,} random impressions in slates of one user, batches of",
        f"{task.batch_rows} rows, embeddings of {task.dim}, epochs: {task.epochs}. Ratio: speed of",
        "ours over the variant's in the same turn, by CPU time. Median (least to greatest).",
        "",
        "| users | variant | library | trains on | rows/CPU s | ratio by CPU | peak RSS MB |",
        "|" + " --- |" * 7,
    ]
    for users, rows in speeds.items():
        for speed in rows:
            ratio = speed.cpu_ratio.cell(".2f") if speed.variant != speed.reference else ""
            lines.append(
                f"| {users:,} | {speed.variant} | {speed.library} | {speed.trains_on} "
                f"| {speed.rows_per_cpu_s.cell(',.0f')} | {ratio} | {speed.peak_rss_mb:.0f} |"
            )
    return "\n".join([*lines, ""])


def _speed_row(speed: Speed) -> str:
    compared = speed.variant != speed.reference
    cells = [
        speed.variant,
        speed.library,
        speed.trains_on,
        speed.rows_per_s.cell(",.0f"),
        speed.rows_per_cpu_s.cell(",.0f"),
        speed.ratio.cell(".2f") if compared else "",
        speed.cpu_ratio.cell(".2f") if compared else "",
        f"{speed.epoch_s:.2f}",
        f"{speed.prepare_s:.1f}",
        f"{speed.peak_rss_mb:.0f} / {speed.imported_rss_mb:.0f}",
        f"{speed.auc:.4f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _memory_row(row: Memory, smaller: Memory | None) -> str:
    bytes_per_row = ""
    if smaller is not None:
        grown = (row.peak_rss_mb - smaller.peak_rss_mb) * 2**20
        bytes_per_row = f"{grown / (row.impressions - smaller.impressions):.0f}"
    return (
        f"| {row.impressions:,} | {row.rows:,} | {row.peak_rss_mb:.0f} | {bytes_per_row} "
        f"| {row.rows_per_s:,.0f} |"
    )


def plot(speeds: Sequence[Speed], memory: Sequence[Memory], path: Path) -> None:
    """Draw rows/s with least and greatest, and memory by size if measured."""
    figure = Figure(figsize=(11 if memory else 6.4, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2 if memory else 1, squeeze=False)[0]
    _plot_speed(panels[0], speeds)
    if memory:
        _plot_memory(panels[1], memory)
    figure.savefig(path, dpi=120)


def _plot_speed(axes: Axes, speeds: Sequence[Speed]) -> None:
    middle = [speed.rows_per_s.median for speed in speeds]
    error = [
        [speed.rows_per_s.median - speed.rows_per_s.least for speed in speeds],
        [speed.rows_per_s.greatest - speed.rows_per_s.median for speed in speeds],
    ]
    colours = ["C0" if speed.variant == speed.reference else "C7" for speed in speeds]
    axes.barh([speed.variant for speed in speeds], middle, xerr=error, capsize=3, color=colours)
    axes.invert_yaxis()
    axes.set_xlabel("training rows per second, one core (bars: least to greatest)")
    axes.grid(axis="x", alpha=0.3)


def _plot_memory(axes: Axes, memory: Sequence[Memory]) -> None:
    million = [row.impressions / 1e6 for row in memory]
    axes.plot(million, [row.peak_rss_mb for row in memory], marker="o", label="peak RSS")
    axes.plot(million, [row.imported_rss_mb for row in memory], linestyle=":", label="imports")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("million impressions")
    axes.set_ylabel("MB, ours")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
