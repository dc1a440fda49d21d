"""Piki Music's converter: a small file in the owners' format, answers computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from service.contract.manifest import Modality
from tests.integration.training.data.convert.refusals import assert_refused
from tests.integration.training.data.convert.sources.piki import FILE, FILES, HEADER, SOURCE
from training.data.convert.piki import prepare_piki
from training.data.dataset import open_dataset


@pytest.fixture
def piki(tmp_path: Path) -> Path:
    return SOURCE.write(tmp_path / "data")


def test_impressions_and_statistics_of_personalized_songs(piki: Path, tmp_path: Path) -> None:
    """Shares of likes so far: 1 of 1, 1 of 2, 2 of 3; random songs do not count."""
    prepare_piki(piki, tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out/impressions.parquet", glob=False)
    assert rows.drop("positive_rate").rows() == [
        ("7", "100", 1, 1598335521.0, "logged", None),
        ("8", "100", 0, 1598335522.0, "logged", 1.0),
        ("7", "200", 1, 1598335522.0, "uniform", 0.0),
        ("8", "200", 1, 1598400000.0, "logged", 0.0),
        ("7", "100", 0, 1612180800.0, "logged", 2.0),
        ("9", "300", 0, 1612180800.0, "uniform", 0.0),
    ]
    expected = [None, 11 / 11, None, None, (1 + 5) / 12, None]
    assert rows["positive_rate"].to_list() == pytest.approx(expected)


def test_the_artists_popularity_is_the_content(piki: Path, tmp_path: Path) -> None:
    prepare_piki(piki, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.titles == ["Song 100", "Song 200", "Song 300"]
    assert dataset.modalities == (Modality(name="artist", dim=1),)
    np.testing.assert_allclose(dataset.embedding[:, 0], [0.56, 0.3, 0], rtol=1e-6)
    assert dataset.modality_mask[:, 0].tolist() == [True, True, False]
    assert dataset.proxies[:, 0].tolist() == [3, 1, 0]


def test_the_column_of_older_excerpts(piki: Path, tmp_path: Path) -> None:
    prepare_piki(piki, tmp_path / "out")
    (piki / FILE).write_text(FILES[FILE].replace("spotify_popularity", "Spotify_popularity"))
    prepare_piki(piki, tmp_path / "older")
    new, older = (open_dataset(tmp_path / name) for name in ("out", "older"))
    assert new.fingerprint == older.fingerprint


@pytest.mark.parametrize(
    ("line", "column", "problem"),
    [
        ("yesterday,7,100,1,1,56,0", "timestamp", "'yesterday' is not a time such as 2020-08-25"),
        ("2020-08-25 06:05:21,7,100,3,1,56,0", "liked", "3 is not 0, 1 or 2"),
        ("2020-08-25 06:05:21,7,100,1,2,56,0", "personalized", "2 is not 0 or 1"),
        ("2020-08-25 06:05:21,7,100,1,1,101,0", "spotify_popularity", "101.0 is not 0 to 100"),
        ("2020-08-25 06:05:21,,100,1,1,5,0", "user_id", "the value is empty"),
    ],
)
def test_a_malformed_file_is_named(piki: Path, line: str, column: str, problem: str) -> None:
    (piki / FILE).write_text(FILES[FILE] + line + "\n")
    assert_refused(prepare_piki, piki, FILE, problem, column=column, row=6)


def test_a_missing_column_is_named(piki: Path) -> None:
    (piki / FILE).write_text(FILES[FILE].replace(HEADER, HEADER.replace("personalized", "chosen")))
    assert_refused(prepare_piki, piki, FILE, "is missing; the file has", column="personalized")
