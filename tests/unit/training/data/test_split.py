"""Splitting impressions: by a column, by time or at random; uniform rows only report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.datasets import MakeDataset
from training.data.dataset import Dataset
from training.data.split import Split, positives_only, split_rows, training_clicks, unbiased_rows
from training.errors import DatasetError

NO_ROWS = np.empty(0, np.int64)


def split(dataset: Dataset, seed: int = 0) -> Split:
    return split_rows(dataset, validation=0.1, test=0.2, seed=seed)


def with_columns(dataset: Dataset, **columns: object) -> Dataset:
    return replace(dataset, impressions=replace(dataset.impressions, **columns))  # type: ignore[arg-type]  # columns of several types


# Which rows


def test_every_row_is_in_one_split(dataset: Dataset) -> None:
    rows = split(dataset)

    together = np.concatenate([rows.train, rows.validation, rows.test, rows.unbiased])
    assert sorted(together) == list(range(240))
    assert rows.unbiased.tolist() == list(range(180, 240))  # the uniformly exposed ones


def test_the_column_split_goes_before_time(dataset: Dataset) -> None:
    rows = split(with_columns(dataset, split=np.tile([2, 0, 1, 0], 60)))

    assert rows.train.tolist() == [row for row in range(180) if row % 2]
    assert rows.validation.tolist() == list(range(2, 180, 4))
    assert rows.test.tolist() == list(range(0, 180, 4))


def test_by_time_the_latest_rows_are_the_test(make_dataset: MakeDataset) -> None:
    time = np.random.default_rng(0).permutation(200).astype(np.float64)
    rows = split(make_dataset(200, timestamp=time, uniform=np.zeros(200, bool)))

    assert sorted(time[rows.train]) == list(range(139))  # 199 * .7 = 139.3, 199 * .8 = 159.2
    assert sorted(time[rows.validation]) == list(range(139, 159))
    assert sorted(time[rows.test]) == list(range(159, 200))


def test_uniform_rows_do_not_move_the_cuts(make_dataset: MakeDataset) -> None:
    time, uniform = np.arange(200.0), np.arange(200) >= 100
    rows = split(make_dataset(200, timestamp=time, uniform=uniform))

    assert rows.test.tolist() == list(range(79, 100))


def test_rows_of_one_timestamp_stay_together(make_dataset: MakeDataset) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        day = rng.integers(12, size=300).astype(np.float64)
        rows = split(make_dataset(300, timestamp=day, uniform=np.zeros(300, bool)))
        assert day[rows.train].max() < day[rows.validation].min()
        assert day[rows.validation].max() < day[rows.test].min()


def test_without_times_rows_fall_at_random_by_the_seed(make_dataset: MakeDataset) -> None:
    count = 10_000
    timeless = make_dataset(count, timestamp=np.full(count, 3.0), uniform=np.zeros(count, bool))

    first, again, other = split(timeless, 0), split(timeless, 0), split(timeless, 1)

    assert first.test.tolist() == again.test.tolist()
    assert first.test.tolist() != other.test.tolist()
    assert len(first.validation) == pytest.approx(1000, abs=120)  # 4 standard errors
    assert len(first.test) == pytest.approx(2000, abs=160)


def test_the_time_of_uniform_rows_does_not_make_a_split_by_time(
    make_dataset: MakeDataset,
) -> None:
    uniform = np.arange(400) >= 300
    rows = split(make_dataset(400, timestamp=uniform.astype(np.float64), uniform=uniform))

    assert 0 < len(rows.test) < 300


# Refused


def test_an_empty_split_is_named(make_dataset: MakeDataset) -> None:
    with pytest.raises(DatasetError, match=r"impressions\.parquet: no logged row .* validation"):
        split(make_dataset(split=np.tile([0, 2], 120)))


@pytest.mark.parametrize("time", [np.zeros(240), np.arange(240.0)])
def test_a_dataset_without_logged_rows_is_refused(
    make_dataset: MakeDataset, time: np.ndarray
) -> None:
    with pytest.raises(DatasetError, match="no logged row falls into train"):
        split(make_dataset(timestamp=time, uniform=np.ones(240, bool)))


@pytest.mark.parametrize(
    ("code", "name"), [(0, "train"), (1, "validation"), (2, "test"), (None, "unbiased")]
)
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_split_with_one_label_is_refused(
    dataset: Dataset, code: int | None, name: str, label: float
) -> None:
    codes = np.tile([0, 1, 2], 80)
    here = dataset.impressions.uniform if code is None else codes == code
    labels = np.where(here, np.float32(label), dataset.impressions.label)

    with pytest.raises(DatasetError, match=rf"'label': the {name} rows have one label"):
        split(with_columns(dataset, split=codes, label=labels))


def test_a_dataset_of_clicks_alone_is_split_all_the_same(
    make_dataset: MakeDataset, dataset: Dataset
) -> None:
    clicks = make_dataset(label=np.ones(240, np.float32))
    rows = split(clicks)

    assert positives_only(clicks)
    assert not positives_only(dataset)
    assert len(rows.train) + len(rows.validation) + len(rows.test) == 180


# The unbiased side, and training clicks


def test_uniformly_exposed_rows_are_the_unbiased_side(dataset: Dataset) -> None:
    description = dataset.description.model_copy(update={"unbiased_kind": "all pairs rated"})

    rows, kind = unbiased_rows(dataset, split(dataset))
    _, other_kind = unbiased_rows(replace(dataset, description=description), split(dataset))

    assert rows.tolist() == list(range(180, 240))
    assert kind == "uniform exposure"
    assert other_kind == "all pairs rated"


def test_without_uniform_rows_the_less_popular_test_rows_stand_in(
    make_dataset: MakeDataset,
) -> None:
    item = np.array([0, 0, 0, 1, 1, 2, 3, 3, 0, 1, 2, 4, 1])
    dataset = make_dataset(13, item=item, uniform=np.zeros(13, bool))

    rows, kind = unbiased_rows(dataset, Split(np.arange(8), NO_ROWS, np.arange(8, 13), NO_ROWS))

    assert rows.tolist() == [9, 10, 11, 12]  # counts of the test rows: 3, 2, 1, 0, 2
    assert kind == "less popular half of the logged test"


def test_training_clicks_count_the_clicks_of_training_rows_by_item(
    make_dataset: MakeDataset,
) -> None:
    item, label = np.array([0, 0, 2, 2, 2, 1, 0]), np.array([1, 0, 1, 1, 0, 1, 1], np.float32)
    dataset = make_dataset(7, items=4, item=item, label=label)

    clicks = training_clicks(dataset, Split(np.arange(5), np.array([5]), np.array([6]), NO_ROWS))

    assert clicks.tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        (
            {"split": np.zeros(240, np.int64)},
            "no logged row falls into validation; write 'validation' into the column 'split' of",
        ),
        (
            {"split": np.arange(240) % 2},
            "no logged row falls into test; write 'test' into the column 'split' of some",
        ),
        (
            {"timestamp": np.arange(240.0) % 2},
            "into validation; rows of one timestamp stay together: add rows of other times, change",
        ),
        ({"uniform": np.ones(240, np.bool_)}, "into train; add rows with exposure 'logged'"),
    ],
    ids=["all train", "no test", "two times", "all uniform"],
)
def test_an_empty_part_is_refused_with_its_mend(
    make_dataset: MakeDataset, columns: dict[str, Any], named: str
) -> None:
    with pytest.raises(DatasetError, match=named):
        split(make_dataset(**columns))
