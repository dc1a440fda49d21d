"""Opening a folder tells the user exactly what is wrong with it; writing is all or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from service.contract.manifest import Modality, Proxy
from training.data.dataset import open_dataset
from training.data.schema import read_description
from training.data.writer import write_dataset
from training.errors import DatasetError

PROXIES = (
    Proxy(name="clicks"),
    Proxy(name="slot", kind="categorical", categories=("top", "side")),
    Proxy(name="price"),
)
IMAGE = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
AUDIO = np.array([[7, 8, 9], [10, 11, 12]], np.float16)  # of items c and a: b has no audio

Edit = Callable[[pl.DataFrame], pl.DataFrame]


def tables() -> dict[str, pl.DataFrame]:
    return {
        "items": pl.DataFrame(
            {
                "item_id": ["a", "b", "c"],
                "name": ["Alpha", None, "Gamma"],
                "clicks": [10, 20, None],
                "slot": ["top", "side", None],
                "price": [1.5, 2.5, 3.5],
            }
        ),
        "users": pl.DataFrame({"user_id": ["u1", "u2"], "age": [30, 40], "member": [True, False]}),
        "impressions": pl.DataFrame(
            {
                "user_id": ["u2", "u1", "u1", "u2"],
                "item_id": ["c", "a", "b", "b"],
                "label": [1, 0, 0, 1],
                "timestamp": [5, 6, 7, 8],
                "exposure": ["logged", "logged", "logged", "uniform"],
                "position": [0, 3, 1, 0],
                "propensity": [0.5, 0.25, 1.0, 0.125],
                "split": ["train", "validation", "test", "test"],
                "clicks": [1.0, 2.0, 3.0, None],
                "slot": ["side", "side", "top", None],
            }
        ),
    }


def write(folder: Path, **replaced: pl.DataFrame) -> None:
    parts = tables() | replaced
    write_dataset(
        folder,
        name="small",
        impressions=parts["impressions"],
        items=parts["items"],
        users=parts["users"],
        embeddings={"image": (IMAGE, ["a", "b", "c"]), "audio": (AUDIO, ["c", "a"])},
        proxies=PROXIES,
        title="name",
        user_attributes=("age", "member"),
        extra={"oracle": pl.DataFrame({"truth": [0.5]})},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "small")
    return tmp_path / "small"


def assert_refused(
    folder: Path,
    file: str,
    column: str | None,
    row: int | None,
    problem: str,
    scratch: Path | None = None,
) -> None:
    with pytest.raises(DatasetError) as caught:
        open_dataset(folder, scratch)
    error = caught.value
    assert (error.file, error.column, error.row) == (folder / file, column, row)
    assert re.search(problem, error.problem), error.problem
    assert str(folder / file) in str(error)


# What is written is what opens.


def test_round_trip(folder: Path) -> None:
    dataset = open_dataset(folder)
    nan = np.nan
    assert dataset.user_ids == ["u1", "u2"]
    assert dataset.item_ids == ["a", "b", "c"]
    assert dataset.titles == ["Alpha", "b", "Gamma"]
    assert dataset.modalities == (Modality(name="image", dim=2), Modality(name="audio", dim=3))
    assert dataset.proxy_fields == PROXIES
    np.testing.assert_array_equal(
        dataset.embedding, [[1, 2, 10, 11, 12], [3, 4, 0, 0, 0], [5, 6, 7, 8, 9]]
    )
    assert dataset.embedding.dtype == np.float32
    np.testing.assert_array_equal(
        dataset.modality_mask, [[True, True], [True, False], [True, True]]
    )
    np.testing.assert_array_equal(dataset.proxies, [[10, 0, 1.5], [20, 1, 2.5], [nan, nan, 3.5]])
    np.testing.assert_array_equal(dataset.user_attributes, [[30, 1], [40, 0]])

    rows = dataset.impressions
    assert len(rows) == 4
    np.testing.assert_array_equal(rows.user, [1, 0, 0, 1])
    np.testing.assert_array_equal(rows.item, [2, 0, 1, 1])
    np.testing.assert_array_equal(rows.label, [1, 0, 0, 1])
    np.testing.assert_array_equal(rows.timestamp, [5, 6, 7, 8])
    np.testing.assert_array_equal(rows.uniform, [False, False, False, True])
    np.testing.assert_array_equal(rows.position, [0, 3, 1, 0])
    np.testing.assert_array_equal(rows.propensity, [0.5, 0.25, 1, 0.125])
    np.testing.assert_array_equal(rows.split, [0, 1, 2, 2])


def test_a_proxy_without_a_column_of_impressions_is_the_items_static_value(folder: Path) -> None:
    rows = open_dataset(folder).impressions
    nan = np.nan
    np.testing.assert_array_equal(
        rows.proxies, [[1, 1, 3.5], [2, 1, 1.5], [3, 0, 2.5], [nan, nan, 2.5]]
    )


def test_optional_columns_may_be_absent(tmp_path: Path) -> None:
    optional = ["position", "propensity", "split", "clicks", "slot"]
    write(tmp_path / "d", impressions=tables()["impressions"].drop(optional))
    rows = open_dataset(tmp_path / "d").impressions
    assert rows.position is None
    assert rows.propensity is None
    assert rows.split is None
    np.testing.assert_array_equal(rows.proxies[:2], [[np.nan, np.nan, 3.5], [10, 0, 1.5]])


def test_dates_are_times(tmp_path: Path) -> None:
    times = pl.Series("timestamp", [datetime(2026, 1, day) for day in (1, 2, 3, 3)])
    write(tmp_path / "d", impressions=tables()["impressions"].with_columns(times))
    stamps = open_dataset(tmp_path / "d").impressions.timestamp
    np.testing.assert_array_equal(np.diff(stamps), [86_400_000, 86_400_000, 0])


def test_ids_keep_every_character_that_is_not_a_control_character(tmp_path: Path) -> None:
    ids = ["a b", 'é"\u2028,', "{0}"]
    items = tables()["items"].with_columns(item_id=pl.Series(ids))
    impressions = tables()["impressions"].with_columns(item_id=pl.Series([*ids, ids[1]]))
    write_dataset(
        tmp_path / "d",
        name="small",
        impressions=impressions,
        items=items,
        users=tables()["users"],
        embeddings={"image": (IMAGE, ids)},
    )
    dataset = open_dataset(tmp_path / "d")
    assert dataset.item_ids == ids
    np.testing.assert_array_equal(dataset.impressions.item, [0, 1, 2, 1])
    np.testing.assert_array_equal(dataset.embedding, IMAGE)


def test_the_fingerprint_changes_with_any_byte_of_the_dataset_and_nothing_else(
    folder: Path, tmp_path: Path
) -> None:
    before = open_dataset(folder).fingerprint
    assert re.fullmatch(r"[0-9a-f]{64}", before)
    (folder / "oracle.parquet").unlink()  # beside the dataset, not part of it
    (folder.rename(tmp_path / "moved"))
    assert open_dataset(tmp_path / "moved").fingerprint == before
    image = tmp_path / "moved/embeddings/image.npy"
    np.save(image, np.nextafter(IMAGE, 9))
    assert open_dataset(tmp_path / "moved").fingerprint != before


# dataset.toml


def test_a_folder_without_a_description_is_not_a_dataset(tmp_path: Path) -> None:
    assert_refused(tmp_path, "dataset.toml", None, None, "is missing; is this a dataset folder")


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("name = ", None, "is not TOML"),
        ("name = 'Not A Name'", "name", "should match pattern"),
        ("name = 'x'", "embeddings", "required"),
        ("name = 'x'\n[embeddings]", "embeddings", "at least 1"),
        ("name = 'x'\nclicks = 3\n[embeddings.i]\nvalues='v'\nids='i'", "clicks", "not permitted"),
        ("name = 'x'\n[embeddings.i]\nvalues='v'", "embeddings.i.ids", "required"),
        (
            "name = 'x'\nproxies = [{name = 'p', kind = 'text'}]\n[embeddings.i]\nvalues='v'\n"
            "ids='i'",
            "proxies.0.kind",
            "'numeric' or 'categorical'",
        ),
    ],
)
def test_a_bad_description_names_the_entry(
    tmp_path: Path, text: str, column: str | None, problem: str
) -> None:
    (tmp_path / "dataset.toml").write_text(text)
    assert_refused(tmp_path, "dataset.toml", column, None, problem)


def test_a_description_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_bytes(b"name = '\xff\xfe'")
    assert_refused(tmp_path, "dataset.toml", None, None, "is not TOML")


# Missing and unreadable files.


@pytest.mark.parametrize(
    "file",
    [
        "impressions.parquet",
        "items.parquet",
        "users.parquet",
        "embeddings/audio.npy",
        "embeddings/audio.ids.txt",
    ],
)
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    assert_refused(folder, file, None, None, "is missing; add it or change dataset.toml")


def test_a_table_that_is_not_parquet_is_refused(folder: Path) -> None:
    (folder / "items.parquet").write_text("item_id\na\n")
    assert_refused(folder, "items.parquet", None, None, "is not a Parquet table")


# Tables: (table, edit, column, row, problem).


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
    return lambda table: table.with_columns(pl.Series(column, range(len(table))).cast(dtype))


BAD_TABLES: list[tuple[str, Edit, str, int | None, str]] = [
    ("items", drop("item_id"), "item_id", None, "is missing; the table has name, clicks"),
    ("items", put("item_id", 2, "a"), "item_id", 2, "the id 'a' occurs twice"),
    ("items", put("item_id", 1, None), "item_id", 1, "an id is empty"),
    ("items", put("item_id", 1, ""), "item_id", 1, "an id is empty"),
    ("items", put("item_id", 2, "x" * 129), "item_id", 2, "an id has over 128 characters"),
    ("items", put("item_id", 2, "a\tb"), "item_id", 2, "control character"),
    ("items", cast("item_id", pl.Int64), "item_id", None, "ids are strings, not Int64"),
    ("items", pl.DataFrame.clear, "", None, "has no rows"),
    ("items", drop("name"), "name", None, "is missing"),
    ("items", drop("clicks"), "clicks", None, "is missing"),
    ("items", drop("slot"), "slot", None, "is missing"),
    ("items", put("price", 1, float("inf")), "price", 1, "inf is not a finite number"),
    ("items", put("slot", 1, "back"), "slot", 1, "'back' is not in the categories"),
    ("users", drop("user_id"), "user_id", None, "is missing; the table has age, member"),
    ("users", put("user_id", 1, "u1"), "user_id", 1, "the id 'u1' occurs twice"),
    ("users", cast("user_id", pl.Int32), "user_id", None, "ids are strings, not Int32"),
    ("users", drop("age"), "age", None, "is missing"),
    ("users", put("age", 1, None), "age", 1, "None is not a finite number"),
    ("users", cast("age", pl.String), "age", None, "must be numeric, not String"),
    ("impressions", pl.DataFrame.clear, "", None, "has no rows"),
    ("impressions", drop("user_id"), "user_id", None, "is missing"),
    ("impressions", drop("item_id"), "item_id", None, "is missing"),
    ("impressions", drop("label"), "label", None, "is missing"),
    ("impressions", drop("timestamp"), "timestamp", None, "is missing"),
    ("impressions", drop("exposure"), "exposure", None, "is missing"),
    ("impressions", put("user_id", 3, "u9"), "user_id", 3, "'u9' is not in the table of users"),
    ("impressions", put("item_id", 1, "z"), "item_id", 1, "'z' is not in the table of items"),
    ("impressions", put("item_id", 1, None), "item_id", 1, "None is not in the table of items"),
    ("impressions", cast("user_id", pl.Int64), "user_id", None, "ids are strings, not Int64"),
    ("impressions", put("label", 2, 2), "label", 2, "2.0 is not 0 or 1"),
    ("impressions", put("label", 2, None), "label", 2, "None is not a finite number"),
    ("impressions", cast("label", pl.String), "label", None, "must be numeric, not String"),
    ("impressions", put("timestamp", 1, None), "timestamp", 1, "None is not a time"),
    ("impressions", cast("timestamp", pl.String), "timestamp", None, "must be a time"),
    ("impressions", put("exposure", 2, "seen"), "exposure", 2, "'seen' is not logged or uniform"),
    ("impressions", put("exposure", 2, None), "exposure", 2, "None is not logged or uniform"),
    ("impressions", put("position", 1, -1), "position", 1, "-1.0 is not 0, 1, 2"),
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


@pytest.mark.parametrize("chunk_rows", [1, 3])
@pytest.mark.parametrize(
    ("table", "edit", "column", "row", "problem"),
    BAD_TABLES,
    ids=[f"{table}-{column}-{problem[:16]}" for table, _, column, _, problem in BAD_TABLES],
)
def test_a_bad_row_is_named_whichever_chunk_it_lies_in(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    edit: Edit,
    column: str,
    row: int | None,
    problem: str,
    chunk_rows: int,
) -> None:
    monkeypatch.setattr("training.data.storage.CHUNK_ROWS", chunk_rows)
    folder, scratch = tmp_path / "bad", tmp_path / "scratch"
    write(folder, **{table: edit(tables()[table])})

    assert_refused(folder, f"{table}.parquet", column or None, row, problem, scratch)
    assert not scratch.exists() or not list(scratch.iterdir())


# Embeddings.


def with_nan(row: int, value: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    bad = IMAGE.copy()
    bad[row, 1] = value
    return bad


@pytest.mark.parametrize(
    ("values", "column", "row", "problem"),
    [
        (with_nan(1, np.nan), "image", 1, "NaN, infinite or beyond 1e"),
        (with_nan(2, np.inf), "image", 2, "NaN, infinite or beyond 1e"),
        (with_nan(0, -1.1e6), "image", 0, "NaN, infinite or beyond 1e"),
        (IMAGE[0], None, None, r"must be floats \(items, dim\), not float32 \(2,\)"),
        (IMAGE[:, :0], None, None, r"must be floats \(items, dim\), not float32 \(3, 0\)"),
        (IMAGE.astype(np.int64), None, None, "must be floats .* not int64"),
    ],
    ids=["nan", "inf", "huge", "one-dimensional", "no-dimensions", "integers"],
)
def test_bad_vectors_are_refused(
    folder: Path,
    values: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
    column: str | None,
    row: int | None,
    problem: str,
) -> None:
    np.save(folder / "embeddings/image.npy", values)
    assert_refused(folder, "embeddings/image.npy", column, row, problem)


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_not_an_array_is_refused(folder: Path, content: bytes) -> None:
    (folder / "embeddings/image.npy").write_bytes(content)
    assert_refused(folder, "embeddings/image.npy", None, None, "is not an array of numbers")


def test_pickled_objects_are_refused_and_never_loaded(folder: Path) -> None:
    np.save(folder / "embeddings/image.npy", np.array([{"a": 1}], object), allow_pickle=True)
    assert_refused(folder, "embeddings/image.npy", None, None, "is not an array of numbers")


def test_an_archive_of_arrays_is_refused(folder: Path) -> None:
    with (folder / "embeddings/image.npy").open("wb") as file:
        np.savez(file, image=IMAGE)
    assert_refused(folder, "embeddings/image.npy", None, None, "is not an array of numbers")


@pytest.mark.parametrize(
    ("text", "column", "row", "problem"),
    [
        ("a\nb\n", None, None, "has 2 ids for 3 vectors"),
        ("a\nb\nz\n", "image", 2, "'z' is not in the table of items"),
        ("a\nb\nb\n", "image", 2, "'b' occurs twice"),
    ],
)
def test_bad_ids_of_vectors_are_refused(
    folder: Path, text: str, column: str | None, row: int | None, problem: str
) -> None:
    (folder / "embeddings/image.ids.txt").write_text(text)
    assert_refused(folder, "embeddings/image.ids.txt", column, row, problem)


def test_ids_of_vectors_that_are_not_text_are_refused(folder: Path) -> None:
    (folder / "embeddings/image.ids.txt").write_bytes(b"a\n\xff\nc\n")
    assert_refused(folder, "embeddings/image.ids.txt", None, None, "is not UTF-8 text")


# Writing.


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty")
    assert open_dataset(tmp_path / "empty").item_ids == ["a", "b", "c"]


def test_missing_parents_are_made(tmp_path: Path) -> None:
    write(tmp_path / "some/where")
    assert read_description(tmp_path / "some/where").user_attributes == ("age", "member")


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/precious.txt").write_text("mine")
    with pytest.raises(DatasetError, match="exists and is not empty") as caught:
        write(tmp_path / "full")
    assert caught.value.file == tmp_path / "full"
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "precious.txt"]


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DatasetError, match="exists and is not empty"):
        write(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
