"""Opening a dataset folder: the dataset holds what was written; a bad file is named."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from service.contract.manifest import Modality
from tests.integration.training.data.small_dataset import (
    IMAGE,
    PROXIES,
    assert_refused,
    tables,
    write,
)
from training.data.dataset import open_dataset
from training.data.split import split_rows
from training.data.writer import write_dataset


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


def test_times_may_be_left_out(tmp_path: Path) -> None:
    write(tmp_path / "d", impressions=tables()["impressions"].drop("timestamp"))

    dataset = open_dataset(tmp_path / "d")

    assert dataset.impressions.timestamp.tolist() == [0, 0, 0, 0]


def test_without_times_rows_are_split_at_random(tmp_path: Path) -> None:
    logged = tables()["impressions"].filter(pl.col("exposure") == "logged")
    rows = pl.concat([logged.drop("timestamp", "split")] * 50)
    write(tmp_path / "d", impressions=rows)

    split = split_rows(open_dataset(tmp_path / "d"), validation=0.1, test=0.2, seed=0)

    assert len(split.train) + len(split.validation) + len(split.test) == 150
    assert 10 < len(split.test) < 50
    assert split.test.max() - split.test.min() > 100  # not the last rows


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
    np.testing.assert_array_equal(np.diff(stamps), [86_400e6, 86_400e6, 0])


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
    (folder / "oracle.parquet").unlink()  # in the folder, not part of the dataset
    (folder.rename(tmp_path / "moved"))
    assert open_dataset(tmp_path / "moved").fingerprint == before
    image = tmp_path / "moved/embeddings/image.npy"
    np.save(image, np.nextafter(IMAGE, 9))
    assert open_dataset(tmp_path / "moved").fingerprint != before


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


def test_opening_warns_of_proxies_that_repeat_labels_and_of_mixed_times(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    repeated = pl.concat([tables()["impressions"]] * 60)
    leaking = repeated.with_columns(
        clicks=pl.col("label") * 3,
        timestamp=pl.when(pl.int_range(pl.len()) < 9).then(1.7e12).otherwise(1.7e9),
    )
    write(tmp_path / "d", impressions=leaking)

    open_dataset(tmp_path / "d")

    place = str(tmp_path / "d" / "impressions.parquet")
    assert [record.getMessage() for record in caplog.records] == [
        f"{place}: the proxy 'clicks' ranks the labels of its own rows with AUC 1.000; a proxy "
        "must not contain the row's own outcome",
        f"{place}: column 'timestamp': no time is between 1700000000 and 1700000000000; are "
        "seconds and milliseconds mixed?",
    ]
