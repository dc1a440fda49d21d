from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from service.contract.manifest import Estimate, Front, FrontPoint
from training.evaluation.baselines.reranking import BASELINES
from training.evaluation.report.plots import plot_curves, plot_front
from training.evaluation.report.schema import Curve, Probe, Report, Segment
from training.evaluation.report.tables import cold_table, front_table, probe_table, ranking_table


def point(w: float, logged: float, unbiased: float, se: float | None) -> FrontPoint:
    return FrontPoint(
        tradeoff=w,
        logged={"auc": Estimate(mean=logged, se=se), "gauc": Estimate(mean=0.55)},
        unbiased={"auc": Estimate(mean=unbiased, se=se)},
    )


@pytest.fixture
def front() -> Front:
    return Front(
        points=(
            point(0.0, 0.61, 0.76, 0.001),
            point(0.25, 0.65, 0.75, 0.001),
            point(0.5, 0.68, 0.72, None),
            point(1.0, 0.69, 0.65, 0.002),
        ),
        unbiased_kind="uniform exposure",
        axis="auc",
        hypervolume=Estimate(mean=0.0184321, se=0.00012345),
        reference=(0.5, 0.5),
        spearman={"logged": 1.0, "unbiased": -0.987},
        gain={"logged": Estimate(mean=0.08, se=0.002), "unbiased": Estimate(mean=0.11)},
        verdict="clear",
        diagnostic="popularity alone: AUC 0.600 logged, 0.500 unbiased",
        se_kind="over seeds",
        seeds=(3, 4),
        dataset="toy",
    )


def test_the_table_by_hand(front: Front) -> None:
    assert front_table(front) == "\n".join(
        [
            "| w | logged auc | unbiased auc | logged gauc |",
            "| --- | --- | --- | --- |",
            "| 0.00 | 0.6100 ± 0.0010 | 0.7600 ± 0.0010 | 0.5500 |",
            "| 0.25 | 0.6500 ± 0.0010 | 0.7500 ± 0.0010 | 0.5500 |",
            "| 0.50 | 0.6800 | 0.7200 | 0.5500 |",
            "| 1.00 | 0.6900 ± 0.0020 | 0.6500 ± 0.0020 | 0.5500 |",
            "",
            "unbiased = uniform exposure; standard errors over seeds; 2 seeds",
            "hypervolume above (0.5, 0.5): 0.01843 ± 0.00012; "
            "Spearman of w: +1.00 logged, -0.99 unbiased",
            "gain of w = 1 on logged: 0.0800 ± 0.0020; of w = 0 on unbiased: 0.1100",
            "verdict: clear. popularity alone: AUC 0.600 logged, 0.500 unbiased",
        ]
    )


def with_shown(front: Front) -> Front:
    """Return the front with popularity percentiles of 70, 75, 80 and 90."""
    points = tuple(
        point.model_copy(
            update={
                "logged": {**point.logged, "ndcg_at_10": Estimate(mean=0.4)},
                "shown": {
                    "popularity_percentile": Estimate(mean=percentile, se=0.25),
                    "coverage": Estimate(mean=0.25),
                },
            }
        )
        for point, percentile in zip(front.points, (70.0, 75.0, 80.0, 90.0), strict=True)
    )
    return front.model_copy(update={"points": points})


def test_what_is_shown_has_a_table_of_its_own(front: Front) -> None:
    lines = front_table(with_shown(front)).splitlines()

    assert lines[:6] == front_table(front).splitlines()[:6]
    assert lines[6:10] == [
        "",
        "| w | logged ndcg_at_10 | shown popularity_percentile | shown coverage |",
        "| --- | --- | --- | --- |",
        "| 0.00 | 0.4000 | 70.0 ± 0.2 | 0.250 |",
    ]


def test_the_plot_shows_how_popular_the_shown_items_are(
    front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))

    plot_front([with_shown(front)], tmp_path / "front.png", title="demo")
    plot_front([with_shown(front), front], tmp_path / "front.png", title="demo")

    axes = drawn[0].axes[1]
    curve = axes.containers[0]
    assert isinstance(curve, ErrorbarContainer)
    line, _, (bar,) = curve.lines
    assert np.asarray(line.get_xdata()).tolist() == [0.0, 0.25, 0.5, 1.0]
    assert np.asarray(line.get_ydata()).tolist() == [70.0, 75.0, 80.0, 90.0]
    lengths = np.ptp(np.array(bar.get_segments()), axis=1).max(axis=1)
    assert lengths == pytest.approx([1.0] * 4)
    assert axes.get_xlabel() == "tradeoff w"
    assert len(drawn[1].axes) == 1  # one of the two was measured without


