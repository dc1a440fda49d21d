"""Every registered converter, from a tiny source in its owners' format: the promises all make.

A new converter needs an entry in ``sources.SOURCES``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.integration.training.data.convert.refusals import assert_refused
from tests.integration.training.data.convert.sources import SOURCES, Files
from training.data.convert import CONVERTERS, converter
from training.data.dataset import Dataset, open_dataset
from training.errors import DatasetError

EARLIEST, LATEST = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (1995, 2100))

REQUIRED = [
    (name, file)
    for name in CONVERTERS
    if name in SOURCES
    for file in SOURCES[name].files
    if file not in SOURCES[name].optional
]


def convert(name: str, folder: Path, changes: Files | None = None) -> Dataset:
    """Write the source of ``name`` with ``changes`` below ``folder``, convert and open it."""
    converter(name)(SOURCES[name].write(folder / "source", changes), folder / "out")
    return open_dataset(folder / "out")


def contents(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module", params=sorted(CONVERTERS))
def name(request: pytest.FixtureRequest) -> str:
    converter: str = request.param
    return converter


@pytest.fixture(scope="module")
def dataset(name: str, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The dataset that the converter makes of its source."""
    return convert(name, tmp_path_factory.mktemp(name))


def test_every_converter_is_tested() -> None:
    assert set(SOURCES) == set(CONVERTERS)


def test_ids_are_strings_and_unique(dataset: Dataset) -> None:
    for table, column in (("users", "user_id"), ("items", "item_id")):
        ids = pl.read_parquet(dataset.path / f"{table}.parquet", glob=False)[column]
        assert ids.dtype == pl.String
        assert ids.is_unique().all()
    rows = pl.read_parquet(dataset.path / "impressions.parquet", glob=False)
    assert set(rows["user_id"]) <= set(dataset.user_ids)
    assert set(rows["item_id"]) <= set(dataset.item_ids)


def test_labels_are_those_of_the_source(name: str, dataset: Dataset) -> None:
    assert set(dataset.impressions.label) == SOURCES[name].labels


def test_rows_are_uniform_only_where_the_source_exposes_uniformly(
    name: str, dataset: Dataset
) -> None:
    uniform = dataset.impressions.uniform
    assert uniform.any() == SOURCES[name].uniform
    assert not uniform.all()


def test_times_are_unix_seconds_or_0_where_unknown(name: str, dataset: Dataset) -> None:
    """One unit for all files of a source: times of different logs compare."""
    times = np.unique(dataset.impressions.timestamp)
    times = times[times != 0]
    assert ((times > EARLIEST) & (times < LATEST)).all()
    assert (len(times) > 1) == SOURCES[name].timed


def test_proxies_contain_outcomes_of_other_rows_alone(
    name: str, dataset: Dataset, tmp_path: Path
) -> None:
    """Every row in turn gets the opposite outcome; its own proxies stay.

    Clicks alone have no opposite outcome.
    """
    source, before = SOURCES[name], dataset.impressions
    flipped, others_change = [], False
    for number, changes in enumerate(source.flips):
        after = convert(name, tmp_path / str(number), changes).impressions
        for column in ("user", "item", "timestamp", "uniform"):
            np.testing.assert_array_equal(getattr(after, column), getattr(before, column))
        rows = np.flatnonzero(after.label != before.label)
        assert len(rows) == 1
        np.testing.assert_array_equal(after.proxies[rows], before.proxies[rows])
        others_change |= not np.array_equal(after.proxies, before.proxies, equal_nan=True)
        flipped += rows.tolist()

    assert sorted(flipped) == list(range(len(before) if 0 in source.labels else 0))
    assert others_change == source.statistics


def test_proxies_that_are_no_statistics_are_one_value_an_item(name: str, dataset: Dataset) -> None:
    rows = dataset.impressions
    static = dataset.proxies[rows.item]
    assert np.array_equal(rows.proxies, static, equal_nan=True) != SOURCES[name].statistics


def test_the_same_source_gives_the_same_bytes(name: str, dataset: Dataset, tmp_path: Path) -> None:
    again = convert(name, tmp_path / "elsewhere")
    assert contents(again.path) == contents(dataset.path)
    assert again.fingerprint == dataset.fingerprint


def test_a_folder_in_use_is_refused_before_the_source_is_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious.txt").write_text("mine")
    with pytest.raises(DatasetError, match="exists and is not empty") as caught:
        converter(name)(tmp_path / "absent", tmp_path / "out")
    assert caught.value.file == tmp_path / "out"
    assert contents(tmp_path) == {"out/precious.txt": b"mine"}


@pytest.mark.parametrize(("name", "file"), REQUIRED, ids=[f"{n}-{file}" for n, file in REQUIRED])
def test_a_missing_file_is_named(name: str, file: str, tmp_path: Path) -> None:
    source = SOURCES[name].write(tmp_path / "source")
    (source / file).unlink()
    problem = "is missing; the source is the folder that holds it"
    assert_refused(converter(name), source, file, problem)


def test_optional_files_may_be_missing(name: str, tmp_path: Path) -> None:
    source = SOURCES[name].write(tmp_path / "source")
    for file in SOURCES[name].optional:
        (source / file).unlink()
    converter(name)(source, tmp_path / "out")
    assert len(open_dataset(tmp_path / "out").impressions)
