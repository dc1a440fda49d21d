"""KuaiRand-Pure's converter: small files in the owners' own format, answers computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from service.contract.manifest import Modality, Proxy
from tests.integration.training.data.convert.refusals import assert_refused
from tests.integration.training.data.convert.sources.kuairand import (
    EARLY,
    FILES,
    LATE,
    LOG,
    RANDOM,
    SOURCE,
    USERS,
    VIDEO,
    VIDEOS,
    line,
)
from training.data.convert.kuairand import prepare_kuairand
from training.data.dataset import open_dataset
from training.data.split import split_rows
from training.errors import DatasetError


@pytest.fixture
def kuairand(tmp_path: Path) -> Path:
    return SOURCE.write(tmp_path / "kuairand")


def test_impressions_and_causal_statistics(kuairand: Path, tmp_path: Path) -> None:
    prepare_kuairand(kuairand, tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out/impressions.parquet", glob=False).sort(
        "exposure", "timestamp"
    )
    columns = ("user_id", "item_id", "label", "timestamp", "exposure", "popularity")
    assert rows.select(columns).rows() == [
        ("7", "10", 1, 1649400000.5, "logged", None),  # the first day: nothing known before
        ("7", "20", 0, 1649400001.0, "logged", None),
        ("8", "10", 0, 1649480000.0, "logged", 1.0),
        ("8", "10", 0, 1649480001.0, "logged", 1.0),
        ("7", "10", 1, 1650600000.0, "logged", 3.0),
        ("8", "20", 1, 1650700000.0, "logged", 1.0),
        ("8", "10", 1, 1650600000.0, "uniform", 3.0),
        ("7", "10", 0, 1650700000.0, "uniform", 4.0),
        ("7", "30", 1, 1650700001.0, "uniform", 0.0),
    ]
    third = pytest.approx(1 / 3)
    assert rows["positive_rate"].to_list() == [None, None, 1, 1, third, 0, third, 0.5, None]


def test_items_users_and_split(kuairand: Path, tmp_path: Path) -> None:
    prepare_kuairand(kuairand, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.proxy_fields == (Proxy(name="popularity"), Proxy(name="positive_rate"))
    np.testing.assert_array_equal(dataset.proxies, [[4, 0.5], [2, 0.5], [0, np.nan]])
    assert dataset.item_ids == ["10", "20", "30"]
    # tags 12 and 39; upload types Kmovie and LongImport; video types AD and NORMAL; music type 9
    # alone is no difference
    assert dataset.modalities == (Modality(name="attributes", dim=6),)
    np.testing.assert_array_equal(
        dataset.embedding, [[0, 1, 0, 1, 0, 1], [1, 1, 1, 0, 0, 1], [0, 0, 0, 0, 1, 0]]
    )
    assert dataset.user_ids == ["7", "8"]
    assert dataset.description.user_attributes == (
        "follow_user_num_range=(0,10]",
        "follow_user_num_range=(10,50]",
        "user_active_degree=UNKNOWN",
        "user_active_degree=full_active",
    )
    np.testing.assert_array_equal(dataset.user_attributes, [[1, 0, 0, 1], [0, 1, 1, 0]])
    assert dataset.description.unbiased_kind == "randomly inserted in the feed"
    with pytest.raises(DatasetError, match="one label only"):  # six rows are few
        split_rows(dataset, validation=0.2, test=0.2, seed=0)


def test_split_of_a_longer_log(kuairand: Path, tmp_path: Path) -> None:
    more = [line(7, 10, 20220424, 1650800000000 + k, k % 2) for k in range(20)]
    (kuairand / LATE).write_text(FILES[LATE] + "".join(more))
    prepare_kuairand(kuairand, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    split = split_rows(dataset, validation=0.2, test=0.2, seed=0)
    assert len(split.unbiased) == 3
    assert dataset.impressions.timestamp[split.test].min() > 1650800000.013


def test_own_embeddings_become_modalities(kuairand: Path, tmp_path: Path) -> None:
    np.save(kuairand / "image.npy", np.ones((2, 4), np.float16))
    (kuairand / "image.ids.txt").write_text("30\n10")
    prepare_kuairand(kuairand, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.modalities[1] == Modality(name="image", dim=4)
    assert dataset.modality_mask[:, 1].tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("name", "text", "column", "row", "problem"),
    [
        (
            EARLY,
            LOG + line(7, 10, 20220408, 1, 0) + line(7, 10, 20220408, 1, 2),
            "is_click",
            1,
            "0 or",
        ),
        (LATE, LOG + line(7, 10, 20220432, 1, 0), "date", 0, "20220432 is not a date such as"),
        (RANDOM, LOG + line(7, 99, 20220422, 1, 0), "video_id", 0, "99 is not in video_features_b"),
        (RANDOM, LOG + line(9, 10, 20220422, 1, 0), "user_id", 0, "9 is not in user_features_pure"),
        (RANDOM, "user_id,video_id\n7,10\n", "date", None, "is missing; the file has user_id, vid"),
        (USERS, FILES[USERS] + "7" + "," * 30 + "\n", "user_id", 2, "7 occurs twice"),
        (VIDEOS, VIDEO + "10" + "," * 11 + "\n", "tag", None, "no feature that differs"),
        (VIDEOS, VIDEO + "ten" + "," * 11 + "\n", "video_id", 0, "'ten' is not a whole number"),
    ],
)
def test_a_malformed_file_is_named(
    kuairand: Path, name: str, text: str, column: str, row: int | None, problem: str
) -> None:
    (kuairand / name).write_text(text)
    assert_refused(prepare_kuairand, kuairand, name, problem, column=column, row=row)
