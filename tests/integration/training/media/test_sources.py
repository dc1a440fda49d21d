"""Folders of media and tables of texts: bad and repeated ids are named."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from training.errors import ConfigError, DatasetError
from training.media.sources import Folder, Texts


def test_ids_are_file_names_without_suffix(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.1.png", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()

    folder = Folder(tmp_path, {".png"})

    assert folder.item_ids == ["a.1", "b"]
    assert folder.others == ["notes.txt"]


def test_two_files_of_one_item_are_named(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).touch()

    with pytest.raises(DatasetError, match=r"a\.png: has the item id of a\.jpg; rename or remove"):
        Folder(tmp_path, {".png", ".jpg"})


def test_a_file_name_that_is_no_id_is_named(tmp_path: Path) -> None:
    (tmp_path / "a\nb.png").touch()

    with pytest.raises(DatasetError, match="is no item id of 1 to 128 characters"):
        Folder(tmp_path, {".png"})


def test_a_folder_without_media_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"has no file \*\.jpg, \*\.png; add them"):
        Folder(tmp_path, {".png", ".jpg"})


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_tables_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"items[1]{suffix}"
    table = pl.DataFrame({"film": ["07", "8"], "title": ["Jaws", None], "genre": ["Shark", "War"]})
    if suffix == ".parquet":
        table.write_parquet(path)
    else:
        table.write_csv(path, separator="," if suffix == ".csv" else "\t")

    texts = Texts(path, "film", ["title", "genre"])

    assert texts.item_ids == ["07", "8"]
    assert [texts.content(row) for row in range(2)] == [b"Jaws Shark", b"War"]
    assert Texts(path, "film").content(0) == b"Jaws"  # the title


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("item_id,text\na,x\nb,y\na,z\n", "column 'item_id', row 2: the id 'a' occurs twice"),
        ("item_id,text\n,x\n", "column 'item_id', row 0: an id is empty"),
        ("id,text\na,x\n", "column 'item_id': is missing; the table has id, text"),
        ("item_id,text\na,x,y\n", "is not a CSV table"),
        ("item_id,text\n", "has no rows"),
    ],
    ids=["repeated", "empty-id", "no-ids", "ragged", "no-rows"],
)
def test_bad_tables_are_refused(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "texts.csv"
    path.write_text(content)

    with pytest.raises(DatasetError) as refused:
        Texts(path, "item_id")

    assert problem in str(refused.value)


def test_a_table_without_a_usual_text_column_asks_for_one(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("item_id,plot\na,x\n")

    with pytest.raises(ConfigError, match="name the text by --column; it has item_id, plot"):
        Texts(path, "item_id")


@pytest.mark.parametrize(
    ("name", "problem"),
    [("texts.xlsx", r"is no table of texts; write one of \.csv"), ("texts.csv", "is missing")],
)
def test_files_that_are_no_tables_are_refused(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(DatasetError, match=problem):
        Texts(tmp_path / name, "item_id")
