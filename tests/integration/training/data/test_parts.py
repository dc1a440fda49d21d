"""Tables as folders of parts: nested, partitioned, in lakes; ids that are numbers."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.integration.training.data.small_dataset import (
    AUDIO,
    IMAGE,
    arrays,
    assert_refused,
    describe,
    split_table,
    tables,
    write,
)
from training.data.dataset import open_dataset


def test_nested_parts_are_read_in_the_order_of_their_paths(tmp_path: Path, folder: Path) -> None:
    write(tmp_path / "whole")
    names = ("2026/10/z", "2026/11/a", "2026/11/b", "a")
    split_table(
        folder, "impressions", {name: slice(row, row + 1) for row, name in enumerate(names)}
    )

    read, expected = open_dataset(folder), open_dataset(tmp_path / "whole")

    np.testing.assert_equal(arrays(read), arrays(expected))


def test_the_values_of_partitions_are_columns(tmp_path: Path, folder: Path) -> None:
    rows = tables()["impressions"].with_columns(slot=pl.lit("top"), clicks=pl.Series([7.0] * 4))
    write(tmp_path / "whole", impressions=rows)
    write(folder.parent / "parts", impressions=rows.drop("slot", "clicks"))
    folder = folder.parent / "parts"
    split_table(folder, "impressions", {"day=3/slot=t%6Fp/clicks=07/a": slice(0, 4)})

    read, expected = open_dataset(folder), open_dataset(tmp_path / "whole")

    np.testing.assert_equal(arrays(read), arrays(expected))
    assert read.unread == ()


def test_a_column_of_the_file_goes_before_its_partition(tmp_path: Path, folder: Path) -> None:
    write(tmp_path / "whole")
    split_table(folder, "impressions", {"split=test/a": slice(0, 4)})

    read, expected = open_dataset(folder), open_dataset(tmp_path / "whole")

    np.testing.assert_equal(arrays(read), arrays(expected))


def test_the_partition_of_null_is_unknown(folder: Path) -> None:
    rows = tables()["impressions"].drop("clicks")
    rows.write_parquet(folder / "impressions.parquet")
    split_table(folder, "impressions", {"clicks=__HIVE_DEFAULT_PARTITION__/a": slice(0, 4)})

    assert np.isnan(open_dataset(folder).impressions.proxies[:, 0]).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("2026-11-01", "2026-11-02"), (date(2026, 11, 1), date(2026, 11, 2))),
        (("20261101", "20261102"), (20261101, 20261102)),
        (("2026-11-01 23%3A00%3A00", "2026-11-02T00:30:00+01:00"), None),
    ],
)
def test_a_partition_may_be_the_time(
    folder: Path, values: tuple[str, str], expected: tuple[object, object] | None
) -> None:
    tables()["impressions"].drop("timestamp").write_parquet(folder / "impressions.parquet")
    split_table(
        folder, "impressions", {f"day={v}/a": slice(2 * n, 2 * n + 2) for n, v in enumerate(values)}
    )
    describe(folder, timestamp="day")
    if expected is None:
        expected = (datetime(2026, 11, 1, 23), datetime(2026, 11, 1, 23, 30))

    times = open_dataset(folder).impressions.timestamp

    column = pl.Series([value for value in expected for _ in range(2)])
    if column.dtype.is_temporal():
        column = column.cast(pl.Datetime("us")).to_physical()
    assert times.tolist() == column.to_list()


@pytest.mark.parametrize(
    ("key", "name", "problem"),
    [
        ("clicks=many", "clicks", "'many' is not a number"),
        ("timestamp=late", "timestamp", "'late' is not a time"),
    ],
)
def test_a_bad_partition_is_named(folder: Path, key: str, name: str, problem: str) -> None:
    tables()["impressions"].drop(name).write_parquet(folder / "impressions.parquet")
    split_table(folder, "impressions", {f"{key}/a": slice(0, 4)})

    assert_refused(folder, f"impressions.parquet/{key}/a.parquet", name, None, problem)


def test_a_named_column_of_times_must_exist(folder: Path) -> None:
    describe(folder, timestamp="day")
    problem = "is missing, but holds the times; the table has user_id, "
    assert_refused(folder, "impressions.parquet", "day", None, problem)


def test_items_and_users_may_be_folders(tmp_path: Path, folder: Path) -> None:
    write(tmp_path / "whole")
    split_table(folder, "items", {"a": slice(0, 1), "more/b": slice(1, 3)})
    split_table(folder, "users", {"x=1/a": slice(0, 1), "x=2/b": slice(1, 2)})

    read, expected = open_dataset(folder), open_dataset(tmp_path / "whole")

    np.testing.assert_equal(arrays(read), arrays(expected))
    assert (read.user_ids, read.item_ids) == (expected.user_ids, expected.item_ids)
    np.testing.assert_equal(read.embedding, expected.embedding)
    assert read.unread == ()


def test_a_bad_row_of_items_is_named_by_its_part(folder: Path) -> None:
    tables()["items"].with_columns(item_id=pl.Series(["a", "b", "a"])).write_parquet(
        folder / "items.parquet"
    )
    split_table(folder, "items", {"a": slice(0, 1), "b": slice(1, 3)})

    assert_refused(folder, "items.parquet/b.parquet", "item_id", 1, "the id 'a' occurs twice")


# Ids.


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        (pl.Int64, -(2**63), 2**63 - 1),
        (pl.UInt64, 0, 2**64 - 1),
        (pl.Int8, -128, 127),
        (pl.Decimal(38, 0), Decimal(-1), Decimal(10**30)),
    ],
)
def test_whole_numbers_are_ids_without_loss(
    tmp_path: Path, dtype: pl.DataType, low: int, high: int
) -> None:
    numbers = {"u1": low, "u2": high}
    users, rows = tables()["users"], tables()["impressions"]

    def numbered(table: pl.DataFrame) -> pl.DataFrame:
        values = pl.Series([numbers[user_id] for user_id in table["user_id"]], dtype=dtype)
        return table.with_columns(user_id=values)

    write(tmp_path / "d", users=numbered(users), impressions=numbered(rows))
    dataset = open_dataset(tmp_path / "d")

    assert dataset.user_ids == [str(low), str(high)]
    assert dataset.impressions.user.tolist() == [1, 0, 0, 1]


def test_leading_zeros_of_ids_are_kept(tmp_path: Path) -> None:
    renamed = {"u1": "007", "u2": "7"}
    users, rows = tables()["users"], tables()["impressions"]
    write(
        tmp_path / "d",
        users=users.with_columns(pl.col("user_id").replace(renamed)),
        impressions=rows.with_columns(pl.col("user_id").replace(renamed)).drop("user_id"),
    )
    split_table(tmp_path / "d", "impressions", {"user_id=007/a": slice(0, 2)})

    dataset = open_dataset(tmp_path / "d")

    assert dataset.user_ids == ["007", "7"]
    assert dataset.impressions.user.tolist() == [0, 0]


def test_ids_that_are_numbers_here_and_texts_there_are_the_same(tmp_path: Path) -> None:
    users = tables()["users"].with_columns(user_id=pl.Series([1, 2]))
    rows = tables()["impressions"].with_columns(pl.col("user_id").str.strip_chars("u"))
    write(tmp_path / "d", users=users, impressions=rows)

    assert open_dataset(tmp_path / "d").impressions.user.tolist() == [1, 0, 0, 1]


def test_ids_that_are_floats_are_refused(tmp_path: Path) -> None:
    users = tables()["users"].with_columns(user_id=pl.Series([1.0, 2.0**53]))
    write(tmp_path / "d", users=users)
    problem = "^ids are strings or whole numbers, not Float64; cast them$"
    assert_refused(tmp_path / "d", "users.parquet", "user_id", None, problem)


# Embeddings.


def vectors(dtype: pl.DataType) -> pl.DataFrame:
    return pl.DataFrame(
        {"item_id": ["a", "b", "c"], "vector": pl.Series(IMAGE.tolist(), dtype=dtype)}
    )


@pytest.mark.parametrize("dtype", [pl.List(pl.Float64), pl.Array(pl.Float32, 2)])
def test_embeddings_may_be_tables(folder: Path, dtype: pl.DataType) -> None:
    expected = open_dataset(folder).embedding
    table = vectors(dtype)
    (folder / "embeddings/image").mkdir()
    table.head(1).write_parquet(folder / "embeddings/image/1.parquet")
    table.tail(2).reverse().write_parquet(folder / "embeddings/image/0.parquet")
    describe(folder, embeddings__image={"values": "embeddings/image"})

    np.testing.assert_equal(open_dataset(folder).embedding, expected)
    table.write_parquet(folder / "one.parquet")
    describe(folder, embeddings__image={"values": "one.parquet"})
    np.testing.assert_equal(open_dataset(folder).embedding, expected)


def test_embeddings_may_be_arrays_in_parts(folder: Path) -> None:
    before = open_dataset(folder)
    parts = folder / "embeddings/audio"
    parts.mkdir()
    for row, name in enumerate("ca"):
        np.save(parts / f"{name}.npy", AUDIO[row : row + 1])
        (parts / f"{name}.ids.txt").write_text(f"{name}\n")
    describe(folder, embeddings__audio={"values": "embeddings/audio"})

    after = open_dataset(folder)

    np.testing.assert_equal(after.embedding, before.embedding)
    np.testing.assert_equal(after.modality_mask, before.modality_mask)
    (parts / "a.ids.txt").write_text("c\n")
    assert_refused(folder, "embeddings/audio/c.ids.txt", "audio", 0, "'c' occurs twice")
    (parts / "a.ids.txt").write_text("a\n")
    np.save(parts / "c.npy", AUDIO[:1, :2])
    problem = "has 2 dimensions, but a.npy has 3"
    assert_refused(folder, "embeddings/audio/c.npy", "audio", None, problem)


def test_vectors_of_several_lengths_are_refused(folder: Path) -> None:
    table = vectors(pl.List(pl.Float32)).with_columns(
        vector=pl.Series([[1.0, 2.0], [3.0], [5.0, 6.0]])
    )
    table.write_parquet(folder / "one.parquet")
    describe(folder, embeddings__image={"values": "one.parquet"})
    assert_refused(folder, "one.parquet", "vector", 1, "has 1 numbers, the first row 2")


def test_a_large_array_is_mapped_and_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(folder, embeddings={"image": {"values": "embeddings/image.npy"}})
    before = open_dataset(folder)
    monkeypatch.setattr("training.data.embeddings._LARGE_BYTES", 1)

    after = open_dataset(folder)

    assert not isinstance(before.embedding, np.memmap)
    assert isinstance(after.embedding, np.memmap)
    np.testing.assert_equal(np.asarray(after.embedding), before.embedding)
    (folder / "embeddings/image.ids.txt").write_text("c\nb\na\n")  # not the order of the table
    np.testing.assert_equal(open_dataset(folder).embedding, before.embedding[::-1])


# Lakes.


def test_a_delta_table_is_read(folder: Path) -> None:
    pytest.importorskip("deltalake", reason="the extra 'delta' is not installed")
    rows, before = tables()["impressions"], open_dataset(folder)
    (folder / "impressions.parquet").unlink()
    table = str(folder / "impressions.parquet")
    rows.head(3).write_delta(table, delta_write_options={"partition_by": ["split"]})
    first = open_dataset(folder)
    rows.tail(1).write_delta(table, mode="append")
    second = open_dataset(folder)

    assert sorted(second.impressions.timestamp) == sorted(before.impressions.timestamp)
    assert len(first.impressions) == 3
    assert first.fingerprint != second.fingerprint == open_dataset(folder).fingerprint


def test_an_iceberg_table_is_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogs = pytest.importorskip(
        "pyiceberg.catalog.sql", reason="the extra 'iceberg' is not installed"
    )
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    rows, before = tables()["impressions"], open_dataset(folder)
    catalog = catalogs.SqlCatalog(
        "x", uri=f"sqlite:///{tmp_path}/c", warehouse=f"file://{tmp_path}"
    )
    catalog.create_namespace("n")
    table = catalog.create_table("n.impressions", schema=rows.to_arrow().schema)
    table.append(rows.head(3).to_arrow())
    describe(folder, impressions="impressions")
    shutil.copytree(tmp_path / "n/impressions", folder / "impressions")
    first = open_dataset(folder)
    table.append(rows.tail(1).to_arrow())
    shutil.rmtree(folder / "impressions")
    shutil.copytree(tmp_path / "n/impressions", folder / "impressions")
    second = open_dataset(folder)

    assert sorted(second.impressions.timestamp) == sorted(before.impressions.timestamp)
    assert len(first.impressions) == 3
    assert first.fingerprint != second.fingerprint == open_dataset(folder).fingerprint
    catalog.close()


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_a_lake_that_cannot_be_read_is_refused(folder: Path, kind: str) -> None:
    table = folder / "impressions.parquet"
    table.unlink()
    log = table / ("_delta_log/0.json" if kind == "delta" else "metadata/v1.metadata.json")
    log.parent.mkdir(parents=True)
    log.write_text("{}")
    problem = rf"is not a {kind} table|pip install 'paretorank\[{kind}\]'"
    assert_refused(folder, "impressions.parquet", None, None, problem)


def test_times_with_a_zone_are_instants(tmp_path: Path) -> None:
    instants = [datetime(2026, 11, 1, hour, tzinfo=UTC) for hour in range(4)]
    times = pl.Series(instants).dt.convert_time_zone("Europe/Oslo")
    write(tmp_path / "d", impressions=tables()["impressions"].with_columns(timestamp=times))

    read = open_dataset(tmp_path / "d").impressions.timestamp

    assert read.tolist() == [instant.timestamp() * 1e6 for instant in instants]
