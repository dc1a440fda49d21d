"""Parquet tables: paths are never patterns, and folders are read by their parts."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.integration.training.data.small_dataset import arrays, assert_refused, tables, write
from training.data.dataset import open_dataset
from training.data.schema import DESCRIPTION

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("name", ["shop[1]", "sho?1", "*", "s{hop1,}", "~"])
def test_a_folder_named_like_a_pattern_is_read_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("shop1"), impressions=tables()["impressions"].head(3))
    write(Path(name))

    dataset = open_dataset(Path(name))

    assert len(dataset.impressions) == 4


def test_no_polars_reader_is_left_to_expand_patterns() -> None:
    calls = list(_polars_reads())

    assert len(calls) > 5
    assert [place for place, glob in calls if glob is not False] == []


def _polars_reads() -> Iterator[tuple[str, object]]:
    """Yield the place of each call ``pl.read_*`` and ``pl.scan_*``, and its argument ``glob``.

    A table of Delta Lake or Iceberg is named by its folder, which polars takes as it is.
    """
    folders = ("service", "training", "tests", "docs", "docker")
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id in ("pl", "polars")
                and node.func.attr.startswith(("read_", "scan_"))
                and node.func.attr not in ("scan_delta", "scan_iceberg")
            ):
                glob = [word.value for word in node.keywords if word.arg == "glob"]
                value = glob[0].value if glob and isinstance(glob[0], ast.Constant) else None
                yield f"{path.relative_to(ROOT)}:{node.lineno}", value


@pytest.fixture
def parts(folder: Path) -> Path:
    """The impressions of ``folder`` as parts of 2, 0 and 2 rows, beside what is no part."""
    impressions = folder / "impressions.parquet"
    rows = pl.read_parquet(impressions, glob=False)
    impressions.unlink()
    impressions.mkdir()
    for name, part in (("b", rows.head(0)), ("a", rows.head(2)), ("c", rows.tail(2))):
        part.write_parquet(impressions / f"{name}.parquet")
    (impressions / "_SUCCESS").touch()
    (impressions / ".part.crc").touch()
    return impressions


@pytest.mark.parametrize("chunk_rows", [1, 100])
def test_a_folder_of_parts_is_read_in_the_order_of_their_names(
    tmp_path: Path, parts: Path, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    monkeypatch.setattr("training.data.storage.CHUNK_ROWS", chunk_rows)
    write(tmp_path / "whole")

    np.testing.assert_equal(
        arrays(open_dataset(parts.parent)), arrays(open_dataset(tmp_path / "whole"))
    )


def test_the_fingerprint_covers_each_part_and_its_name(tmp_path: Path, parts: Path) -> None:
    seen = {open_dataset(parts.parent).fingerprint}
    assert seen == {open_dataset(parts.parent).fingerprint}
    shutil.copytree(parts.parent, tmp_path / "copy")
    assert open_dataset(tmp_path / "copy").fingerprint in seen

    rows = pl.read_parquet(parts / "c.parquet", glob=False)
    rows.with_columns(label=1 - pl.col("label")).write_parquet(parts / "c.parquet")
    seen.add(open_dataset(parts.parent).fingerprint)
    (parts / "a.parquet").rename(parts / "d.parquet")
    seen.add(open_dataset(parts.parent).fingerprint)
    (parts / "d.parquet").unlink()
    seen.add(open_dataset(parts.parent).fingerprint)

    assert len(seen) == 4


def test_a_bad_row_is_named_by_its_part_and_its_row_there(parts: Path) -> None:
    rows = pl.read_parquet(parts / "c.parquet", glob=False)
    rows.with_columns(label=pl.Series([0, 2])).write_parquet(parts / "c.parquet")

    assert_refused(parts.parent, "impressions.parquet/c.parquet", "label", 1, "2 is not 0 or 1")


@pytest.mark.parametrize(("column", "dtype"), [("position", "Int64"), ("slot", "String")])
def test_a_part_that_lacks_a_column_is_named(parts: Path, column: str, dtype: str) -> None:
    rows = pl.read_parquet(parts / "c.parquet", glob=False)
    rows.drop(column).write_parquet(parts / "c.parquet")
    problem = f"is missing, but a.parquet has {dtype}; write the same in all parts"
    assert_refused(parts.parent, "impressions.parquet/c.parquet", column, None, problem)


def test_a_part_with_another_type_or_a_further_column_is_named(parts: Path) -> None:
    rows = pl.read_parquet(parts / "c.parquet", glob=False)
    place = "impressions.parquet/c.parquet"
    rows.with_columns(pl.col("timestamp").cast(pl.Int32)).write_parquet(parts / "c.parquet")
    problem = "is Int32, but a.parquet has Int64; write the same in all parts"
    assert_refused(parts.parent, place, "timestamp", None, problem)
    rows.with_columns(device=pl.lit("tv")).write_parquet(parts / "c.parquet")
    problem = "is String, but a.parquet has no such column"
    assert_refused(parts.parent, place, "device", None, problem)


@pytest.mark.parametrize("name", ["more/a.txt", "a.csv"])
def test_a_folder_that_holds_anything_but_parts_is_refused(parts: Path, name: str) -> None:
    (parts / name).parent.mkdir(exist_ok=True)
    (parts / name).write_bytes((parts / "a.parquet").read_bytes())
    place = f"impressions.parquet/{name}"
    assert_refused(parts.parent, place, None, None, r"is no \*.parquet file; .*move it out")


def test_a_folder_without_parts_is_refused(parts: Path) -> None:
    for part in parts.glob("*.parquet"):
        part.unlink()
    problem = r"is a folder without \*.parquet files"
    assert_refused(parts.parent, "impressions.parquet", None, None, problem)


def test_parts_without_rows_are_refused(parts: Path) -> None:
    for part in ("a", "c"):
        (parts / "b.parquet").rename(parts / f"{part}.parquet")
        shutil.copy(parts / f"{part}.parquet", parts / "b.parquet")
    assert_refused(parts.parent, "impressions.parquet", None, None, "has no rows")


@pytest.mark.parametrize("table", ["items", "users"])
def test_an_empty_folder_in_the_place_of_another_table_is_refused(folder: Path, table: str) -> None:
    (folder / f"{table}.parquet").unlink()
    (folder / f"{table}.parquet").mkdir()
    problem = r"is a folder without \*.parquet files"
    assert_refused(folder, f"{table}.parquet", None, None, problem)


def test_a_file_in_the_place_of_the_dataset_is_refused(folder: Path) -> None:
    file = folder / "impressions.parquet"
    assert_refused(file, "", None, None, f"is a file; name the folder that holds {DESCRIPTION}")
