"""Piki Music (Stoikov et al., 2021, arXiv 2109.07692): songs liked, and random songs.

Format: the owners' README (github.com/sstoikov/piki-music-dataset) and public excerpts. One CSV
with a header, ``piki_dataset.csv``: timestamp such as ``2020-08-25 06:05:21``, user_id, song_id;
liked 0, 1 or 2 (superliked); personalized 1 where the recommender chose the song, 0 where it was
selected at random; spotify_popularity (in excerpts ``Spotify_popularity``), 0 to 100, of the
song's artist.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from training.data.convert.tables import (
    IMPRESSIONS,
    POPULARITY,
    POSITIVE_RATE,
    STATISTICS,
    Columns,
    current_statistics,
    missing,
    read_csv,
    read_embeddings,
    refuse,
    with_statistics,
)
from training.data.writer import refuse_existing, write_dataset

FILE = "piki_dataset.csv"
ARTIST = "artist"
ARTIST_POPULARITY, CAPITALISED = "spotify_popularity", "Spotify_popularity"
TIME = "%Y-%m-%d %H:%M:%S%.f"
PRIOR_ROWS = 10


def prepare_piki(source: Path, out: Path) -> None:
    """Convert ``source/piki_dataset.csv`` into the dataset folder ``out``.

    Label: liked or superliked. Logged rows are personalized songs, uniform ones random songs.
    Timestamps are unix seconds. Proxies: a song's ``popularity`` (logged ratings) and
    ``positive_rate`` (share of likes, shrunk by 10 ratings of the average song) before the second
    of the row.

    The songs are anonymous. Modality ``artist`` is one number: ``spotify_popularity`` / 100, from
    the song's first row that has it. Your own files ``<modality>.npy`` (n, dim) and
    ``<modality>.ids.txt`` (song_ids, one per line) in ``source`` become modalities too. Raises
    DatasetError naming the file and column that is missing or malformed.
    """
    refuse_existing(out)
    ratings = _ratings(source / FILE)
    rows = with_statistics(ratings, clock="timestamp", prior_rows=PRIOR_ROWS)
    item_id = ratings["item_id"].unique(maintain_order=True)
    items = pl.select(item_id, pl.format("Song {}", item_id).alias("title"))
    artists = ratings.drop_nulls(ARTIST).unique("item_id", keep="first", maintain_order=True)
    popularity = artists.select(pl.col(ARTIST).cast(pl.Float32) / 100).to_numpy()
    write_dataset(
        out,
        name="piki",
        impressions=rows.select(*IMPRESSIONS, POPULARITY, POSITIVE_RATE),
        items=current_statistics(items, rows, clock="timestamp", prior_rows=PRIOR_ROWS),
        users=rows.select("user_id").unique(maintain_order=True),
        embeddings={
            ARTIST: (popularity, artists["item_id"].to_list()),
            **read_embeddings(source, items["item_id"], ARTIST),
        },
        proxies=STATISTICS,
        title="title",
        unbiased_kind="randomly selected songs",
    )


def _ratings(path: Path) -> pl.DataFrame:
    popularity = _popularity_column(path)
    texts, numbers = ("timestamp", "user_id", "song_id"), ("liked", "personalized")
    columns: Columns = {
        **dict.fromkeys(texts, pl.String),
        **dict.fromkeys(numbers, pl.Int64),
        popularity: pl.Float64,
    }
    table = read_csv(path, columns, nullable=(popularity,))
    time = pl.col("timestamp").str.to_datetime(TIME, time_unit="us", strict=False)
    example = "2020-08-25 06:05:21"
    refuse(table, path, "timestamp", time.is_null(), "{value!r} is not a time such as " + example)
    refuse(table, path, "liked", ~pl.col("liked").is_in([0, 1, 2]), "{value!r} is not 0, 1 or 2")
    unmarked = ~pl.col("personalized").is_in([0, 1])
    refuse(table, path, "personalized", unmarked, "{value!r} is not 0 or 1")
    outside = ~pl.col(popularity).is_between(0, 100)
    refuse(table, path, popularity, outside, "{value!r} is not 0 to 100")
    personalized = pl.col("personalized") == 1
    return table.select(
        "user_id",
        pl.col("song_id").alias("item_id"),
        (pl.col("liked") > 0).cast(pl.Int8).alias("label"),
        (time.dt.timestamp("us") / 1e6).alias("timestamp"),
        pl.when(personalized).then(pl.lit("logged")).otherwise(pl.lit("uniform")).alias("exposure"),
        pl.col(popularity).alias(ARTIST),
    )


def _popularity_column(path: Path) -> str:
    """Return the name of the artist's popularity, of which two are in use."""
    if not path.is_file():
        raise missing(path)
    with path.open(encoding="utf-8", errors="replace") as file:
        return CAPITALISED if CAPITALISED in file.readline() else ARTIST_POPULARITY
