"""Tables of a dataset folder: a bad one is named with its column and first bad row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.integration.training.data.small_dataset import assert_refused, tables, write
from training.data.dataset import open_dataset

Edit = Callable[[pl.DataFrame], pl.DataFrame]


def put(column: str, row: int, value: object) -> Edit:
    """Return an edit that replaces one cell."""

    def edit(table: pl.DataFrame) -> pl.DataFrame:
        values = table[column].to_list()
        values[row] = value
        return table.with_columns(pl.Series(column, values, strict=False))

    return edit


def drop(column: str) -> Edit:
    return lambda table: table.drop(column)


def cast(column: str, dtype: type[pl.DataType]) -> Edit:
    def edit(table: pl.DataFrame) -> pl.DataFrame:
        values = pl.Series(column, range(len(table)))
        return table.with_columns(
            (values.cast(pl.String) if dtype == pl.Binary else values).cast(dtype)
        )

    return edit


def listed(column: str) -> Edit:
    return lambda table: table.with_columns(pl.col(column).reshape((-1, 1)).arr.to_list())


BAD_TABLES: list[tuple[str, Edit, str, int | None, str]] = [
    ("items", drop("item_id"), "item_id", None, "is missing; the table has name, clicks"),
    ("items", put("item_id", 2, "a"), "item_id", 2, "the id 'a' occurs twice"),
    ("items", put("item_id", 1, None), "item_id", 1, "an id is empty"),
    ("items", put("item_id", 1, ""), "item_id", 1, "an id is empty"),
    ("items", put("item_id", 2, "x" * 129), "item_id", 2, "an id has over 128 characters"),
    ("items", put("item_id", 2, "a\tb"), "item_id", 2, "control character"),
    ("items", cast("item_id", pl.Float64), "item_id", None, "ids are strings or .* not Float64"),
    ("items", pl.DataFrame.clear, "", None, "has no rows"),
    ("items", listed("name"), "name", None, "must be text, not List"),
    ("items", drop("name"), "name", None, "is missing"),
    ("items", drop("clicks"), "clicks", None, "is missing"),
    ("items", drop("slot"), "slot", None, "is missing"),
    ("items", put("price", 1, float("inf")), "price", 1, "inf is not a finite number"),
    ("items", put("slot", 1, "back"), "slot", 1, "'back' is not in the categories"),
    ("users", drop("user_id"), "user_id", None, "is missing; the table has age, member"),
    ("users", put("user_id", 1, "u1"), "user_id", 1, "the id 'u1' occurs twice"),
    ("users", cast("user_id", pl.Float32), "user_id", None, "ids are strings or .* not Float32"),
    ("users", drop("age"), "age", None, "is missing"),
    ("users", put("age", 1, float("inf")), "age", 1, "inf is not a finite number"),
    ("users", cast("age", pl.Binary), "age", None, "must be numeric, not Binary"),
    ("users", listed("age"), "age", None, "must be numeric, not List"),
    ("impressions", pl.DataFrame.clear, "", None, "has no rows"),
    ("impressions", drop("user_id"), "user_id", None, "is missing"),
    ("impressions", drop("item_id"), "item_id", None, "is missing"),
    ("impressions", drop("label"), "label", None, "is missing"),
    ("impressions", drop("exposure"), "exposure", None, "is missing"),
    ("impressions", put("user_id", 3, "u9"), "user_id", 3, "'u9' is not in the table of users"),
    ("impressions", put("item_id", 1, "z"), "item_id", 1, "'z' is not in the table of items"),
    ("impressions", put("item_id", 1, None), "item_id", 1, "None is not in the table of items"),
    (
        "impressions",
        cast("user_id", pl.Float64),
        "user_id",
        None,
        "ids are strings or .* not Float64",
    ),
    ("impressions", put("label", 2, 2), "label", 2, "^2 is not 0 or 1"),
    ("impressions", put("label", 2, None), "label", 2, "None is not a finite number"),
    ("impressions", cast("label", pl.String), "label", None, "must be numeric, not String"),
    ("impressions", put("timestamp", 1, None), "timestamp", 1, "None is not a time"),
    ("impressions", cast("timestamp", pl.String), "timestamp", None, "must be a time"),
    ("impressions", cast("timestamp", pl.Time), "timestamp", None, "must be a time, .*not Time"),
    ("impressions", cast("timestamp", pl.Duration), "timestamp", None, "must be .*not Duration"),
    ("impressions", cast("timestamp", pl.Boolean), "timestamp", None, "must be .*not Boolean"),
    ("impressions", cast("timestamp", pl.Binary), "timestamp", None, "must be .*not Binary"),
    ("impressions", listed("timestamp"), "timestamp", None, "must be a time, .*not List"),
    ("impressions", listed("label"), "label", None, "must be numeric, not List"),
    ("impressions", listed("exposure"), "exposure", None, "must be text, not List"),
    ("impressions", listed("split"), "split", None, "must be text, not List"),
    ("impressions", listed("slot"), "slot", None, "must be text, not List"),
    ("impressions", put("exposure", 2, "seen"), "exposure", 2, "'seen' is not logged or uniform"),
    ("impressions", put("exposure", 2, None), "exposure", 2, "None is not logged or uniform"),
    ("impressions", put("position", 1, -1), "position", 1, "^-1 is not 0, 1, 2"),
    ("impressions", put("position", 1, 10_000), "position", 1, "^10000 is not 0, 1, .* 9999"),
    ("impressions", put("position", 1, 2**32), "position", 1, "^4294967296 is not 0, 1, 2"),
    ("impressions", put("position", 1, 2**31), "position", 1, "^2147483648 is not 0, 1, 2"),
    ("impressions", put("position", 1, 999_999_999), "position", 1, "^999999999 is not 0, 1"),
    ("impressions", put("position", 1, 0.5), "position", 1, "0.5 is not 0, 1, 2"),
    ("impressions", put("position", 1, None), "position", 1, "None is not a finite number"),
    ("impressions", put("propensity", 3, 0.0), "propensity", 3, r"0.0 is not in \(0, 1\]"),
    ("impressions", put("propensity", 3, 1.5), "propensity", 3, r"1.5 is not in \(0, 1\]"),
    ("impressions", put("propensity", 3, float("nan")), "propensity", 3, "nan is not a finite"),
    ("impressions", put("split", 0, "dev"), "split", 0, "'dev' is not train or validation or test"),
    ("impressions", put("clicks", 2, float("-inf")), "clicks", 2, "-inf is not a finite number"),
    ("impressions", put("slot", 1, "TOP"), "slot", 1, "'TOP' is not in the categories"),
]


@pytest.mark.parametrize(
    ("table", "edit", "column", "row", "problem"),
    BAD_TABLES,
    ids=[f"{table}-{column}-{problem[:16]}" for table, _, column, _, problem in BAD_TABLES],
)
def test_a_bad_table_names_file_column_and_row(
    tmp_path: Path, table: str, edit: Edit, column: str, row: int | None, problem: str
) -> None:
    folder = tmp_path / "bad"
    write(folder, **{table: edit(tables()[table])})
    assert_refused(folder, f"{table}.parquet", column or None, row, problem)


BAD_IMPRESSIONS = [bad for bad in BAD_TABLES if bad[0] == "impressions"]


@pytest.mark.parametrize("chunk_rows", [1, 3])
@pytest.mark.parametrize(
    ("edit", "column", "row", "problem"),
    [bad[1:] for bad in BAD_IMPRESSIONS],
    ids=[f"{column}-{problem[:16]}" for _, _, column, _, problem in BAD_IMPRESSIONS],
)
def test_a_bad_row_is_named_whichever_chunk_it_lies_in(
    tmp_path: Path,
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
    edit: Edit,
    column: str,
    row: int | None,
    problem: str,
    chunk_rows: int,
) -> None:
    monkeypatch.setattr("training.data.storage.CHUNK_ROWS", chunk_rows)
    folder = tmp_path / "bad"
    write(folder, impressions=edit(tables()["impressions"]))

    assert_refused(folder, "impressions.parquet", column or None, row, problem, scratch)
    assert not scratch.exists() or not list(scratch.iterdir())


def test_rows_that_only_test_need_no_split(tmp_path: Path) -> None:
    write(tmp_path / "out", impressions=put("split", 3, None)(tables()["impressions"]))

    split = open_dataset(tmp_path / "out").impressions.split

    assert split is not None
    assert split[:3].tolist() == [0, 1, 2]


def test_a_logged_row_needs_a_split(tmp_path: Path) -> None:
    write(tmp_path / "out", impressions=put("split", 2, None)(tables()["impressions"]))
    problem = "None is not train or validation or test"
    assert_refused(tmp_path / "out", "impressions.parquet", "split", 2, problem)