def test_no_two_baselines_are_drawn_alike_nor_like_the_front(
    front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    half = (Estimate(mean=0.5),)
    curve = Curve(what="", tradeoffs=(0.0,), logged=half, unbiased=half, hypervolume=half[0])

    plot_front([front], tmp_path / "x.png", title="x", curves=dict.fromkeys(BASELINES, curve))

    named = [line for line in drawn[0].axes[0].get_lines() if line.get_label() in BASELINES]
    assert len(named) == len(BASELINES)
    assert len({(to_hex(line.get_color()), line.get_marker()) for line in named}) == len(BASELINES)
    assert to_hex("C0") not in {to_hex(line.get_color()) for line in named}


def test_the_table_of_probes_by_hand() -> None:
    probe = Probe(
        proxy="popularity",
        measure="r2",
        purified=Estimate(mean=0.1, se=0.01),
        unpurified=Estimate(mean=0.3, se=0.02),
        difference=Estimate(mean=0.2, se=0.015),
        content=Estimate(mean=0.05),
    )
    auc = probe.model_copy(update={"measure": "auc"})

    assert probe_table([probe, auc]).splitlines()[1:] == [
        "| --- | --- | --- | --- | --- | --- |",
        "| popularity | R2 of its rank | 0.1000 ± 0.0100 | 0.3000 ± 0.0200 | 0.2000 ± 0.0150 "
        "| 0.0500 |",
        "| popularity | AUC | 0.1000 ± 0.0100 | 0.3000 ± 0.0200 | 0.2000 ± 0.0150 | 0.0500 |",
    ]


def test_the_table_of_cold_parts_by_hand() -> None:
    part = Segment(
        axis="logged",
        who="cold items",
        rows=20.0,
        clicks=5.4,
        users=7.0,
        items=3.0,
        auc={"w = 0": Estimate(mean=0.6, se=0.01), "click rate": Estimate(mean=0.5)},
    )
    other = part.model_copy(update={"axis": "unbiased", "auc": {"proxies": Estimate(mean=0.55)}})

    assert cold_table([part, other]).splitlines() == [
        "| axis | who | rows | clicks | users | items | w = 0 | click rate | proxies |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| logged | cold items | 20 | 5 | 7 | 3 | 0.6000 ± 0.0100 | 0.5000 |  |",
        "| unbiased | cold items | 20 | 5 | 7 | 3 |  |  | 0.5500 |",
    ]


def test_a_report_goes_through_json(front: Front) -> None:
    report = Report(**with_shown(front).model_dump(), baselines={})

    assert Report.model_validate_json(report.model_dump_json()) == report
    old = front.model_dump(exclude={"points": {"__all__": {"shown"}}})
    assert Report.model_validate({**old, "baselines": {}}).points == front.points


def test_one_seed_is_one_seed(front: Front) -> None:
    assert "; 1 seed\n" in front_table(front.model_copy(update={"seeds": (3,)}))


def test_every_tradeoff_of_a_fine_front_has_its_own_row(front: Front) -> None:
    points = tuple(point(float(w), 0.6, 0.7, None) for w in np.linspace(0, 1, 101))

    rows = front_table(front.model_copy(update={"points": points})).splitlines()[2:103]

    assert len({row.split("|")[1] for row in rows}) == 101


def test_the_plot_shows_the_numbers(
    front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    other = front.model_copy(update={"dataset": "other"})

    plot_front([front, other], tmp_path / "front.png", title="demo")

    axes = drawn[0].axes[0]
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
    assert axes.get_title() == "demo: front clear; bars: 2 standard errors over seeds"
    legend = axes.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.texts] == ["toy, seeds 3, 4", "other, seeds 3, 4"]


def test_the_plot_is_a_png(front: Front, tmp_path: Path) -> None:
    path = tmp_path / "front.png"

    plot_front([front], path, title="demo")

    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_rankers_are_told_at_the_ends_of_their_curves(tmp_path: Path) -> None:
    def at(recall: float) -> dict[str, Estimate]:
        return {"recall_at_20": Estimate(mean=recall, se=0.001), "arp": Estimate(mean=12.34)}

    def curve(what: str, tradeoffs: tuple[float, ...], *recalls: float) -> Curve:
        return Curve(
            what=what,
            tradeoffs=tradeoffs,
            logged=tuple(Estimate(mean=recall) for recall in recalls),
            unbiased=tuple(Estimate(mean=0.02) for _ in recalls),
            hypervolume=Estimate(mean=0.00123),
            points=tuple(at(recall) for recall in recalls),
        )

    curves = {"point": curve("one", (1.0,), 0.1)}
    curves["curve"] = curve("many", (0.0, 0.5, 1.0), 0.07, 0.08, 0.09)
    assert ranking_table(curves) == "\n".join(
        [
            "| | what | w | recall_at_20 | arp | hypervolume |",
            "| --- | --- | --- | --- | --- | --- |",
            "| point | one | 1 | 0.1000 ± 0.0010 | 12.3 | 0.00123 |",
            "| curve | many | 0 | 0.0700 ± 0.0010 | 12.3 | 0.00123 |",
            "| curve | many | 1 | 0.0900 ± 0.0010 | 12.3 | 0.00123 |",
        ]
    )
    plot_curves(curves, tmp_path / "curves.png", title="toy")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
