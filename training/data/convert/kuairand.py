"""KuaiRand-Pure (Gao et al., CIKM 2022): a feed's log with randomly inserted videos.

Format: the owners' README (github.com/chongminggao/KuaiRand), with its file and column names. The
source is the ``data`` folder of KuaiRand-Pure. The larger versions, 1K and 27K, have other file
names; this converter does not read them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from training.data.columns import Floats
from training.data.convert.tables import (
    IMPRESSIONS,
    POPULARITY,
    POSITIVE_RATE,
    STATISTICS,
    Columns,
    current_statistics,
    day_of,
    multi_hot,
    one_hot,
    read_csv,
    read_embeddings,
    refuse,
    refuse_repeated,
    refuse_unknown,
    with_statistics,
)
from training.data.writer import refuse_existing, write_dataset
from training.errors import DatasetError

LOGS = {
    "log_standard_4_08_to_4_21_pure.csv": "logged",
    "log_standard_4_22_to_5_08_pure.csv": "logged",
    "log_random_4_22_to_5_08_pure.csv": "uniform",
}
VIDEOS = "video_features_basic_pure.csv"
USERS = "user_features_pure.csv"
VIDEO_KINDS = ("video_type", "upload_type", "music_type")
USER_FEATURES = (
    "user_active_degree",
    "is_lowactive_period",
    "is_live_streamer",
    "is_video_author",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
    *(f"onehot_feat{number}" for number in range(18)),
)
MOST_VALUES = 20  # wider encrypted features (up to 1,471 values) add little for their width


def prepare_kuairand(source: Path, out: Path) -> None:
    """Convert the owners' files in ``source`` into the dataset folder ``out``.

    Label: ``is_click``, which the owners define as a click in the two-column feed and as a valid
    play (to the end, or over 7 s) in the single-column one. Logged rows are the two standard
    logs, uniform rows the random one; timestamps are unix seconds (``time_ms`` / 1000).

    Proxies: ``popularity`` and ``positive_rate`` of a video up to the day before the row's
    ``date``, counted in the standard logs. The owners' ``video_features_statistic`` is an average
    over the whole month and would contain each row's own outcome: the converter ignores it.

    Modality ``attributes``: flags of the video's tags, type, upload type and music type, without
    ``visible_status``, which dates from the release. ``user_attributes``: flags of the user
    features with up to 20 values, one snapshot a user. Your own files ``<modality>.npy`` and
    ``<modality>.ids.txt`` in ``source`` become modalities too. Raises DatasetError naming the
    file and column that is missing or malformed.
    """
    refuse_existing(out)
    videos, flags = _videos(source / VIDEOS)
    users = user_attributes(source / USERS)
    rows = with_statistics(
        pl.concat([_log(source / name, exposure, videos, users) for name, exposure in LOGS.items()])
    )
    items = videos.select("item_id", "title")
    write_dataset(
        out,
        name="kuairand",
        impressions=rows.select(*IMPRESSIONS, POPULARITY, POSITIVE_RATE),
        items=current_statistics(items, rows),
        users=users,
        embeddings={
            "attributes": (flags, items["item_id"].to_list()),
            **read_embeddings(source, items["item_id"], "attributes"),
        },
        proxies=STATISTICS,
        title="title",
        user_attributes=tuple(users.columns[1:]),
        unbiased_kind="randomly inserted in the feed",
    )


def user_attributes(path: Path) -> pl.DataFrame:
    """Return user_id (text) and flags of the user features; KuaiRec has the same columns."""
    columns: Columns = {"user_id": pl.Int64, **dict.fromkeys(USER_FEATURES, pl.String)}
    table = read_csv(path, columns, nullable=USER_FEATURES)
    refuse_repeated(table, path, "user_id")
    user_id = table.select(pl.col("user_id").cast(pl.String))
    return user_id.hstack(one_hot(table.select(USER_FEATURES), most=MOST_VALUES))


def _videos(path: Path) -> tuple[pl.DataFrame, Floats]:
    """Return video_id, item_id and title, and flags (videos, K) of types and tags ('12,65')."""
    texts = (*VIDEO_KINDS, "tag")
    columns: Columns = {"video_id": pl.Int64, **dict.fromkeys(texts, pl.String)}
    table = read_csv(path, columns, nullable=texts)
    refuse_repeated(table, path, "video_id")
    tags, _ = multi_hot(table["tag"].str.extract_all(r"\d+"))
    kinds = one_hot(table.select(VIDEO_KINDS), most=len(table)).to_numpy().astype(np.float32)
    flags = np.concatenate([tags, kinds.reshape(len(table), -1)], axis=1)
    if not flags.shape[1]:
        raise DatasetError(path, "has no feature that differs between videos", column="tag")
    item_id = pl.col("video_id").cast(pl.String)
    title = pl.format("Video {}", "video_id")
    return table.select("video_id", item_id.alias("item_id"), title.alias("title")), flags


def _log(path: Path, exposure: str, videos: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
    columns = ("user_id", "video_id", "date", "time_ms", "is_click")
    table = read_csv(path, dict.fromkeys(columns, pl.Int64))
    refuse(table, path, "is_click", ~pl.col("is_click").is_in([0, 1]), "{value!r} is not 0 or 1")
    undated = day_of("date").is_null()
    refuse(table, path, "date", undated, "{value!r} is not a date such as 20220408")
    user_ids = users["user_id"].cast(pl.Int64)
    refuse_unknown(table, path, "video_id", videos["video_id"], path.with_name(VIDEOS))
    refuse_unknown(table, path, "user_id", user_ids, path.with_name(USERS))
    return table.select(
        pl.col("user_id").cast(pl.String),
        pl.col("video_id").cast(pl.String).alias("item_id"),
        pl.col("is_click").cast(pl.Int8).alias("label"),
        (pl.col("time_ms") / 1000).alias("timestamp"),
        pl.lit(exposure).alias("exposure"),
        day_of("date").alias("day"),
    )
