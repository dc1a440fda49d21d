"""KuaiRand-Pure's converter: small files in the owners' own format, answers known by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from service.contract.manifest import Modality, Proxy
from tests.unit.training.data.refusals import assert_refused
from training.data.convert import prepare_kuairand
from training.data.dataset import open_dataset
from training.data.split import split_rows
from training.errors import DatasetError

LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
    "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
    "is_profile_enter,is_rand,tab\n"
)
USER = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,"
    "follow_user_num,follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,"
    "friend_user_num_range,register_days,register_days_range,"
    + ",".join(f"onehot_feat{k}" for k in range(18))
    + "\n"
)
VIDEO = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,"
    "server_width,server_height,music_id,music_type,tag\n"
)
EARLY = "log_standard_4_08_to_4_21_pure.csv"
LATE = "log_standard_4_22_to_5_08_pure.csv"
RANDOM = "log_random_4_22_to_5_08_pure.csv"
VIDEOS, USERS = "video_features_basic_pure.csv", "user_features_pure.csv"


def log(user: int, video: int, date: int, time_ms: int, click: int, rand: int = 0) -> str:
    return f"{user},{video},{date},900,{time_ms},{click},{'0,' * 10}0,{rand},1\n"


KUAIRAND = {
    EARLY: LOG
    + log(7, 10, 20220408, 1649400000500, 1)
    + log(7, 20, 20220408, 1649400001000, 0)
    + log(8, 10, 20220409, 1649480000000, 0)  # after 1 of 1
    + log(8, 10, 20220409, 1649480001000, 0),  # still 1 of 1: its own day does not count
    LATE: LOG
    + log(7, 10, 20220422, 1650600000000, 1)  # after 1 of 3
    + log(8, 20, 20220423, 1650700000000, 1),  # after 0 of 1
    RANDOM: LOG
    + log(8, 10, 20220422, 1650600000000, 1, 1)
    + log(7, 10, 20220423, 1650700000000, 0, 1)  # after 2 of 4: random rows do not count
    + log(7, 30, 20220423, 1650700001000, 1, 1),  # never shown by the standard policy
    VIDEOS: VIDEO
    + "10,123,NORMAL,2022-04-10,LongImport,0.0,87433.0,720.0,1280.0,9155697141,9.0,39\n"
    '20,456,NORMAL,2022-04-10,Kmovie,1.0,218066.0,720.0,1280.0,,,"12,39"\n'
    "30,456,AD,2022-04-10,,1.0,,,,,,\n",
    USERS: USER
    + '7,full_active,0,0,0,5,"(0,10]",0,0,0,0,99,61-90,0,1'
    + ",0" * 16
    + '\n8,UNKNOWN,0,0,0,50,"(10,50]",0,0,0,0,99,61-90,,1'
    + ",0" * 16
    + "\n",
}


@pytest.fixture
def kuairand(tmp_path: Path) -> Path:
    source = tmp_path / "kuairand"
    source.mkdir()
    for name, text in KUAIRAND.items():
        (source / name).write_text(text)
    return source


def test_impressions_and_causal_statistics(kuairand: Path, tmp_path: Path) -> None:
    prepare_kuairand(kuairand, tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out/impressions.parquet").sort("exposure", "timestamp")
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
    more = [log(7, 10, 20220424, 1650800000000 + k, k % 2) for k in range(20)]
    (kuairand / LATE).write_text(KUAIRAND[LATE] + "".join(more))
    prepare_kuairand(kuairand, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    parts = split_rows(dataset, validation=0.2, test=0.2, seed=0)
    assert len(parts.unbiased) == 3
    assert dataset.impressions.timestamp[parts.test].min() > 1650800000.013


def test_own_embeddings_become_modalities(kuairand: Path, tmp_path: Path) -> None:
    np.save(kuairand / "image.npy", np.ones((2, 4), np.float16))
    (kuairand / "image.ids.txt").write_text("30\n10")
    prepare_kuairand(kuairand, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.modalities[1] == Modality(name="image", dim=4)
    assert dataset.modality_mask[:, 1].tolist() == [True, False, True]


@pytest.mark.parametrize("name", KUAIRAND)
def test_a_missing_file_is_named(kuairand: Path, name: str) -> None:
    (kuairand / name).unlink()
    assert_refused(prepare_kuairand, kuairand, name, "is missing; the source is the folder")


@pytest.mark.parametrize(
    ("name", "text", "column", "row", "problem"),
    [
        (
            EARLY,
            LOG + log(7, 10, 20220408, 1, 0) + log(7, 10, 20220408, 1, 2),
            "is_click",
            1,
            "0 or",
        ),
        (LATE, LOG + log(7, 10, 20220432, 1, 0), "date", 0, "20220432 is not a date such as"),
        (RANDOM, LOG + log(7, 99, 20220422, 1, 0), "video_id", 0, "99 is not in video_features_b"),
        (RANDOM, LOG + log(9, 10, 20220422, 1, 0), "user_id", 0, "9 is not in user_features_pure"),
        (RANDOM, "user_id,video_id\n7,10\n", "date", None, "is missing; the file has user_id, vid"),
        (USERS, KUAIRAND[USERS] + "7" + "," * 30 + "\n", "user_id", 2, "7 occurs twice"),
        (VIDEOS, VIDEO + "10" + "," * 11 + "\n", "tag", None, "no feature that differs"),
        (VIDEOS, VIDEO + "ten" + "," * 11 + "\n", "video_id", 0, "'ten' is not a whole number"),
    ],
)
def test_what_is_malformed_is_named(
    kuairand: Path, name: str, text: str, column: str, row: int | None, problem: str
) -> None:
    (kuairand / name).write_text(text)
    assert_refused(prepare_kuairand, kuairand, name, problem, column=column, row=row)
