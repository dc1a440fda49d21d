"""How plots look: ours stands out, rivals are grey and named where they end, in any theme."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#1f2328"
QUIET = "#6e7781"  # rivals, and what is not data
LINE = "#d0d7de"
OURS = "#0969da"
OTHER = "#bc4c00"  # a second model of equal rank
PAPER = "#ffffff"

# The colours of pages: an SVG takes those of the theme in place of its own.
_TOKENS = {INK: "ink", QUIET: "quiet", LINE: "line", OURS: "ours", OTHER: "other", PAPER: "paper"}
_COLOUR = re.compile("|".join(_TOKENS))
_RC: dict[Any, Any] = {
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.size": 10,
    "font.family": "sans-serif",
    "svg.fonttype": "none",  # text stays text: it can be selected and read aloud
    "svg.hashsalt": "paretorank",  # equal plots are equal files
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_GAP = 0.055  # least distance of two names in the margin, of the height of the axes


@contextmanager
def drawn(width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure of a size in inches; what is drawn within has the style."""
    with mpl.rc_context(_RC):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
        FigureCanvasAgg(figure)
        yield figure


def svg(figure: Figure) -> str:
    """Return a figure as an ``svg`` element without a background, in the colours of its page."""
    file = io.StringIO()
    with mpl.rc_context(_RC):
        figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    return _COLOUR.sub(lambda found: f"var(--{_TOKENS[found[0]]})", text)


@dataclass(frozen=True)
class Name:
    """The name of a curve and the point (x, y), in data, that it belongs to."""

    text: str
    x: float
    y: float
    colour: str = QUIET


def name_in_margin(axes: Axes, names: Sequence[Name]) -> None:
    """Write ``names`` right of the axes, none over another, each with a line to its point."""
    low, high = axes.get_ylim()
    wanted = [(name.y - low) / (high - low) for name in names]
    for name, place in zip(names, spread(wanted, _GAP), strict=True):
        axes.annotate(
            name.text,
            (name.x, name.y),
            xytext=(1.03, place),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=name.colour,
            arrowprops={"arrowstyle": "-", "color": LINE, "linewidth": 0.7, "shrinkB": 3},
            annotation_clip=False,
        )


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Return places at least ``gap`` apart, in the order of ``wanted`` and near it.

    Neighbours that are too close form a block around their mean, until no two blocks meet.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    blocks: list[list[int]] = []
    for i in order:
        blocks.append([i])
        while len(blocks) > 1 and _start(blocks[-1], wanted, gap) < _end(blocks[-2], wanted, gap):
            last = blocks.pop()
            blocks[-1].extend(last)
    places = [0.0] * len(wanted)
    for block in blocks:
        for rank, i in enumerate(block):
            places[i] = _start(block, wanted, gap) + gap * (rank + 0.5)
    return places


def _start(block: Sequence[int], wanted: Sequence[float], gap: float) -> float:
    return sum(wanted[i] for i in block) / len(block) - gap * len(block) / 2


def _end(block: Sequence[int], wanted: Sequence[float], gap: float) -> float:
    return _start(block, wanted, gap) + gap * len(block)
