from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from training.data.dataset import Dataset
from training.data.split import Split, positives_only, split_rows
from training.errors import DatasetError

MakeDataset = Callable[..., Dataset]


def split(dataset: Dataset, seed: int = 0) -> Split:
    return split_rows(dataset, validation=0.1, test=0.2, seed=seed)


def with_columns(dataset: Dataset, **columns: object) -> Dataset:
    return replace(dataset, impressions=replace(dataset.impressions, **columns))  # type: ignore[arg-type]


def test_every_row_falls_into_one_part(dataset: Dataset) -> None:
    parts = split(dataset)

    together = np.concatenate([parts.train, parts.validation, parts.test, parts.unbiased])
    assert sorted(together) == list(range(240))
    assert parts.unbiased.tolist() == list(range(180, 240))  # the uniformly exposed ones


def test_the_split_of_the_dataset_goes_before_time(dataset: Dataset) -> None:
    part = np.tile([2, 0, 1, 0], 60)

    parts = split(with_columns(dataset, split=part))

    assert parts.train.tolist() == [row for row in range(180) if row % 2]
    assert parts.validation.tolist() == list(range(2, 180, 4))
    assert parts.test.tolist() == list(range(0, 180, 4))


def test_by_time_the_latest_rows_are_the_test(make_dataset: MakeDataset) -> None:
    time = np.random.default_rng(0).permutation(200).astype(np.float64)
    parts = split(make_dataset(200, timestamp=time, uniform=np.zeros(200, bool)))

    assert sorted(time[parts.train]) == list(range(139))  # 199 * .7 = 139.3, 199 * .8 = 159.2
    assert sorted(time[parts.validation]) == list(range(139, 159))
    assert sorted(time[parts.test]) == list(range(159, 200))


def test_uniform_rows_do_not_move_the_cuts(make_dataset: MakeDataset) -> None:
    time, uniform = np.arange(200.0), np.arange(200) >= 100
    parts = split(make_dataset(200, timestamp=time, uniform=uniform))

    assert parts.test.tolist() == list(range(79, 100))


def test_one_timestamp_never_straddles_two_parts(make_dataset: MakeDataset) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        day = rng.integers(12, size=300).astype(np.float64)
        parts = split(make_dataset(300, timestamp=day, uniform=np.zeros(300, bool)))
        days = [set(day[rows]) for rows in (parts.train, parts.validation, parts.test)]
        assert max(days[0]) < min(days[1])
        assert max(days[1]) < min(days[2])


def test_without_times_rows_fall_at_random_by_the_seed(make_dataset: MakeDataset) -> None:
    rows = 10_000
    timeless = make_dataset(rows, timestamp=np.full(rows, 3.0), uniform=np.zeros(rows, bool))

    first, again, other = split(timeless, 0), split(timeless, 0), split(timeless, 1)

    assert first.test.tolist() == again.test.tolist()
    assert first.test.tolist() != other.test.tolist()
    assert len(first.validation) == pytest.approx(1000, abs=120)  # 4 standard errors
    assert len(first.test) == pytest.approx(2000, abs=160)


def test_the_time_of_uniform_rows_does_not_make_a_split_by_time(
    make_dataset: MakeDataset,
) -> None:
    uniform = np.arange(400) >= 300
    parts = split(make_dataset(400, timestamp=uniform.astype(np.float64), uniform=uniform))

    assert 0 < len(parts.test) < 300


def test_an_empty_part_is_named(make_dataset: MakeDataset) -> None:
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
def test_a_part_with_one_label_is_refused(
    dataset: Dataset, code: int | None, name: str, label: float
) -> None:
    part = np.tile([0, 1, 2], 80)
    here = dataset.impressions.uniform if code is None else part == code
    labels = np.where(here, np.float32(label), dataset.impressions.label)

    with pytest.raises(DatasetError, match=rf"'label': the {name} rows have one label"):
        split(with_columns(dataset, split=part, label=labels))


def test_a_dataset_of_clicks_alone_is_split_and_told_apart(
    make_dataset: MakeDataset, dataset: Dataset
) -> None:
    clicks = make_dataset(label=np.ones(240, np.float32))
    parts = split(clicks)

    assert positives_only(clicks)
    assert not positives_only(dataset)
    assert len(parts.train) + len(parts.validation) + len(parts.test) == 180
