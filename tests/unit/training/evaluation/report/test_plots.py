from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from service.contract.front import Estimate, Front
from training.data.split import POPULARITY_SHIFT
from training.evaluation.baselines.reranking import BASELINES
from training.evaluation.report.plots import plot_front
from training.evaluation.report.schema import Curve
from training.evaluation.report.style import OURS, QUIET, spread

NOWHERE = Path("not-written.png")


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Collect the figures that a plot would write."""
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    return drawn


def test_the_plot_shows_the_numbers(front: Front, figures: list[Figure]) -> None:
    plot_front(front, NOWHERE, title="demo")

    axes = figures[0].axes[0]
    line = axes.get_lines()[0]
    assert np.asarray(line.get_xdata()).tolist() == [0.61, 0.65, 0.68, 0.69]
    assert np.asarray(line.get_ydata()).tolist() == [0.76, 0.75, 0.72, 0.65]
    lengths = []
    for container in axes.containers:  # of w = 0, 0.5 and 1
        assert isinstance(container, ErrorbarContainer)
        along_x, along_y = (np.array(bar.get_segments()) for bar in container.lines[2])
        lengths.append((np.ptp(along_x[0, :, 0]), np.ptp(along_y[0, :, 1])))
    expected = [0.004, 0.0, 0.008]  # 2 standard errors each side
    assert lengths == [pytest.approx((length, length), abs=1e-12) for length in expected]
    assert [text.get_text() for text in axes.texts] == ["w = 0", "w = 0.5", "w = 1"]
    assert axes.get_xlabel() == "AUC on logged traffic"
    assert axes.get_ylabel() == "AUC on unbiased traffic (uniform exposure)"
    plot_front(front.model_copy(update={"unbiased_kind": POPULARITY_SHIFT}), NOWHERE, title="x")
    assert figures[1].axes[0].get_ylabel() == "AUC on the less popular half of the logged test"
    title = axes.get_title(loc="left")
    assert title == "front: clear; bars: 2 standard errors over seeds"


def test_the_plot_shows_the_popularity_of_shown_items(
    front: Front, front_with_shown: Front, figures: list[Figure]
) -> None:
    plot_front(front_with_shown, NOWHERE, title="demo")
    plot_front(front, NOWHERE, title="demo")

    axes = figures[0].axes[1]
    curve = axes.containers[0]
    assert isinstance(curve, ErrorbarContainer)
    line, _, (_, bar) = curve.lines
    assert np.asarray(line.get_xdata()).tolist() == [0.0, 0.25, 0.5, 1.0]
    assert np.asarray(line.get_ydata()).tolist() == [70.0, 75.0, 80.0, 90.0]
    lengths = np.ptp(np.array(bar.get_segments()), axis=1).max(axis=1)
    assert lengths == pytest.approx([1.0] * 4)
    assert axes.get_xlabel() == "tradeoff w"
    assert len(figures[1].axes) == 1  # it was not measured


def test_rivals_are_grey_named_where_they_end_and_never_alike(
    front: Front, figures: list[Figure]
) -> None:
    half = (Estimate(mean=0.5),)
    curve = Curve(description="", tradeoffs=(0.0,), logged=half, unbiased=half, hypervolume=half[0])

    plot_front(front, NOWHERE, title="x", curves=dict.fromkeys(BASELINES, curve))

    axes = figures[0].axes[0]
    named = [line for line in axes.get_lines() if line.get_label() in BASELINES]
    assert {to_hex(line.get_color()) for line in named} == {QUIET}
    looks = {(line.get_marker(), line.get_markerfacecolor()) for line in named}
    assert len(looks) == len(BASELINES)
    names = {text.get_text(): text for text in axes.texts if isinstance(text, Annotation)}
    assert axes.get_legend() is None
    heights = sorted(names[name].xyann[1] for name in BASELINES)
    assert np.diff(heights).min() == pytest.approx(0.055)
    assert names["this model"].get_color() == OURS


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ([0.5, 0.1, 0.9], [0.5, 0.1, 0.9]),  # far apart: where they belong
        ([0.5, 0.5], [0.45, 0.55]),
        ([0.5, 0.5, 0.58], [0.4267, 0.5267, 0.6267]),  # the third is pushed along
    ],
)
def test_names_are_spread(wanted: list[float], places: list[float]) -> None:
    assert spread(wanted, 0.1) == pytest.approx(places, abs=1e-4)
