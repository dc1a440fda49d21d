"""KuaiRec 2.0 (Gao et al., CIKM 2022): a feed's log, and a matrix where every pair was watched.

Format: the owners' README (github.com/chongminggao/KuaiRec, kuairec.com) and their ``loaddata.py``
and ``Statistics_KuaiRec.ipynb``; for the columns of ``item_daily_features.csv`` and of the
captions, public code that reads them. The source is the folder ``KuaiRec 2.0/data``.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from service.contract.manifest import Proxy
from training.data.columns import Floats
from training.data.convert.kuairand import user_attributes
from training.data.convert.tables import (
    IMPRESSIONS,
    Columns,
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

    Label: ``watch_ratio`` > 2, the binary signal that the owners' README proposes. Uniform rows are
    those of ``small_matrix.csv``. Logged rows are those of ``big_matrix.csv`` without the (user,
    video) pairs of the small matrix: the owners separate training and evaluation in the same way.
    Repeated watches of a video stay. Timestamps are unix seconds; about 4 % of the small matrix
    has neither time nor date: those rows have timestamp 0 and no proxies.

    Proxies: the platform's statistics of the video on the day BEFORE the row's ``date``:
    ``show_cnt``, ``play_cnt``, ``like_cnt``, ``play_progress`` and ``ctr`` = play_cnt / show_cnt;
    unknown where ``item_daily_features.csv`` lacks that day. Where it lists a video twice on one
    day, the first row counts. Items have the values of their last day.

    Modality ``categories``: flags of ``item_categories.csv``. Optional files: user attributes come
    from ``user_features.csv``, titles from ``kuairec_caption_category.csv``, and your own files
    ``<modality>.npy`` with ``<modality>.ids.txt`` become modalities. Raises DatasetError naming
    the file and column that is missing or malformed.
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
    """Return user_id, video_id, watch_ratio, timestamp and day."""
    columns: Columns = {
        **dict.fromkeys(PAIR, pl.Int64),
        # The small matrix has dates such as 20200705.0.
        **dict.fromkeys(("watch_ratio", "date", "timestamp"), pl.Float64),
    }
    table = read_csv(path, columns, nullable=nullable)
    undated = pl.col("date").is_not_null() & day_of("date").is_null()
    refuse(table, path, "date", undated, "{value!r} is not a date such as 20200705")
    refuse_unknown(table, path, "video_id", videos, path.with_name(CATEGORIES))
    return table.with_columns(day_of("date").alias("day")).drop("date")


def _impressions(matrix: pl.DataFrame, daily: pl.DataFrame, exposure: str) -> pl.DataFrame:
    """Return rows with the statistics of the day before each row's own."""
    for_next_day = daily.with_columns(pl.col("day") + timedelta(days=1))
    joined = matrix.join(for_next_day, on=["video_id", "day"], how="left", maintain_order="left")
    return joined.with_columns(
        pl.col("user_id").cast(pl.String),
        pl.col("video_id").cast(pl.String).alias("item_id"),
        (pl.col("watch_ratio") > POSITIVE_WATCH_RATIO).cast(pl.Int8).alias("label"),
        pl.col("timestamp").fill_null(0.0),
        pl.lit(exposure).alias("exposure"),
    )


def _daily(path: Path) -> pl.DataFrame:
    """Return video_id, day and ``PROXIES``, one row for each video and day."""
    columns: Columns = {
        **dict.fromkeys(("video_id", "date"), pl.Int64),
        **dict.fromkeys(DAILY_COLUMNS, pl.Float64),
    }
    table = read_csv(path, columns, nullable=DAILY_COLUMNS)
    undated = day_of("date").is_null()
    refuse(table, path, "date", undated, "{value!r} is not a date such as 20200705")
    shown = pl.when(pl.col("show_cnt") > 0).then(pl.col("show_cnt"))
    return table.unique(["video_id", "date"], keep="first", maintain_order=True).select(
        "video_id",
        day_of("date").alias("day"),
        *(pl.col(name).cast(pl.Float32) for name in DAILY_COLUMNS),
        (pl.col("play_cnt") / shown).cast(pl.Float32).alias(CTR),
    )


def _videos(path: Path) -> tuple[pl.DataFrame, Floats]:
    """Return video_id, and flags (videos, K) of tag lists such as '[27, 9]'."""
    table = read_csv(path, {"video_id": pl.Int64, "feat": pl.String})
    refuse_repeated(table, path, "video_id")
    flags, names = multi_hot(table["feat"].str.extract_all(r"\d+"))
    if not names:
        raise DatasetError(path, "has no list of tags such as [27, 9]", column="feat")
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
    """Return item_id and title of videos with a caption.

    Captions break lines; the pieces match no video id.
    """
    if not path.exists():
        return pl.DataFrame(schema={"item_id": pl.String, "title": pl.String})
    try:
        scan = pl.scan_csv(path, infer_schema=False, glob=False)
        names = scan.collect_schema().names()
        for name in ("video_id", "caption"):
            if name not in names:
                problem = f"is missing; the file has {', '.join(names)}"
                raise DatasetError(path, problem, column=name)
        table = scan.select("video_id", "caption").collect()
    except pl.exceptions.PolarsError as error:
        problem = f"is not a CSV table ({error}); it only adds titles: mend or remove it"
        raise DatasetError(path, problem) from error
    title = pl.col("caption").str.replace_all(r"\s+", " ").str.strip_chars()
    return (
        table.select(item_id=pl.col("video_id"), title=title)
        .filter(~pl.col("title").is_in(["", "UNKNOWN"]))
        .unique("item_id", keep="first")
    )


def _users(path: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Return all users of ``rows`` with their attributes, 0 where ``path`` lacks the user."""
    users = rows.select(pl.col("user_id").unique(maintain_order=True))
    if not path.exists():
        return users
    attributes = user_attributes(path)
    joined = users.join(attributes, on="user_id", how="left", maintain_order="left")
    return joined.with_columns(pl.exclude("user_id").fill_null(0.0))
