from __future__ import annotations

from pathlib import Path

import pytest

from service.contract.front import Estimate, Front, FrontPoint
from training.evaluation.report.schema import Curve, RankingReport, Report
from training.evaluation.report.write import write_report

PNG = b"\x89PNG\r\n\x1a\n"

HALF = Estimate(mean=0.5)
CURVE = Curve(
    description="one", tradeoffs=(1.0,), logged=(HALF,), unbiased=(HALF,), hypervolume=HALF
)
FRONT = Front(
    points=tuple(
        FrontPoint(tradeoff=w, logged={"auc": HALF}, unbiased={"auc": HALF}) for w in (0.0, 1.0)
    ),
    unbiased_kind="uniform exposure",
    axis="auc",
    hypervolume=HALF,
    reference=(0.5, 0.5),
    spearman={"logged": 0.0, "unbiased": 0.0},
    gain={"logged": HALF, "unbiased": HALF},
    verdict="none",
    diagnostic="by hand",
    se_kind="over seeds",
    seeds=(0,),
    dataset="toy",
)


@pytest.mark.parametrize("baselines", [{}, {"plain": CURVE}], ids=["front", "baselines"])
def test_a_report_is_written_as_json_and_plot(tmp_path: Path, baselines: dict[str, Curve]) -> None:
    report = Report(**FRONT.model_dump(), baselines=baselines)

    path = write_report(report, tmp_path / "results" / "toy", "quick")

    assert path == tmp_path / "results" / "toy" / "quick"
    assert Report.model_validate_json(path.with_suffix(".json").read_bytes()) == report
    assert path.with_suffix(".png").read_bytes().startswith(PNG)
    assert {file.name for file in path.parent.iterdir()} == {
        "quick.html", "quick.json", "quick.png",
    }  # fmt: skip


def test_a_report_without_a_front_is_written_as_json_and_plot(tmp_path: Path) -> None:
    curve = CURVE.model_copy(update={"points": ({"recall_at_20": HALF},)})
    report = RankingReport(dataset="toy", seeds=(0, 1), baselines={"popularity": curve})

    path = write_report(report, tmp_path, "clicks")

    assert RankingReport.model_validate_json(path.with_suffix(".json").read_bytes()) == report
    assert path.with_suffix(".png").read_bytes().startswith(PNG)
