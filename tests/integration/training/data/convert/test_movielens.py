"""MovieLens-1M's converter: small files in the owners' own format, answers computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from service.contract.manifest import Modality
from tests.integration.training.data.convert.refusals import assert_refused
from tests.integration.training.data.convert.sources.movielens import FILES, RATINGS, SOURCE
from training.data.convert.movielens import prepare_movielens
from training.data.dataset import open_dataset
from training.data.split import split_rows


@pytest.fixture
def movielens(tmp_path: Path) -> Path:
    return SOURCE.write(tmp_path / "ml-1m")


def test_impressions_and_causal_statistics(movielens: Path, tmp_path: Path) -> None:
    prepare_movielens(movielens, tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out/impressions.parquet", glob=False)
    assert rows.columns == [
        *("user_id", "item_id", "label", "timestamp", "exposure"),
        *("popularity", "positive_rate"),
    ]
    assert rows.rows() == [
        ("1", "1193", 1, 978300760, "logged", None, None),
        ("2", "1193", 0, 978307199, "logged", None, None),
        ("1", "73", 1, 978307200, "logged", 0.0, None),
        ("2", "1193", 1, 978310000, "logged", 2.0, 0.5),
        ("1", "1193", 0, 978310001, "logged", 2.0, 0.5),
        ("2", "73", 0, 978500000, "logged", 1.0, 1.0),
    ]


def test_items_and_users(movielens: Path, tmp_path: Path) -> None:
    prepare_movielens(movielens, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.titles == [
        "Misérables, Les (1995)",
        'One Flew Over the "Cuckoo\'s" Nest (1975)',
        "Jumanji (1995)",
    ]
    assert dataset.modalities == (Modality(name="categories", dim=3),)
    np.testing.assert_array_equal(dataset.embedding, [[0, 1, 1], [0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(dataset.proxies, [[2, 0.5], [4, 0.5], [0, np.nan]])
    assert dataset.description.user_attributes == ("Age=1", "Age=56", "Gender=F", "Gender=M")
    np.testing.assert_array_equal(dataset.user_attributes, [[1, 0, 1, 0], [0, 1, 0, 1]])
    assert not dataset.impressions.uniform.any()


def test_split_by_time(movielens: Path, tmp_path: Path) -> None:
    more = [f"1::2::{1 + k % 5}::{978600000 + k}\n" for k in range(20)]
    (movielens / RATINGS).write_text(FILES[RATINGS] + "".join(more))
    prepare_movielens(movielens, tmp_path / "out")
    split = split_rows(open_dataset(tmp_path / "out"), validation=0.2, test=0.2, seed=0)
    assert split.test[-1] == 25
    assert not len(split.unbiased)


def test_windows_line_ends(movielens: Path, tmp_path: Path) -> None:
    prepare_movielens(movielens, tmp_path / "out")
    for name, text in FILES.items():
        (movielens / name).write_bytes(text.replace("\n", "\r\n").encode("latin-1"))
    prepare_movielens(movielens, tmp_path / "windows")
    plain, windows = open_dataset(tmp_path / "out"), open_dataset(tmp_path / "windows")
    assert plain.fingerprint == windows.fingerprint


def feature(source: Path, name: str, values: NDArray[np.generic], ids: str | None) -> None:
    np.save(source / f"{name}.npy", values)
    if ids is not None:
        (source / f"{name}.ids.txt").write_text(ids)


def test_own_features_become_modalities(movielens: Path, tmp_path: Path) -> None:
    feature(movielens, "poster", np.array([[1, 2], [3, 4]], np.float16), "1193\n73\n")
    feature(movielens, "plot", np.array([[5.0]]), "2")
    prepare_movielens(movielens, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert [(m.name, m.dim) for m in dataset.modalities] == [
        ("categories", 3),
        ("plot", 1),
        ("poster", 2),
    ]
    np.testing.assert_array_equal(dataset.embedding[:, 3:], [[0, 3, 4], [0, 1, 2], [5, 0, 0]])
    assert dataset.modality_mask[:, 1].tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("name", "values", "ids", "file", "column", "row", "problem"),
    [
        (
            "plot",
            np.ones((2, 2)),
            None,
            "plot.ids.txt",
            None,
            None,
            "is missing; plot.npy needs its item ids",
        ),
        ("plot", np.ones((2, 2)), "2\n", "plot.ids.txt", None, None, "has 1 ids for 2 vectors"),
        ("plot", np.ones((2, 2)), "2\n4", "plot.ids.txt", "item_id", 1, "'4' is not an item"),
        (
            "plot",
            np.ones((2, 2)),
            "2\n2",
            "plot.ids.txt",
            "item_id",
            1,
            "'2' occurs twice",
        ),
        ("plot", np.ones(2), "2\n73", "plot.npy", None, None, r"must be floats \(items, dim\)"),
        ("plot", np.ones((2, 2), int), "2\n73", "plot.npy", None, None, "not int64"),
        ("plot", np.array([[1.0], [np.inf]]), "2\n73", "plot.npy", None, 1, "NaN or infinite"),
        ("categories", np.ones((1, 1)), "2", "categories.npy", None, None, "rename the file"),
        ("Plot", np.ones((1, 1)), "2", "Plot.npy", None, None, "rename the file"),
    ],
)
def test_malformed_features_are_named(
    movielens: Path,
    name: str,
    values: NDArray[np.generic],
    ids: str | None,
    file: str,
    column: str | None,
    row: int | None,
    problem: str,
) -> None:
    feature(movielens, name, values, ids)
    assert_refused(prepare_movielens, movielens, file, problem, column=column, row=row)


@pytest.mark.parametrize(
    ("name", "text", "column", "row", "problem"),
    [
        ("ratings.dat", "", None, None, "is not a table of text"),
        ("ratings.dat", "1::73::4::9\n1,73,4,9\n", "line", 1, "UserID::MovieID::Rating::Timestamp"),
        ("ratings.dat", "1::73::4::9\n1::73::6::9\n", "Rating", 1, "'6' is not a rating 1 to 5"),
        ("ratings.dat", "1::73::4::noon\n", "Timestamp", 0, "'noon' is not a whole number"),
        ("ratings.dat", "1::99::4::9\n", "MovieID", 0, "'99' is not in movies.dat"),
        ("ratings.dat", "3::73::4::9\n", "UserID", 0, "'3' is not in users.dat"),
        (
            "users.dat",
            "1::F::1::10::1\n1::F::1::10::1\n",
            "UserID",
            1,
            "'1' occurs twice",
        ),
        ("movies.dat", "73::::Drama\n", "Title", 0, "the value is empty"),
    ],
)
def test_a_malformed_file_is_named(
    movielens: Path,
    name: str,
    text: str,
    column: str | None,
    row: int | None,
    problem: str,
) -> None:
    (movielens / name).write_text(text)
    assert_refused(prepare_movielens, movielens, name, problem, column=column, row=row)
