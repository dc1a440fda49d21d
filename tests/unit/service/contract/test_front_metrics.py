from __future__ import annotations

from service.contract.front import FrontPoint
from service.contract.front_metrics import FRONT_METRICS, TABLES, describe, monitored


def test_names_are_unique_and_every_table_has_a_metric() -> None:
    names = [metric.name for metric in FRONT_METRICS]

    assert len(set(names)) == len(names)
    assert {metric.table for metric in FRONT_METRICS} == set(TABLES)


def test_a_measure_names_its_side_and_exposure_has_none() -> None:
    assert [(measure, group) for measure, group, _ in monitored()] == [
        ("logged_auc", "logged"),
        ("unbiased_auc", "unbiased"),
        ("popularity_percentile", "shown"),
        ("tail_share", "shown"),
        ("exposure_gini", "shown"),
    ]


def test_a_group_is_described_by_its_own_metrics() -> None:
    text = describe("unbiased")

    assert text.startswith("recall_at_20: share of a user's held-out clicks")
    assert "; auc: area under the ROC curve" in text
    assert "ece: " not in text
    assert "tail_share: " not in text


def test_the_manifest_documents_every_metric_of_a_point() -> None:
    for metric in FRONT_METRICS:
        for group in metric.groups:
            assert f"{metric.name}: " in (FrontPoint.model_fields[group].description or "")
