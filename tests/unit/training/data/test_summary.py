from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.contract.dataset_summary import DatasetSummary
from tests.datasets import MakeDataset
from training.data.dataset import Dataset
from training.data.split import split_rows
from training.data.summary import summarise


def summary_of(dataset: Dataset) -> DatasetSummary:
    return summarise(dataset, split_rows(dataset, validation=0.1, test=0.2, seed=0))


def test_counts_and_rates(dataset: Dataset) -> None:
    summary = summary_of(dataset)
    label, uniform = dataset.impressions.label, dataset.impressions.uniform

    assert (summary.rows, summary.logged, summary.uniform) == (240, 180, 60)
    assert summary.click_rate == pytest.approx(label[~uniform].mean())
    assert summary.uniform_click_rate == pytest.approx(label[uniform].mean())
    assert (summary.users, summary.items) == (12, 10)
    assert summary.splits["unbiased"] == 60
    assert sum(summary.splits.values()) == 240
    by_user = np.bincount(dataset.impressions.user, minlength=12)
    assert (summary.rows_by_user.least, summary.rows_by_user.most) == (by_user.min(), by_user.max())
    assert summary.rows_by_item.median == np.median(np.bincount(dataset.impressions.item))
    assert summary.suspicious == ()


def test_a_summary_survives_json(dataset: Dataset) -> None:
    summary = summary_of(dataset)
    assert DatasetSummary.model_validate_json(summary.model_dump_json()) == summary


@pytest.mark.parametrize(("factor", "unit"), [(1, "s"), (1e3, "ms"), (1e6, "us"), (1e9, "ns")])
def test_times_are_dates(make_dataset: MakeDataset, factor: float, unit: str) -> None:
    times = factor * (1_767_225_600 + 3600.0 * np.arange(240))  # from 2026-01-01 on

    summary = summary_of(make_dataset(timestamp=times))

    assert summary.first == f"2026-01-01 00:00 UTC (in {unit})"
    assert summary.last == f"2026-01-10 23:00 UTC (in {unit})"
    assert summary.split_by == "time"


def test_times_that_are_no_dates_stay_numbers(make_dataset: MakeDataset) -> None:
    summary = summary_of(make_dataset(timestamp=np.arange(240.0)))
    assert (summary.first, summary.last) == ("0", "239")


def test_without_times_the_split_is_random(make_dataset: MakeDataset) -> None:
    summary = summary_of(make_dataset(timestamp=np.zeros(240)))
    assert (summary.first, summary.last, summary.split_by) == (None, None, "random")


def test_proxies_by_hand(make_dataset: MakeDataset) -> None:
    label = np.tile([0.0, 1.0], 120).astype(np.float32)
    proxies = np.column_stack(
        [
            np.where(np.arange(240) < 60, np.nan, 5 - 2 * label + 10 * (np.arange(240) % 3)),
            np.full(240, 7.0),
            1 - label,  # the second category has no click
        ]
    )
    popularity, age, style = summary_of(
        make_dataset(label=label, proxies=proxies.astype(np.float32))
    ).proxies

    assert popularity.missing == 0.25
    # Three groups of equally many rows; a click outscores a skip of a lower group alone: 3 of 9.
    assert popularity.auc == pytest.approx(3 / 9)
    assert popularity.correlation == pytest.approx(-1 / np.sqrt(1 + 200 / 3))
    assert (age.auc, age.correlation) == (0.5, None)
    assert (style.auc, style.correlation, style.kind) == (1.0, None, "categorical")


def test_norms_are_those_of_items_with_the_modality(make_dataset: MakeDataset) -> None:
    dataset = make_dataset()
    embedding = np.zeros_like(dataset.embedding)
    embedding[:, 0] = np.arange(10.0) + 1
    embedding[:, 3:] = [3.0, 4.0]
    visual, text = summary_of(replace(dataset, embedding=embedding)).modalities

    assert visual.missing == pytest.approx(0.1)  # item 1 lacks it
    assert visual.norm_median == 6.0  # of 1, 3, 4, ... 10
    assert visual.norm_max == 10.0
    assert (text.norm_median, text.norm_p99, text.norm_max) == (5.0, 5.0, 5.0)


def _embedding(**rows: Any) -> Any:
    """Return a change of a dataset's embedding: modality text of some items times a factor."""

    def change(dataset: Dataset) -> Dataset:
        embedding = dataset.embedding.copy()
        for factor in rows.values():
            embedding[4, 3:] *= factor
        return replace(dataset, embedding=embedding)

    return change


def _proxy(value: float) -> Any:
    def change(dataset: Dataset) -> Dataset:
        proxies = dataset.impressions.proxies.copy()
        proxies[:, 1] = value
        return dataset.with_proxies(proxies)

    return change


def _of_one(column: str, share: float) -> Any:
    def change(dataset: Dataset) -> Dataset:
        values = getattr(dataset.impressions, column).copy()
        values[: round(share * len(values))] = 3
        return replace(dataset, impressions=replace(dataset.impressions, **{column: values}))

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_embedding(text=0), "1 of the 10 rows of the modality 'text' are zeros: leave out"),
        (_embedding(text=1e-3), "1 of the 10 rows of the modality 'text' have less than a tenth"),
        (_embedding(text=1e3), "1 of the 10 rows of the modality 'text' have more than ten times"),
        (_proxy(np.nan), "the proxy 'age' is never known"),
        (_proxy(2.0), "the proxy 'age' is constant"),
        (_of_one("user", 1.0), "all rows are of one user, 'u3'"),
        (_of_one("item", 0.6), "% of the rows are of one item, 'i3'"),
        (lambda d: replace(d, unread=("items.parquet: colour",)), "items.parquet: colour: is not"),
        (
            lambda d: replace(d, user_attributes=np.ones((12, 2), np.float32)),
            "2 of the 2 numbers of users' attributes are constant",
        ),
        (
            lambda d: replace(d, embedding=np.where(np.arange(5) == 2, 1, d.embedding)),
            "1 of the 3 columns of the modality 'visual' are constant",
        ),
        (
            lambda d: d.with_proxies(np.repeat(d.impressions.label[:, None], 3, axis=1)),
            "the proxy 'age' ranks the labels of its own rows with AUC 1.000",
        ),
    ],
)
def test_suspicious_things_are_named(dataset: Dataset, change: Any, sentence: str) -> None:
    found = summary_of(change(dataset)).suspicious
    assert any(sentence in line for line in found), found
