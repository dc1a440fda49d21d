"""KuaiRec's converter: small files in the owners' own format, answers computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from service.contract.manifest import Modality
from tests.integration.training.data.convert.refusals import assert_refused
from tests.integration.training.data.convert.sources.kuairec import (
    CAPTIONS,
    DAILY,
    MATRIX,
    SOURCE,
    USER,
)
from training.data.convert.kuairec import prepare_kuairec
from training.data.dataset import open_dataset
from training.data.split import split_rows


@pytest.fixture
def kuairec(tmp_path: Path) -> Path:
    return SOURCE.write(tmp_path / "kuairec")


def test_labels_and_pairs_left_out(kuairec: Path, tmp_path: Path) -> None:
    prepare_kuairec(kuairec, tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out/impressions.parquet", glob=False)
    assert rows.select("user_id", "item_id", "label", "exposure", "timestamp").rows() == [
        ("0", "3", 0, "logged", 1593878903.438),
        ("0", "3", 1, "logged", 1593964801.0),  # watched again: both stay
        ("1", "3", 0, "logged", 1594008000.0),
        ("1", "5", 1, "logged", 1594008060.0),
        ("1", "9", 0, "logged", 1594094400.0),
        ("2", "3", 1, "logged", 1594098000.0),
        ("2", "5", 0, "logged", 1594101600.0),
        ("14", "5", 0, "uniform", 1593984468.378),
        ("14", "3", 1, "uniform", 1594070949.479),
        ("14", "9", 0, "uniform", 0.0),
    ]


def test_proxies_are_those_of_the_day_before(kuairec: Path, tmp_path: Path) -> None:
    prepare_kuairec(kuairec, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert [p.name for p in dataset.proxy_fields] == [
        "show_cnt",
        "play_cnt",
        "like_cnt",
        "play_progress",
        "ctr",
    ]
    none = [np.nan] * 5
    third_on_5, third_on_6 = [100, 40, 4, 0.5, 0.4], [200, 50, 5, 0.6, 0.25]
    fifth_on_6 = [30, 12, 2, np.nan, 0.4]
    np.testing.assert_allclose(
        dataset.impressions.proxies,
        [
            none,  # 5 July: the table begins on that very day
            third_on_5,
            third_on_5,
            [0, 1, 0, 0, np.nan],  # shown to nobody: no CTR
            none,  # video 9 is not in the table
            third_on_6,
            fifth_on_6,
            [0, 1, 0, 0, np.nan],
            third_on_6,
            none,  # no date
        ],
        rtol=1e-6,
    )
    np.testing.assert_allclose(  # those of the last day
        dataset.proxies, [[7, 7, 7, 0.7, 1], fifth_on_6, none], rtol=1e-6
    )


def test_folder_opens_and_splits(kuairec: Path, tmp_path: Path) -> None:
    prepare_kuairec(kuairec, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.modalities == (Modality(name="categories", dim=3),)  # 27, 8, 9
    np.testing.assert_array_equal(dataset.embedding, [[0, 1, 0], [1, 0, 1], [0, 0, 1]])
    assert dataset.titles == ["Video 3", "Video 5", "Video 9"]
    assert dataset.user_ids == ["0", "1", "2", "14"]
    assert dataset.user_attributes.shape == (4, 0)
    assert dataset.description.unbiased_kind == "fully observed"
    split = split_rows(dataset, validation=0.3, test=0.3, seed=0)
    assert split.test.tolist() == [4, 5, 6]
    assert split.unbiased.tolist() == [7, 8, 9]


def test_optional_files(kuairec: Path, tmp_path: Path) -> None:
    features = ["0"] * 18
    (kuairec / "kuairec_caption_category.csv").write_text(CAPTIONS)
    (kuairec / "user_features.csv").write_text(
        USER
        + ",".join(["0", "full_active", "0", "0", "0", "5", '"(0,10]"', "0", "0", "0", "0"])
        + ",".join(["", "99", "61-90", *features])
        + "\n"
        + ",".join(["14", "high_active", "0", "0", "1", "5", '"(0,10]"', "0", "0", "0", "0"])
        + ",".join(["", "9", "", *features[:17], ""])
        + "\n"
    )
    np.save(kuairec / "text.npy", np.array([[1.0, 2.0]], np.float32))
    (kuairec / "text.ids.txt").write_text("9\n")
    prepare_kuairec(kuairec, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.titles == ["Noodles, by hand and fast", "Video 5", "Video 9"]
    assert dataset.description.user_attributes == (
        "is_video_author=0",
        "is_video_author=1",
        "user_active_degree=full_active",
        "user_active_degree=high_active",
    )
    np.testing.assert_array_equal(
        dataset.user_attributes, [[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1]]
    )
    assert [m.name for m in dataset.modalities] == ["categories", "text"]
    assert dataset.modality_mask.tolist() == [[True, False], [True, False], [True, True]]
    np.testing.assert_array_equal(dataset.embedding[2], [0, 0, 1, 1, 2])


ROW = "0,3,1,1,2020-07-05 00:08:23.438,20200705,1593878903.438,1.0\n"


@pytest.mark.parametrize(
    ("name", "text", "column", "row", "problem"),
    [
        ("big_matrix.csv", "", None, None, "is not a CSV table"),
        ("big_matrix.csv", MATRIX, None, None, "has no rows"),
        ("big_matrix.csv", "user_id,video_id\n1,2\n", "watch_ratio", None, "is missing; the file"),
        ("big_matrix.csv", MATRIX + ROW + "0,3,1,1,,20200705,1.0,much\n", "watch_ratio", 1, "much"),
        (
            "big_matrix.csv",
            MATRIX + ROW + "x,3,1,1,,20200705,1.0,1\n",
            "user_id",
            1,
            "'x' is not a",
        ),
        ("big_matrix.csv", MATRIX + ROW + "0,3,1,1,,20200705,1.0,\n", "watch_ratio", 1, "empty"),
        ("big_matrix.csv", MATRIX + ROW + "0,3,1,1,,,,1.0\n", "date", 1, "the value is empty"),
        ("big_matrix.csv", MATRIX + ROW + "0,3,1,1,,20201305,1.0,1\n", "date", 1, "a date such as"),
        (
            "big_matrix.csv",
            MATRIX + ROW + "0,3,1,1,,20200705,1.0,inf\n",
            "watch_ratio",
            1,
            "inf is not finite",
        ),
        (
            "small_matrix.csv",
            MATRIX + ROW + "0,4,1,1,,,,1.0\n",
            "video_id",
            1,
            "item_categories.csv",
        ),
        ("item_daily_features.csv", DAILY + "3,2020,11,,1,1,0,1,1\n", "date", 0, "a date such as"),
        ("item_categories.csv", "video_id,feat\n3,[1]\n3,[1]\n", "video_id", 1, "3 occurs twice"),
        ("item_categories.csv", "video_id,feat\n3,[]\n", "feat", None, "has no list of tags"),
        ("kuairec_caption_category.csv", "video_id,text\n3,a\n", "caption", None, "is missing"),
        ("user_features.csv", "user_id\n1\n", "user_active_degree", None, "is missing"),
    ],
)
def test_a_malformed_file_is_named(
    kuairec: Path,
    name: str,
    text: str,
    column: str | None,
    row: int | None,
    problem: str,
) -> None:
    (kuairec / name).write_text(text)
    assert_refused(prepare_kuairec, kuairec, name, problem, column=column, row=row)
