"""Jester (Goldberg et al., "Eigentaste", Information Retrieval 2001): jokes rated from -10 to 10.

The owners' files (eigentaste.berkeley.edu/dataset): ``jester-data-1.zip`` holds one table without a
header, a line a user: how many jokes the user rated, then the rating of each joke, 99 = not rated.
``joke_texts.zip`` holds ``init<n>.html``, the text of joke n, between two comments. An older
``jester-data-1.zip`` holds an Excel sheet: save it as CSV.
"""

from __future__ import annotations

import html
import math
import re
import textwrap
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contract.manifest import Proxy
from training.data.columns import Floats
from training.data.convert.tables import POPULARITY, missing, refuse
from training.data.convert.text import TEXT, embed_texts
from training.data.writer import refuse_existing, write_dataset
from training.errors import DatasetError

RATINGS, TEXTS = "jester-data-1.zip", "joke_texts.zip"
COUNT = "rated"
NOT_RATED, MAX_RATING = 99, 10
GAUGE_SET = (5, 7, 8, 13, 15, 16, 17, 18, 19, 20)  # the owners' jokes that every user is shown
TITLE_CHARS = 80
SPLIT_SHARES = {"train": 0.85, "validation": 0.05, "test": 0.1}


@dataclass(frozen=True)
class Jester:
    """ratings: (U, J) float32 in [-10, 10], NaN where not rated; texts: those of the J jokes."""

    ratings: Floats
    texts: list[str]

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Which users rated every joke (U,)."""
        return ~np.asarray(np.isnan(self.ratings).any(axis=1))

    @property
    def titles(self) -> list[str]:
        """The number and the first words of each joke."""
        return [
            textwrap.shorten(f"Joke {number}: {text}", TITLE_CHARS, placeholder=" ...")
            for number, text in enumerate(self.texts, start=1)
        ]


def prepare_jester(source: Path, out: Path) -> None:
    """Convert the owners' files in ``source`` into the dataset folder ``out``.

    Label: rating > 0. The ten jokes of the gauge set were shown to all users first, the others as a
    recommender chose, until a user stopped. Uniform rows are the other jokes of the users who rated
    every joke: each joke was shown to each of them. They chose to stay, so they are not all users.
    Logged rows are all other ratings. Column ``split``: the gauge set trains only, and gives every
    user of the test a history; the rest, ratings of users who stopped, is split at random, 85 : 5 :
    10. Timestamps, order and propensities are unknown: the timestamp is constant 0.

    Proxy ``popularity``: how many users who stopped saw the joke, one static value a joke. It
    counts exposures, no outcomes. Modality ``text``: TF-IDF and SVD of the joke. Raises
    DatasetError naming the file that is missing or malformed.
    """
    refuse_existing(out)
    jester = read_jester(source)
    users, jokes = jester.ratings.shape
    user_ids = np.array([f"u{row:05d}" for row in range(users)])
    item_ids = np.array([f"j{number:03d}" for number in range(1, jokes + 1)])
    is_gauge = np.isin(np.arange(1, jokes + 1), GAUGE_SET)
    is_rated, stopped = ~np.isnan(jester.ratings), ~jester.complete
    user, item = np.nonzero(is_rated)
    is_uniform = ~stopped[user] & ~is_gauge[item]
    split = np.random.default_rng(0).choice(
        list(SPLIT_SHARES), size=len(user), p=list(SPLIT_SHARES.values())
    )
    rows = pl.DataFrame(
        {
            "user_id": user_ids[user],
            "item_id": item_ids[item],
            "label": (jester.ratings[user, item] > 0).astype(np.int8),
            "timestamp": np.zeros(len(user), np.int64),
            "exposure": np.where(is_uniform, "uniform", "logged"),
            "split": np.where(is_gauge[item], "train", np.where(is_uniform, "test", split)),
        }
    )
    write_dataset(
        out,
        name="jester",
        impressions=rows,
        items=pl.DataFrame(
            {
                "item_id": item_ids,
                "title": jester.titles,
                POPULARITY: is_rated[stopped].sum(axis=0).astype(np.float32),
            }
        ),
        users=pl.DataFrame({"user_id": user_ids}),
        embeddings={TEXT: embed_texts(jester.texts, item_ids.tolist(), source / TEXTS)},
        proxies=(Proxy(name=POPULARITY),),
        title="title",
        unbiased_kind="fully observed",
    )


def read_jester(source: Path) -> Jester:
    """Read and check the owners' two files; raises DatasetError."""
    ratings = _ratings(source / RATINGS)
    texts = _texts(source / TEXTS)
    for number in range(1, ratings.shape[1] + 1):
        if not texts.get(number):
            raise DatasetError(source / TEXTS, f"lacks init{number}.html with the text of a joke")
    return Jester(ratings, [texts[number] for number in range(1, ratings.shape[1] + 1)])


def _ratings(path: Path) -> Floats:
    members = _members(path, r"[^/]*\.csv")
    if not members:
        raise DatasetError(path, "holds no .csv; save its sheet as jester-data-1.csv and zip that")
    try:
        table = pl.read_csv(next(iter(members.values())), has_header=False, glob=False).cast(
            pl.Float32
        )
    except pl.exceptions.PolarsError as error:
        problem = f"is not a table of numbers: {str(error).partition(chr(10))[0]}"
        raise DatasetError(path, problem) from error
    jokes = [f"joke_{number}" for number in range(1, table.width)]
    if len(jokes) < max(GAUGE_SET):
        problem = f"has {len(jokes)} jokes; the gauge set needs {max(GAUGE_SET)}"
        raise DatasetError(path, problem)
    table.columns = [COUNT, *jokes]
    for name in jokes:
        rating = pl.col(name).fill_null(math.inf)
        bad = (rating.abs() > MAX_RATING) & (rating != NOT_RATED)
        refuse(table, path, name, bad, "{value!r} is not a rating -10 to 10, or 99")
    number_rated = pl.sum_horizontal(pl.col(jokes) != NOT_RATED)
    miscounted = (pl.col(COUNT) != number_rated).fill_null(True)
    refuse(table, path, COUNT, miscounted, "{value!r} is not the number of jokes rated")
    ratings = table.select(jokes).to_numpy().astype(np.float32)
    ratings[ratings == NOT_RATED] = np.nan
    return ratings


def _texts(path: Path) -> dict[int, str]:
    """Return joke number -> text, without markup."""
    texts = {}
    for name, content in _members(path, r"(?:.*/)?init\d+\.html").items():
        number = int(re.findall(r"\d+", name)[-1])
        page = content.decode("utf-8", errors="replace")
        joke = page.partition("<!--begin of joke -->")[2].partition("<!--end of joke -->")[0]
        texts[number] = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", joke)).split())
    return texts


def _members(path: Path, pattern: str) -> dict[str, bytes]:
    """Return name -> content of the files in the archive whose whole name matches ``pattern``."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if re.fullmatch(pattern, name)]
            return {name: archive.read(name) for name in names}
    except FileNotFoundError as error:
        raise missing(path) from error
    except zipfile.BadZipFile as error:
        raise DatasetError(path, f"is not a zip archive: {error}") from error
