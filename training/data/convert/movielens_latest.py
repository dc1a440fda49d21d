"""MovieLens "latest" (Harper and Konstan, ACM TiiS 2015): ratings and tags with times.

Format: the owners' README (grouplens.org, ``ml-latest-small``, ``ml-latest``; ``ml-20m``,
``ml-25m`` and ``ml-32m`` have the same). CSV with a header, in UTF-8: ``ratings.csv``
userId,movieId,rating,timestamp; ``movies.csv`` movieId,title,genres, genres separated by ``|``;
``tags.csv`` userId,movieId,tag,timestamp.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from training.data.convert.movielens import POSITIVE_RATING
from training.data.convert.tables import (
    IMPRESSIONS,
    POPULARITY,
    POSITIVE_RATE,
    STATISTICS,
    Columns,
    current_statistics,
    read_csv,
    read_embeddings,
    refuse,
    refuse_repeated,
    refuse_unknown,
    with_statistics,
)
from training.data.convert.text import TEXT, embed_texts
from training.data.writer import refuse_existing, write_dataset

RATINGS, MOVIES, TAGS = "ratings.csv", "movies.csv", "tags.csv"
NO_GENRES = "(no genres listed)"
STARS = np.arange(0.5, 5.5, 0.5).tolist()
PRIOR_ROWS = 10  # half of the films have three ratings or fewer: their bare rates are noise


def prepare_movielens_latest(source: Path, out: Path) -> None:
    """Convert the owners' files in ``source`` into the dataset folder ``out``.

    Label: rating >= 4. All rows are logged: people chose the films that they rated. Timestamps are
    unix seconds. Proxies: a film's ``popularity`` (ratings) and ``positive_rate`` (share of ratings
    >= 4, shrunk by 10 ratings of the average film) before the second of the row.

    Modality ``text``: TF-IDF and SVD of a film's title, genres and all its tags. Tags later than a
    row count too: they describe the film, not the row's outcome. Your own files ``<modality>.npy``
    (n, dim) and ``<modality>.ids.txt`` (movieIds, one per line) in ``source`` become modalities
    too. Raises DatasetError naming the file and column that is missing or malformed.
    """
    refuse_existing(out)
    movies = _movies(source / MOVIES)
    rows = with_statistics(
        _ratings(source / RATINGS, movies), clock="timestamp", prior_rows=PRIOR_ROWS
    )
    texts = _texts(movies, _tags(source / TAGS, movies))
    items = movies.select(pl.col("movieId").cast(pl.String).alias("item_id"), "title")
    item_ids = items["item_id"].to_list()
    write_dataset(
        out,
        name="movielens-latest",
        impressions=rows.select(*IMPRESSIONS, POPULARITY, POSITIVE_RATE),
        items=current_statistics(items, rows, clock="timestamp", prior_rows=PRIOR_ROWS),
        users=rows.select("user_id").unique(maintain_order=True),
        embeddings={
            TEXT: embed_texts(texts, item_ids, source / MOVIES),
            **read_embeddings(source, items["item_id"], TEXT),
        },
        proxies=STATISTICS,
        title="title",
    )


def _movies(path: Path) -> pl.DataFrame:
    table = read_csv(path, {"movieId": pl.Int64, "title": pl.String, "genres": pl.String})
    refuse_repeated(table, path, "movieId")
    return table


def _ratings(path: Path, movies: pl.DataFrame) -> pl.DataFrame:
    columns: Columns = {
        **dict.fromkeys(("userId", "movieId", "timestamp"), pl.Int64),
        "rating": pl.Float64,
    }
    table = read_csv(path, columns)
    unrated = ~pl.col("rating").is_in(STARS)
    refuse(table, path, "rating", unrated, "{value!r} is not a rating 0.5 to 5 in half stars")
    refuse_unknown(table, path, "movieId", movies["movieId"], path.with_name(MOVIES))
    return table.select(
        pl.col("userId").cast(pl.String).alias("user_id"),
        pl.col("movieId").cast(pl.String).alias("item_id"),
        (pl.col("rating") >= POSITIVE_RATING).cast(pl.Int8).alias("label"),
        "timestamp",
        pl.lit("logged").alias("exposure"),
    )


def _tags(path: Path, movies: pl.DataFrame) -> pl.DataFrame:
    """Return movieId and all tags of the movie as one text."""
    table = read_csv(path, {"movieId": pl.Int64, "tag": pl.String}, nullable=("tag",))
    refuse_unknown(table, path, "movieId", movies["movieId"], path.with_name(MOVIES))
    return table.group_by("movieId", maintain_order=True).agg(pl.col("tag").str.join(" "))


def _texts(movies: pl.DataFrame, tags: pl.DataFrame) -> list[str]:
    genres = (
        pl.col("genres")
        .str.replace(NO_GENRES, "", literal=True)
        .str.replace_all("|", " ", literal=True)
    )
    text = pl.concat_str("title", genres, pl.col("tag").fill_null(""), separator=" ")
    joined = movies.join(tags, on="movieId", how="left", maintain_order="left")
    texts: list[str] = joined.select(text)["title"].to_list()
    return texts
