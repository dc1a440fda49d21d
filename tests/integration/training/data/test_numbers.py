"""Numbers of a dataset folder at the bounds of their types: kept, or refused with their place."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.integration.training.data.small_dataset import assert_refused, tables, write
from training.data.dataset import Dataset, open_dataset
from training.data.impressions import MAX_POSITIONS


def replaced(folder: Path, table: str, column: str, values: pl.Series | list[float]) -> Path:
    """Write the small dataset with another column; return its folder."""
    write(folder, **{table: tables()[table].with_columns(pl.Series(values).alias(column))})
    return folder


def opened(folder: Path, table: str, column: str, values: pl.Series | list[float]) -> Dataset:
    return open_dataset(replaced(folder, table, column, values))


def test_the_deepest_position_is_kept(tmp_path: Path) -> None:
    deepest = MAX_POSITIONS - 1
    rows = opened(tmp_path / "d", "impressions", "position", [0, deepest, 1, 0]).impressions

    assert rows.position is not None
    assert rows.position.tolist() == [0, 9999, 1, 0]


@pytest.mark.parametrize("offset", [MAX_POSITIONS, 2**31, 2**32, 2**32 + 1, 2**63 - 4])
def test_positions_with_an_offset_are_refused_and_do_not_wrap(tmp_path: Path, offset: int) -> None:
    positions = pl.Series([offset, offset + 3, offset + 1, offset], dtype=pl.Int64)
    folder = replaced(tmp_path / "d", "impressions", "position", positions)

    assert_refused(
        folder, "impressions.parquet", "position", 0, f"^{offset} is not 0, 1, 2, ... 99"
    )


@pytest.mark.parametrize("label", [1 + 1e-9, 1e-9, -1e-50])
def test_a_label_is_not_rounded_to_0_or_1(tmp_path: Path, label: float) -> None:
    folder = replaced(tmp_path / "d", "impressions", "label", [1.0, 0.0, label, 1.0])

    assert_refused(folder, "impressions.parquet", "label", 2, f"^{label} is not 0 or 1")


def test_a_propensity_is_not_rounded_to_1(tmp_path: Path) -> None:
    folder = replaced(tmp_path / "d", "impressions", "propensity", [0.5, 1 + 1e-9, 1.0, 0.1])

    assert_refused(
        folder, "impressions.parquet", "propensity", 1, r"^1.000000001 is not in \(0, 1\]"
    )


def test_a_propensity_is_not_rounded_to_0(tmp_path: Path) -> None:
    values = [0.5, 1e-50, 5e-324, 1.0]
    rows = opened(tmp_path / "d", "impressions", "propensity", values).impressions

    assert rows.propensity is not None
    assert rows.propensity.dtype == np.float32
    np.testing.assert_array_equal(rows.propensity, np.array([0.5, 2**-126, 2**-126, 1], np.float32))


@pytest.mark.parametrize(
    ("table", "column"), [("impressions", "clicks"), ("items", "price"), ("users", "age")]
)
def test_a_number_beyond_32_bits_is_refused(tmp_path: Path, table: str, column: str) -> None:
    values = [1.0, 3.5e38, 2.0, 3.0][: len(tables()[table])]
    folder = replaced(tmp_path / "d", table, column, values)

    assert_refused(
        folder, f"{table}.parquet", column, 1, r"^3.5e\+38 is beyond the range of 32-bit"
    )


@pytest.mark.parametrize("chunk_rows", [1, 1000])
@pytest.mark.parametrize(
    ("table", "column"), [("impressions", "clicks"), ("items", "price"), ("users", "age")]
)
@pytest.mark.parametrize("offset", [2**32, 2**62])
def test_an_offset_that_hides_the_differences_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    column: str,
    offset: int,
    chunk_rows: int,
) -> None:
    monkeypatch.setattr("training.data.storage.CHUNK_ROWS", chunk_rows)
    values = pl.Series([offset, offset + 7, offset + 1, offset], dtype=pl.UInt64)
    folder = replaced(tmp_path / "d", table, column, values.head(len(tables()[table])))

    problem = f"^{offset + 7} is kept as {offset}, too coarse for .* range of 7; subtract"
    assert_refused(folder, f"{table}.parquet", column, 1, problem)


@pytest.mark.parametrize(
    "values",
    [
        [2.0**24 + n for n in (0, 1, 63, 64)],  # rounded by 1 in a range of 64
        [2.0**32, 2.0**32 + 2**14, 2.0**32 + 2**15, 2.0**32 + 3],
        [1.7e9, 1.7e9 + 86_400, 1.7e9 + 60, 1.7e9 + 3],  # the seconds of a day
        [0.3, 0.1 + 0.2, 0.3, 0.3],  # constant but for the last bit
        [2.0**40 + 1] * 4,
        [1e30, 1.0, 2.0, 3.0],
        [None, float("nan"), None, 2.0],
    ],
    ids=["2^24", "2^32", "seconds", "noise", "constant", "one-huge", "unknown"],
)
def test_rounding_that_keeps_the_differences_is_accepted(
    tmp_path: Path, values: list[float]
) -> None:
    dataset = opened(tmp_path / "d", "impressions", "clicks", values)

    np.testing.assert_array_equal(dataset.impressions.proxies[:, 0], np.array(values, np.float32))


@pytest.mark.parametrize(
    "values", [[True, False, True, None], pl.Series([1, 2, 3, 4], dtype=pl.Int8)]
)
def test_small_types_are_numbers_too(tmp_path: Path, values: pl.Series | list[float]) -> None:
    dataset = opened(tmp_path / "d", "impressions", "clicks", values)

    expected = pl.Series(values).cast(pl.Float32).fill_null(np.nan).to_numpy()
    np.testing.assert_array_equal(dataset.impressions.proxies[:, 0], expected)


# Times.


def test_times_that_64_bit_floats_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    times = pl.Series([2**63 + n for n in (0, 5, 1, 2)], dtype=pl.UInt64)
    folder = replaced(tmp_path / "d", "impressions", "timestamp", times)

    problem = f"^{2**63 + 5} is kept as {2**63}, too coarse for .* range of 5; subtract"
    assert_refused(folder, "impressions.parquet", "timestamp", 1, problem)


@pytest.mark.parametrize(
    "times",
    [
        pl.Series([2**53 - 1, 2**53 - 2, 2**53 - 3, 2**53 - 4]),
        pl.Series([2**32 + 1, 2**32 + 2, 2**32 + 3, 2**32]),
        pl.Series([1_700_000_000_000_000_000 + n * 1_000_000 for n in range(4)]),  # nanoseconds
        pl.Series([datetime(2026, 1, 1, 0, 0, 0, us) for us in (4, 3, 9, 2)]),
        pl.Series([datetime(2026, 1, 1, 0, 0, 0, us) for us in (4, 3, 9, 2)]).cast(
            pl.Datetime("ns", "UTC")
        ),
        pl.Series([datetime(2026, 1, day) for day in (4, 3, 9, 2)]).cast(pl.Date),
    ],
    ids=["2^53", "2^32", "ns", "datetime", "zoned", "date"],
)
def test_times_keep_their_order(tmp_path: Path, times: pl.Series) -> None:
    stamps = opened(tmp_path / "d", "impressions", "timestamp", times).impressions.timestamp

    assert np.argsort(stamps).tolist() == times.arg_sort().to_list()
    assert len(np.unique(stamps)) == 4
