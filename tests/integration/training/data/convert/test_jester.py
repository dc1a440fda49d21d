"""Jester's converter: small files, answers computed by hand, and the real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from tests.integration.training.data.convert.real_files import DATA, needs
from tests.integration.training.data.convert.refusals import assert_refused
from tests.integration.training.data.convert.sources.jester import (
    CSV,
    GAUGE_SET,
    JOKES,
    RATINGS,
    SOURCE,
    TEXTS,
    csv,
    packed,
    ratings,
    texts,
)
from training.data.convert.jester import prepare_jester
from training.data.dataset import SPLITS, open_dataset


@pytest.fixture
def jester(tmp_path: Path) -> Path:
    return SOURCE.write(tmp_path / "jester")


def test_uniform_rows_are_of_the_user_who_rated_all_without_the_gauge_set(
    jester: Path, tmp_path: Path
) -> None:
    prepare_jester(jester, tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out/impressions.parquet", glob=False)
    uniform = rows.filter(exposure="uniform")
    others = [number for number in range(1, JOKES + 1) if number not in GAUGE_SET]
    assert set(uniform["user_id"]) == {"u00000"}
    assert uniform["item_id"].to_list() == [f"j{number:03d}" for number in others]
    assert uniform["label"].to_list() == [1 - number % 2 for number in others]  # even ones: 7.25

    logged = rows.filter(exposure="logged")
    assert logged.group_by("user_id").len().sort("user_id").rows() == [
        ("u00000", 10),
        ("u00001", 11),
        ("u00002", 11),
    ]
    chosen = logged.filter(~pl.col("item_id").is_in([f"j{number:03d}" for number in GAUGE_SET]))
    assert chosen.select("user_id", "item_id", "label", "timestamp").rows() == [
        ("u00001", "j001", 1, 0),
        ("u00002", "j002", 1, 0),
        ("u00002", "j021", 0, 0),
    ]


def test_the_gauge_set_only_trains(jester: Path, tmp_path: Path) -> None:
    prepare_jester(jester, tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out/impressions.parquet", glob=False)
    gauge = rows.filter(pl.col("item_id").is_in([f"j{number:03d}" for number in GAUGE_SET]))
    assert len(gauge) == 29
    assert set(gauge["split"]) == {"train"}
    assert set(rows["split"]) <= set(SPLITS)


def test_items(jester: Path, tmp_path: Path) -> None:
    """Exposure counts the users who stopped: two saw most of the gauge set."""
    prepare_jester(jester, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.titles[:3] == [
        "Joke 1: A horse & a bar",
        "Joke 2: A dog & a bar",
        "Joke 3: Unique.",
    ]
    assert dataset.proxies[[0, 1, 2, 4, 6, 20], 0].tolist() == [1, 1, 0, 1, 2, 1]
    assert np.flatnonzero(~dataset.modality_mask[:, 0]).tolist() == [2]
    assert dataset.embedding[0] @ dataset.embedding[20] == pytest.approx(1)
    assert dataset.embedding[0] @ dataset.embedding[1] < 0.9


def test_a_rating_of_0_is_no_like(jester: Path, tmp_path: Path) -> None:
    table = ratings()
    table[1, 0] = 0
    (jester / RATINGS).write_bytes(packed({CSV: csv(table)}))
    prepare_jester(jester, tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out/impressions.parquet", glob=False)
    assert rows.filter(user_id="u00001", item_id="j001")["label"].to_list() == [0]


def _with(user: int, joke: int, value: float) -> dict[str, str]:
    table = ratings()
    table[user, joke - 1] = value
    return {CSV: csv(table)}


@pytest.mark.parametrize(
    ("name", "files", "column", "row", "problem"),
    [
        (RATINGS, _with(1, 1, 10.5), "joke_1", 1, "10.5 is not a rating -10 to 10, or 99"),
        (RATINGS, {CSV: "20," + csv(ratings())[3:]}, "rated", 0, "20.0 is not the number of jokes"),
        (RATINGS, {CSV: "1,2,3\n"}, None, None, "has 2 jokes; the gauge set needs 20"),
        (RATINGS, {CSV: "user,joke\n1,2\n"}, None, None, "is not a table of numbers"),
        (RATINGS, {"jester-data-1.xls": "x"}, None, None, "holds no .csv; save its sheet as"),
        (TEXTS, texts(20), None, None, "lacks init21.html with the text of a joke"),
        (TEXTS, texts() | {"jokes/init2.html": "A joke"}, None, None, "lacks init2.html"),
    ],
)
def test_a_malformed_file_is_named(
    jester: Path,
    name: str,
    files: dict[str, str],
    column: str | None,
    row: int | None,
    problem: str,
) -> None:
    (jester / name).write_bytes(packed(files))
    assert_refused(prepare_jester, jester, name, problem, column=column, row=row)


def test_a_file_that_is_no_archive_is_named(jester: Path) -> None:
    (jester / RATINGS).write_text(csv(ratings()))
    assert_refused(prepare_jester, jester, RATINGS, "is not a zip archive")


@needs("jester")
def test_the_real_files(tmp_path: Path) -> None:
    prepare_jester(DATA / "jester", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    rows = dataset.impressions
    assert (len(dataset.user_ids), len(dataset.item_ids)) == (24_983, 100)
    assert rows.uniform.sum() == 648_000 == 7_200 * 90
    gauge = np.isin(rows.item, np.array(GAUGE_SET) - 1)
    chosen = ~rows.uniform & ~gauge
    assert chosen.sum() == 912_671
    assert gauge.sum() == 1_810_455 - 648_000 - 912_671
    assert len(np.unique(rows.user[~rows.uniform])) == 24_983  # all have a history
    shares = np.bincount(rows.split[chosen]) / chosen.sum() if rows.split is not None else []
    np.testing.assert_allclose(shares, [0.85, 0.05, 0.1], atol=0.002)
    assert rows.label[rows.uniform].mean() == pytest.approx(0.6254, abs=1e-4)
    aucs = [
        roc_auc_score(rows.label[side], rows.proxies[side, 0]) for side in (chosen, rows.uniform)
    ]
    assert aucs == pytest.approx([0.630, 0.567], abs=0.0005)
