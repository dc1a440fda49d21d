from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from service.contract.front import Estimate, Front
from training.data.split import POPULARITY_SHIFT
from training.evaluation.baselines.reranking import BASELINES
from training.evaluation.report.plots import plot_front
from training.evaluation.report.schema import Curve

NOWHERE = Path("not-written.png")


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Collect the figures that a plot would write."""
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    return drawn


def test_the_plot_shows_the_numbers(front: Front, figures: list[Figure]) -> None:
    other = front.model_copy(update={"dataset": "other"})

    plot_front([front, other], NOWHERE, title="demo")

    axes = figures[0].axes[0]
    curve = axes.containers[0]
    assert isinstance(curve, ErrorbarContainer)
    line, _, bars = curve.lines
    assert np.asarray(line.get_xdata()).tolist() == [0.61, 0.65, 0.68, 0.69]
    assert np.asarray(line.get_ydata()).tolist() == [0.76, 0.75, 0.72, 0.65]
    for bar in bars:  # along x, along y: 2 standard errors each side
        lengths = np.ptp(np.array(bar.get_segments()), axis=1).max(axis=1)
        assert lengths == pytest.approx([0.004, 0.004, 0.0, 0.008], abs=1e-12)
    assert [text.get_text() for text in axes.texts] == ["w = 0", "w = 0.5", "w = 1"] * 2
    assert axes.get_xlabel() == "AUC on logged traffic"
    assert axes.get_ylabel() == "AUC on unbiased traffic (uniform exposure)"
    plot_front([front.model_copy(update={"unbiased_kind": POPULARITY_SHIFT})], NOWHERE, title="x")
    assert figures[1].axes[0].get_ylabel() == "AUC on the less popular half of the logged test"
    assert axes.get_title() == "demo: front clear; bars: 2 standard errors over seeds"
    legend = axes.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.texts] == ["toy, seeds 3, 4", "other, seeds 3, 4"]


def test_the_plot_shows_the_popularity_of_shown_items(
    front: Front, front_with_shown: Front, figures: list[Figure]
) -> None:

    plot_front([front_with_shown], NOWHERE, title="demo")
    plot_front([front_with_shown, front], NOWHERE, title="demo")

    axes = figures[0].axes[1]
    curve = axes.containers[0]
    assert isinstance(curve, ErrorbarContainer)
    line, _, (bar,) = curve.lines
    assert np.asarray(line.get_xdata()).tolist() == [0.0, 0.25, 0.5, 1.0]
    assert np.asarray(line.get_ydata()).tolist() == [70.0, 75.0, 80.0, 90.0]
    lengths = np.ptp(np.array(bar.get_segments()), axis=1).max(axis=1)
    assert lengths == pytest.approx([1.0] * 4)
    assert axes.get_xlabel() == "tradeoff w"
    assert len(figures[1].axes) == 1  # one of the two was measured without


def test_no_two_baselines_are_drawn_alike_nor_like_the_front(
    front: Front, figures: list[Figure]
) -> None:
    half = (Estimate(mean=0.5),)
    curve = Curve(description="", tradeoffs=(0.0,), logged=half, unbiased=half, hypervolume=half[0])

    plot_front([front], NOWHERE, title="x", curves=dict.fromkeys(BASELINES, curve))

    named = [line for line in figures[0].axes[0].get_lines() if line.get_label() in BASELINES]
    assert len(named) == len(BASELINES)
    assert len({(to_hex(line.get_color()), line.get_marker()) for line in named}) == len(BASELINES)
    assert to_hex("C0") not in {to_hex(line.get_color()) for line in named}
