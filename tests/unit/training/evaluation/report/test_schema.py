from __future__ import annotations

from service.contract.front import Front
from training.evaluation.report.schema import Report


def test_a_report_survives_json(front: Front, front_with_shown: Front) -> None:
    report = Report(**front_with_shown.model_dump(), baselines={})

    assert Report.model_validate_json(report.model_dump_json()) == report
    old = front.model_dump(exclude={"points": {"__all__": {"shown"}}})
    assert Report.model_validate({**old, "baselines": {}}).points == front.points
