"""--since and --until: a half-open period of the log, in whatever type its times have."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.integration.training.data.small_dataset import describe, split_table, tables, write
from training.data.dataset import open_dataset
from training.data.parts import Part
from training.data.period import Period
from training.errors import ConfigError, DatasetError

DAYS = [datetime(2026, 11, day, 12) for day in (1, 2, 3, 4)]
SECONDS = [int(day.replace(tzinfo=UTC).timestamp()) for day in DAYS]


def with_times(folder: Path, times: pl.Series) -> Path:
    write(folder, impressions=tables()["impressions"].with_columns(timestamp=times))
    return folder


def rows_read(folder: Path, period: Period) -> list[int]:
    """Return the numbers of the rows within ``period``, which their positions tell."""
    position = open_dataset(folder, period=period).impressions.position
    assert position is not None
    return [int(number) for number in position]


TIMES = {
    "dates": pl.Series([day.date() for day in DAYS]),
    "ms": pl.Series(DAYS, dtype=pl.Datetime("ms")),
    "us": pl.Series(DAYS, dtype=pl.Datetime("us")),
    "ns": pl.Series(DAYS, dtype=pl.Datetime("ns")),
    "zone": pl.Series(DAYS).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
    "unix-s": pl.Series(SECONDS),
    "unix-s-32": pl.Series(SECONDS, dtype=pl.Int32),
    "unix-ms": pl.Series(SECONDS) * 1000,
    "unix-ns": pl.Series(SECONDS) * 10**9,
    "unix-float": pl.Series(SECONDS, dtype=pl.Float64),
}


@pytest.mark.parametrize("name", TIMES)
def test_a_period_holds_its_start_and_not_its_end(tmp_path: Path, name: str) -> None:
    times = TIMES[name]
    table = tables()["impressions"].with_columns(timestamp=times, position=pl.Series([0, 1, 2, 3]))
    write(tmp_path / "d", impressions=table)
    if name in ("us", "unix-s-32"):
        split_table(tmp_path / "d", "impressions", {"a": slice(0, 2), "b": slice(2, 4)})

    noon = times.dtype != pl.Date  # a date is its midnight
    assert rows_read(tmp_path / "d", Period("2026-11-02", "2026-11-04")) == [1, 2]
    assert rows_read(tmp_path / "d", Period("2026-11-02T12:00", "2026-11-04T12:00")) == (
        [1, 2] if noon else [2, 3]
    )
    assert rows_read(tmp_path / "d", Period("2026-11-02T12:00:00.000001")) == [2, 3]
    assert rows_read(tmp_path / "d", Period(until="2026-11-02T13:00:00+01:00")) == (
        [0] if noon else [0, 1]
    )
    assert rows_read(tmp_path / "d", Period("2000-01-01", "2100-01-01")) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        (Period("6", "8"), [1, 2]),
        (Period("5.5", "7.5"), [1, 2]),
        (Period("-3"), [0, 1, 2, 3]),
        (Period(until="8"), [0, 1, 2]),
    ],
)
@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt8, pl.Float32])
def test_numbers_are_in_the_unit_of_the_column(
    tmp_path: Path, period: Period, expected: list[int], dtype: Any
) -> None:
    rows = tables()["impressions"].with_columns(
        pl.col("timestamp").cast(dtype), position=pl.Series([0, 1, 2, 3])
    )
    write(tmp_path / "d", impressions=rows)

    assert rows_read(tmp_path / "d", period) == expected


@pytest.mark.parametrize("chunk_rows", [1, 2, 100])
def test_rows_that_are_not_in_the_order_of_time_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    monkeypatch.setattr("training.data.storage.CHUNK_ROWS", chunk_rows)
    rows = tables()["impressions"].with_columns(
        timestamp=pl.Series([9, 4, 8, 5]), position=pl.Series([0, 1, 2, 3])
    )
    write(tmp_path / "d", impressions=rows)

    assert rows_read(tmp_path / "d", Period("5", "9")) == [2, 3]


def test_the_fingerprint_is_of_the_period_and_its_parts_alone(tmp_path: Path) -> None:
    folder = with_times(tmp_path / "d", pl.Series([5, 6, 7, 8]))
    split_table(folder, "impressions", {"a": slice(0, 2), "b": slice(2, 4)})
    prints = [open_dataset(folder, period=Period(*ends)).fingerprint for ends in (
        (None, None), ("5", "7"), ("5", "7.0"), ("6", "7"),
    )]  # fmt: skip
    assert len(set(prints)) == 4

    later = tables()["impressions"].with_columns(timestamp=pl.lit(9, pl.Int64))
    later.write_parquet(folder / "impressions.parquet/c.parquet")
    assert open_dataset(folder, period=Period("5", "7")).fingerprint == prints[1]
    assert open_dataset(folder).fingerprint != prints[0]


def test_parts_outside_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = with_times(tmp_path / "d", pl.Series([5, 6, 7, 8]))
    by_day = {f"day=2026-11-0{day}/a": slice(day - 1, day) for day in (1, 2, 3, 4)}
    split_table(folder, "impressions", by_day)
    wide = []
    read = Part.read

    def spied_read(part: Part, query: pl.LazyFrame) -> pl.DataFrame:
        if "label" in query.collect_schema().names():
            wide.append(part.path.parent.name)
        return read(part, query)

    monkeypatch.setattr(Part, "read", spied_read)
    open_dataset(folder, period=Period("6", "8"))
    assert wide == ["day=2026-11-02", "day=2026-11-03"]
    wide.clear()
    describe(folder, timestamp="day")
    open_dataset(folder, period=Period("2026-11-03"))
    assert wide == ["day=2026-11-03", "day=2026-11-04"]


def test_row_groups_outside_are_not_decoded(tmp_path: Path) -> None:
    folder = with_times(tmp_path / "d", pl.Series([5, 6, 7, 8]))
    part = folder / "impressions.parquet/a.parquet"
    rows = pl.read_parquet(folder / "impressions.parquet", glob=False)
    (folder / "impressions.parquet").unlink()
    part.parent.mkdir()
    rows.write_parquet(part, compression="uncompressed")
    inside = part.with_name("b.parquet")
    rows.with_columns(pl.col("timestamp") + 100).write_parquet(inside)
    content = bytearray(part.read_bytes())
    content[4:40] = bytes(36)  # the first page: to decode it would be an error
    part.write_bytes(content)

    assert len(open_dataset(folder, period=Period("100")).impressions) == 4
    with pytest.raises(DatasetError, match=r"a.parquet: is not a Parquet table"):
        open_dataset(folder)


def test_a_bad_row_of_a_period_keeps_its_number(tmp_path: Path) -> None:
    rows = tables()["impressions"].with_columns(label=pl.Series([1, 0, 1, 3]))
    write(tmp_path / "d", impressions=rows)
    with pytest.raises(DatasetError, match=r"impressions.parquet, column 'label', row 3: 3 is not"):
        open_dataset(tmp_path / "d", period=Period("7"))


def test_rows_outside_are_not_checked(tmp_path: Path) -> None:
    rows = tables()["impressions"].with_columns(label=pl.Series([1, 0, 1, 3]))
    write(tmp_path / "d", impressions=rows)
    assert len(open_dataset(tmp_path / "d", period=Period(until="8")).impressions) == 3


@pytest.mark.parametrize(
    ("times", "period", "error", "problem"),
    [
        (pl.Series([5, 6, 7, 8]), Period("9"), DatasetError, "has no rows since 9"),
        (pl.Series([5, 6, 7, 8]), Period("2026-11-01"), ConfigError, "are no Unix times"),
        (TIMES["us"], Period("7"), ConfigError, "the log's times are dates; write"),
        (pl.Series([5, None, 7, 8]), Period("6"), DatasetError, "row 1: a time is missing"),
        (pl.Series(list("abcd")), Period("6"), DatasetError, "must be a time, a number or"),
    ],
    ids=["none", "unit", "dates", "null", "text"],
)  # fmt: skip
def test_a_period_that_the_log_cannot_have_is_refused(
    tmp_path: Path, times: pl.Series, period: Period, error: type[Exception], problem: str
) -> None:
    folder = with_times(tmp_path / "d", times)
    with pytest.raises(error, match=problem):
        open_dataset(folder, period=period)


def test_a_log_without_times_has_no_period(tmp_path: Path) -> None:
    write(tmp_path / "d", impressions=tables()["impressions"].drop("timestamp"))
    with pytest.raises(DatasetError, match="'timestamp': is missing, but holds the times"):
        open_dataset(tmp_path / "d", period=Period("6"))


@pytest.mark.parametrize(
    ("ends", "problem"),
    [
        (("yesterday", None), "--since 'yesterday' is no time; write an ISO date"),
        ((None, "nan"), "--until 'nan' is not a finite number"),
        (("8", "8"), "--since 8 is not before --until 8"),
        (("2026-11-02", "2026-11-01T23:00"), "--since 2026-11-02 is not before --until"),
    ],
)  # fmt: skip
def test_a_bad_period_is_refused(ends: tuple[str | None, str | None], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Period(*ends)


def test_a_period_without_bounds_is_everything(tmp_path: Path) -> None:
    write(tmp_path / "d")
    whole = open_dataset(tmp_path / "d")
    np.testing.assert_equal(whole.impressions.timestamp, [5, 6, 7, 8])
    assert whole.fingerprint == open_dataset(tmp_path / "d", period=Period()).fingerprint
    assert date(2026, 11, 1).isoformat() in str(Period("2026-11-01"))
