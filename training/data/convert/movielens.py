"""MovieLens-1M (Harper and Konstan, ACM TiiS 2015): a million ratings, self-selected only.

Format: the owners' README (grouplens.org, ``ml-1m``). Three files without a header, in Latin-1,
fields separated by ``::``: ``ratings.dat`` UserID::MovieID::Rating::Timestamp, ``users.dat``
UserID::Gender::Age::Occupation::Zip-code, ``movies.dat`` MovieID::Title::Genres, genres separated
by ``|``.
"""

from __future__ import annotations

import codecs
from pathlib import Path

import polars as pl

from training.data.convert.tables import (
    IMPRESSIONS,
    POPULARITY,
    POSITIVE_RATE,
    STATISTICS,
    current_statistics,
    missing,
    multi_hot,
    one_hot,
    read_embeddings,
    refuse,
    refuse_repeated,
    refuse_unknown,
    with_statistics,
)
from training.data.writer import refuse_existing, write_dataset
from training.errors import DatasetError

POSITIVE_RATING = 4
_BYTE_ORDER_MARK = codecs.BOM_UTF8.decode("latin-1")
RATINGS, USERS, MOVIES = "ratings.dat", "users.dat", "movies.dat"
DEMOGRAPHICS = ("Gender", "Age", "Occupation")
MOST_VALUES = 32


def prepare_movielens(source: Path, out: Path) -> None:
    """Convert the owners' files in ``source`` into the dataset folder ``out``.

    Label: rating >= 4. All rows are logged: people chose the films that they rated, so no row is
    uniformly exposed. Timestamps are unix seconds. Proxies: a film's ``popularity`` (ratings) and
    ``positive_rate`` (share of ratings >= 4) up to the day (UTC) before the row's.

    Modality ``categories``: genre flags. Your own files ``<modality>.npy`` (n, dim) and
    ``<modality>.ids.txt`` (MovieIDs, one per line) in ``source`` become modalities too.
    ``user_attributes``: flags of gender, age group and occupation, without zip codes. Raises
    DatasetError naming the file and column that is missing or malformed.
    """
    refuse_existing(out)
    movies = _fields(source / MOVIES, ("MovieID", "Title", "Genres"))
    people = _fields(source / USERS, ("UserID", *DEMOGRAPHICS, "Zip-code"))
    refuse_repeated(movies, source / MOVIES, "MovieID")
    refuse_repeated(people, source / USERS, "UserID")
    rows = with_statistics(_ratings(source / RATINGS, movies, people))
    items = movies.select(item_id="MovieID", title="Title")
    users = people.select(user_id="UserID").hstack(
        one_hot(people.select(DEMOGRAPHICS), most=MOST_VALUES)
    )
    flags, _ = multi_hot(movies["Genres"].str.split("|"))
    write_dataset(
        out,
        name="movielens-1m",
        impressions=rows.select(*IMPRESSIONS, POPULARITY, POSITIVE_RATE),
        items=current_statistics(items, rows),
        users=users,
        embeddings={
            "categories": (flags, items["item_id"].to_list()),
            **read_embeddings(source, items["item_id"], "categories"),
        },
        proxies=STATISTICS,
        title="title",
        user_attributes=tuple(users.columns[1:]),
    )


def _ratings(path: Path, movies: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    table = _fields(path, ("UserID", "MovieID", "Rating", "Timestamp"))
    unrated = ~pl.col("Rating").is_in(list("12345"))
    refuse(table, path, "Rating", unrated, "{value!r} is not a rating 1 to 5")
    time = pl.col("Timestamp").cast(pl.Int64, strict=False)
    untimed = time.is_null()
    refuse(table, path, "Timestamp", untimed, "{value!r} is not a whole number of seconds")
    refuse_unknown(table, path, "MovieID", movies["MovieID"], path.with_name(MOVIES))
    refuse_unknown(table, path, "UserID", people["UserID"], path.with_name(USERS))
    return table.select(
        user_id="UserID",
        item_id="MovieID",
        label=(pl.col("Rating").cast(pl.Int8) >= POSITIVE_RATING).cast(pl.Int8),
        timestamp=time,
        exposure=pl.lit("logged"),
        day=pl.from_epoch(time, time_unit="s").dt.date(),
    )


def _fields(path: Path, names: tuple[str, ...]) -> pl.DataFrame:
    """Read lines of fields separated by ``::`` as a table of text."""
    try:
        lines = pl.read_csv(
            path,
            has_header=False,
            separator="\x1f",  # occurs in no line, so that each line is one field
            quote_char=None,
            encoding="latin-1",
            infer_schema=False,
            new_columns=["line"],
            glob=False,
        )
    except FileNotFoundError as error:
        raise missing(path) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetError(path, f"is not a table of text: {error}") from error
    fields = pl.col("line").str.strip_prefix(_BYTE_ORDER_MARK).str.split("::")
    malformed = (fields.list.len() != len(names)) | fields.is_null()
    refuse(lines, path, "line", malformed, "{value!r} is not " + "::".join(names))
    row = fields.list.to_struct(fields=list(names)).alias("row")
    table = lines.select(row).unnest("row")
    for name in names:
        refuse(table, path, name, pl.col(name) == "", "the value is empty")
    return table
