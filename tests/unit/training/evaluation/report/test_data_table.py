from __future__ import annotations

from service.contract.dataset_summary import (
    Counts,
    DatasetSummary,
    ModalitySummary,
    ProxySummary,
)
from training.evaluation.report.data_table import data_table

SUMMARY = DatasetSummary(
    rows=12_000,
    logged=11_000,
    uniform=1_000,
    users=30,
    items=40,
    click_rate=0.25,
    uniform_click_rate=None,
    first="2026-01-01 00:00 UTC (in s)",
    last="2026-02-01 00:00 UTC (in s)",
    split_by="time",
    splits={"train": 10_000, "validation": 500, "test": 500, "unbiased": 1_000},
    proxies=(
        ProxySummary(name="clicks", kind="numeric", missing=1e-4, auc=0.6, correlation=-0.1),
        ProxySummary(name="slot", kind="categorical", missing=0, auc=None, correlation=None),
    ),
    modalities=(
        ModalitySummary(name="text", dim=8, missing=0.1, norm_median=1, norm_p99=2, norm_max=3.5),
    ),
    user_attributes=3,
    rows_by_user=Counts(least=1, median=10, p90=20.5, p99=30, most=40),
    rows_by_item=Counts(least=0, median=11, p90=21, p99=31, most=41),
    suspicious=("all rows are of one user, 'u'",),
)


def test_the_section_by_hand() -> None:
    assert data_table(SUMMARY).splitlines() == [
        "## Data",
        "",
        "|  |  |",
        "| --- | --- |",
        "| rows | 12,000: 11,000 logged, 1,000 uniform |",
        "| click rate | 25.0 % logged, - uniform |",
        "| users, items | 30, 40 |",
        "| times | 2026-01-01 00:00 UTC (in s) to 2026-02-01 00:00 UTC (in s) |",
        "| split by time | 10,000 train, 500 validation, 500 test, 1,000 unbiased |",
        "| rows of a user | least 1, median 10, 90 % 20.5, 99 % 30, most 40 |",
        "| rows of an item | least 0, median 11, 90 % 21, 99 % 31, most 41 |",
        "| attributes of users | 3 numbers |",
        "",
        "| proxy | kind | missing | AUC alone | correlation with the label |",
        "| --- | --- | --- | --- | --- |",
        "| clicks | numeric | below 0.1 % | 0.600 | -0.100 |",
        "| slot | categorical | 0.0 % | - | - |",
        "",
        "| modality | dim | missing | norm, median | 99 % | largest |",
        "| --- | --- | --- | --- | --- | --- |",
        "| text | 8 | 10.0 % | 1 | 2 | 3.5 |",
        "",
        "Suspicious:",
        "- all rows are of one user, 'u'",
    ]


def test_without_times_and_suspicion() -> None:
    untimed = SUMMARY.model_copy(
        update={"first": None, "suspicious": (), "split_by": "random", "click_rate": 1.0}
    )
    text = data_table(untimed)

    assert "| times | none: random split |" in text
    assert "| click rate | 100.0 % logged, - uniform: clicks alone, train painvrl |" in text
    by_column = untimed.model_copy(update={"split_by": "column 'split'"})
    assert "| times | none |" in data_table(by_column)
    assert text.endswith("Suspicious: nothing")
