"""KuaiRec 2.0 (Gao et al., CIKM 2022): a feed's log and a matrix in which every pair was watched.

Format: the owners' README (github.com/chongminggao/KuaiRec, kuairec.com) and their ``loaddata.py``
and ``Statistics_KuaiRec.ipynb``; columns of ``item_daily_features.csv`` and of the captions as
public code that reads them lists them. The source is the folder ``KuaiRec 2.0/data``.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from service.contract.manifest import Proxy
from training.data.convert.kuairand import user_attributes
from training.data.convert.tables import (
    IMPRESSIONS,
    Columns,
    Flags,
    day_of,
    multi_hot,
    read_csv,
    read_embeddings,
    refuse,
    refuse_repeated,
    refuse_unknown,
)
from training.data.writer import refuse_existing, write_dataset
from training.errors import DatasetError

BIG, SMALL = "big_matrix.csv", "small_matrix.csv"
DAILY = "item_daily_features.csv"
CATEGORIES = "item_categories.csv"
USERS = "user_features.csv"
CAPTIONS = "kuairec_caption_category.csv"

POSITIVE_WATCH_RATIO = 2.0
DAILY_COLUMNS = ("show_cnt", "play_cnt", "like_cnt", "play_progress")
CTR = "ctr"
PROXIES = (*DAILY_COLUMNS, CTR)
PAIR = ["user_id", "video_id"]


def prepare_kuairec(source: Path, out: Path) -> None:
    """Convert the owners' files in ``source`` into the dataset folder ``out``.

    Label: ``watch_ratio`` > 2, the binary signal that the owners' README proposes. Logged rows are
    those of ``big_matrix.csv`` less the (user, video) pairs of ``small_matrix.csv``, which are the
    uniform rows: the owners keep training and evaluation apart in the same way. Repeated watches
    of a video stay, as the owners left them. Timestamps are unix seconds; about 4 % of the small
    matrix has neither time nor date: timestamp 0 and no proxies.

    Proxies: the platform's own statistics of the video on the day BEFORE the row's ``date``:
    ``show_cnt``, ``play_cnt``, ``like_cnt``, ``play_progress`` and ``ctr`` = play_cnt / show_cnt;
    unknown where ``item_daily_features.csv`` has no such day. Should it list a video twice on one
    day, the first row counts. Items carry the last day's values.

    Modality ``categories``: flags of ``item_categories.csv``. Where they are there,
    ``user_features.csv`` gives user attributes and ``kuairec_caption_category.csv`` the titles,
    and files ``<modality>.npy`` with ``<modality>.ids.txt`` of your own become modalities. Raises
    DatasetError naming the file and column that is missing or malformed.
    """
    refuse_existing(out)
    videos, flags = _videos(source / CATEGORIES)
    daily = _daily(source / DAILY)
    big = _matrix(source / BIG, videos["video_id"], nullable=())
    small = _matrix(source / SMALL, videos["video_id"], nullable=("date", "timestamp"))
    big = big.join(small.select(PAIR).unique(), on=PAIR, how="anti", maintain_order="left")
    rows = pl.concat(
        [_impressions(big, daily, "logged"), _impressions(small, daily, "uniform")]
    ).select(*IMPRESSIONS, *PROXIES)
    users = _users(source / USERS, rows)
    items = _items(videos, daily, source / CAPTIONS)
    write_dataset(
        out,
        name="kuairec",
        impressions=rows,
        items=items,
        users=users,
        embeddings={
            "categories": (flags, items["item_id"].to_list()),
            **read_embeddings(source, items["item_id"], "categories"),
        },
        proxies=tuple(Proxy(name=name) for name in PROXIES),
        title="title",
        user_attributes=tuple(users.columns[1:]),
        unbiased_kind="fully observed",
    )


def _matrix(path: Path, videos: pl.Series, nullable: tuple[str, ...]) -> pl.DataFrame:
    """Return user_id, video_id, watch_ratio, timestamp and day; the small one writes 20200705.0."""
    columns: Columns = {
        **dict.fromkeys(PAIR, pl.Int64),
        **dict.fromkeys(("watch_ratio", "date", "timestamp"), pl.Float64),
    }
    table = read_csv(path, columns, nullable=nullable)
    undated = pl.col("date").is_not_null() & day_of("date").is_null()
    refuse(table, path, "date", undated, "a date such as 20200705")
    refuse_unknown(table, path, "video_id", videos, path.with_name(CATEGORIES))
    return table.with_columns(day_of("date").alias("day")).drop("date")


def _impressions(matrix: pl.DataFrame, daily: pl.DataFrame, exposure: str) -> pl.DataFrame:
    """Give each row the statistics of the day before its own."""
    of_next_day = daily.with_columns(pl.col("day") + timedelta(days=1))
    joined = matrix.join(of_next_day, on=["video_id", "day"], how="left", maintain_order="left")
    return joined.with_columns(
        pl.col("user_id").cast(pl.String),
        pl.col("video_id").cast(pl.String).alias("item_id"),
        (pl.col("watch_ratio") > POSITIVE_WATCH_RATIO).cast(pl.Int8).alias("label"),
        pl.col("timestamp").fill_null(0.0),
        pl.lit(exposure).alias("exposure"),
    )


def _daily(path: Path) -> pl.DataFrame:
    """Return video_id, day and ``PROXIES``, a row a video and day."""
    columns: Columns = {
        **dict.fromkeys(("video_id", "date"), pl.Int64),
        **dict.fromkeys(DAILY_COLUMNS, pl.Float64),
    }
    table = read_csv(path, columns, nullable=DAILY_COLUMNS)
    refuse(table, path, "date", day_of("date").is_null(), "a date such as 20200705")
    shown = pl.when(pl.col("show_cnt") > 0).then(pl.col("show_cnt"))
    return table.unique(["video_id", "date"], keep="first", maintain_order=True).select(
        "video_id",
        day_of("date").alias("day"),
        *(pl.col(name).cast(pl.Float32) for name in DAILY_COLUMNS),
        (pl.col("play_cnt") / shown).cast(pl.Float32).alias(CTR),
    )


def _videos(path: Path) -> tuple[pl.DataFrame, Flags]:
    """Return video_id, and flags (videos, K) of tag lists such as '[27, 9]'."""
    table = read_csv(path, {"video_id": pl.Int64, "feat": pl.String})
    refuse_repeated(table, path, "video_id")
    flags, names = multi_hot(table["feat"].str.extract_all(r"\d+"))
    if not names:
        raise DatasetError(path, "holds no list of tags such as [27, 9]", column="feat")
    return table.select("video_id"), flags


def _items(videos: pl.DataFrame, daily: pl.DataFrame, captions: Path) -> pl.DataFrame:
    latest = daily.sort("day").unique("video_id", keep="last").drop("day")
    return (
        videos.join(latest, on="video_id", how="left", maintain_order="left")
        .with_columns(pl.col("video_id").cast(pl.String).alias("item_id"))
        .join(_captions(captions), on="item_id", how="left", maintain_order="left")
        .with_columns(pl.col("title").fill_null(pl.format("Video {}", "item_id")))
        .select("item_id", "title", *PROXIES)
    )


def _captions(path: Path) -> pl.DataFrame:
    """Return item_id and title where there is a caption; pieces of broken lines name no video."""
    if not path.exists():
        return pl.DataFrame(schema={"item_id": pl.String, "title": pl.String})
    try:
        scan = pl.scan_csv(path, infer_schema=False)
        found = scan.collect_schema().names()
        for name in ("video_id", "caption"):
            if name not in found:
                problem = f"is missing; the file has {', '.join(found)}"
                raise DatasetError(path, problem, column=name)
        table = scan.select("video_id", "caption").collect()
    except pl.exceptions.PolarsError as error:
        problem = f"is not a CSV table ({error}); it only names the videos: remove it to go on"
        raise DatasetError(path, problem) from error
    title = pl.col("caption").str.replace_all(r"\s+", " ").str.strip_chars()
    return (
        table.select(item_id=pl.col("video_id"), title=title)
        .filter(~pl.col("title").is_in(["", "UNKNOWN"]))
        .unique("item_id", keep="first")
    )


def _users(path: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Return all users of ``rows`` with their attributes; 0 for one that has none."""
    users = rows.select(pl.col("user_id").unique(maintain_order=True))
    if not path.exists():
        return users
    known = user_attributes(path)
    joined = users.join(known, on="user_id", how="left", maintain_order="left")
    return joined.with_columns(pl.exclude("user_id").fill_null(0.0))
