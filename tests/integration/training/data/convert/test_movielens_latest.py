"""MovieLens latest's converter: small files, answers computed by hand, and the real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.integration.training.data.convert.real_files import DATA, needs
from tests.integration.training.data.convert.refusals import assert_refused
from tests.integration.training.data.convert.sources.movielens_latest import (
    FILES,
    MOVIES,
    RATINGS,
    SOURCE,
    TAGS,
)
from training.data.convert.movielens_latest import prepare_movielens_latest
from training.data.dataset import open_dataset


@pytest.fixture
def movielens(tmp_path: Path) -> Path:
    return SOURCE.write(tmp_path / "ml-latest")


def test_impressions_and_statistics_of_earlier_seconds(movielens: Path, tmp_path: Path) -> None:
    """Shares of positives so far: 1 of 1, then 1 of 3, then 3 of 5; each weighs as 10 ratings."""
    prepare_movielens_latest(movielens, tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out/impressions.parquet", glob=False)
    assert rows.drop("positive_rate").rows() == [
        ("1", "10", 1, 1000000000, "logged", None),
        ("1", "20", 0, 1000000005, "logged", 0.0),
        ("2", "10", 0, 1000000005, "logged", 1.0),
        ("2", "20", 1, 1000000010, "logged", 1.0),
        ("3", "10", 1, 1000000010, "logged", 2.0),
        ("3", "20", 0, 1000000020, "logged", 2.0),
    ]
    expected = [None, None, 11 / 11, (10 / 3) / 11, (1 + 10 / 3) / 12, (1 + 6) / 12]
    assert rows["positive_rate"].to_list() == pytest.approx(expected)


def test_items_keep_titles_and_current_statistics(movielens: Path, tmp_path: Path) -> None:
    prepare_movielens_latest(movielens, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.titles == [
        "American President, The (1995)",
        "Misérables, Les (1995)",
        "Xyzzy (2001)",
    ]
    expected = [[3, (2 + 6) / 13], [3, (1 + 5) / 13], [0, np.nan]]
    np.testing.assert_allclose(dataset.proxies, expected, rtol=1e-6)
    assert dataset.user_ids == ["1", "2", "3"]


def test_text_is_of_titles_genres_and_tags(movielens: Path, tmp_path: Path) -> None:
    """The first two films share a year and a genre, the third film shares no word."""
    prepare_movielens_latest(movielens, tmp_path / "plain")
    dataset = open_dataset(tmp_path / "plain")
    assert dataset.modality_mask[:, 0].tolist() == [True, True, False]
    assert dataset.embedding[0] @ dataset.embedding[1] == pytest.approx(1)

    (movielens / TAGS).write_text(FILES[TAGS] + "1,30,Musical,1000000100\n")
    prepare_movielens_latest(movielens, tmp_path / "tagged")
    dataset = open_dataset(tmp_path / "tagged")
    assert dataset.modality_mask[:, 0].tolist() == [True, True, True]
    assert dataset.embedding[0] @ dataset.embedding[1] < 0.9
    assert dataset.embedding[2] @ dataset.embedding[1] > 0.5


def test_empty_trailing_columns_change_nothing(movielens: Path, tmp_path: Path) -> None:
    prepare_movielens_latest(movielens, tmp_path / "plain")
    (movielens / RATINGS).write_text(FILES[RATINGS].replace("\n", ",,,,\n"))
    prepare_movielens_latest(movielens, tmp_path / "trailing")
    plain, trailing = (open_dataset(tmp_path / name) for name in ("plain", "trailing"))
    assert plain.fingerprint == trailing.fingerprint


HEADERS = {name: text.partition("\n")[0] + "\n" for name, text in FILES.items()}


@pytest.mark.parametrize(
    ("name", "lines", "column", "row", "problem"),
    [
        (RATINGS, "1,10,4.2,9\n", "rating", 0, "4.2 is not a rating 0.5 to 5 in half stars"),
        (RATINGS, "1,10,0,9\n", "rating", 0, "0.0 is not a rating"),
        (RATINGS, "1,10,4,9\n1,99,4,9\n", "movieId", 1, "99 is not in movies.csv"),
        (RATINGS, "1,10,4,noon\n", "timestamp", 0, "'noon' is not a whole number"),
        (RATINGS, "1,10,,9\n", "rating", 0, "the value is empty"),
        (RATINGS, "", None, None, "has no rows"),
        (MOVIES, "10,A B,Drama\n10,B C,Drama\n", "movieId", 1, "10 occurs twice"),
        (MOVIES, "10,First,Drama\n20,Second,War\n30,Third,Comedy\n", None, None, "has no word"),
        (TAGS, "1,99,fun,9\n", "movieId", 0, "99 is not in movies.csv"),
    ],
)
def test_a_malformed_file_is_named(
    movielens: Path, name: str, lines: str, column: str | None, row: int | None, problem: str
) -> None:
    (movielens / name).write_text(HEADERS[name] + lines)
    assert_refused(prepare_movielens_latest, movielens, name, problem, column=column, row=row)


@needs("ml-latest-small")
def test_the_real_files(tmp_path: Path) -> None:
    prepare_movielens_latest(DATA / "ml-latest-small", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    rows = dataset.impressions
    assert (len(rows), len(dataset.user_ids), len(dataset.item_ids)) == (100_004, 671, 9_125)
    assert rows.label.sum() == 51_568
    assert dataset.modality_mask.all()
    assert np.count_nonzero(dataset.proxies[:, 0]) == 9_066
    matrix, existenz, godfather = (
        dataset.embedding[dataset.titles.index(title)]
        for title in ("Matrix, The (1999)", "eXistenZ (1999)", "Godfather, The (1972)")
    )
    assert matrix @ existenz > 0.8
    assert matrix @ godfather < 0.3
