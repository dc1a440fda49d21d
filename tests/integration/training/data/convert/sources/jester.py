"""Jester: one user who rated all 21 jokes, and two who stopped after the gauge set."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from tests.integration.training.data.convert.sources.source import Source

RATINGS, TEXTS = "jester-data-1.zip", "joke_texts.zip"
CSV = "jester-data-1.csv"
JOKES, GAUGE_SET = 21, (5, 7, 8, 13, 15, 16, 17, 18, 19, 20)
NOT_RATED = 99


def ratings() -> NDArray[np.float64]:
    """Ratings (3, 21): 99 where there is none."""
    table = np.full((3, JOKES), NOT_RATED, np.float64)
    table[0] = np.where(np.arange(JOKES) % 2, 7.25, -0.5)
    gauge = np.array(GAUGE_SET) - 1
    table[1, gauge], table[2, gauge] = -9.95, 10
    table[2, gauge[0]] = NOT_RATED  # some users lack one
    table[1, 0] = 3
    table[2, [1, 20]] = 4, -4
    return table


def packed(files: dict[str, str]) -> bytes:
    """Return a zip archive of text files; the same files give the same bytes."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return content.getvalue()


def csv(table: NDArray[np.float64]) -> str:
    rated = (table != NOT_RATED).sum(axis=1)
    lines = np.column_stack([rated, table]).tolist()
    return "".join(",".join(f"{value:g}" for value in line) + "\n" for line in lines)


def page(text: str) -> str:
    return f"<HTML>\n<!--begin of joke -->\n{text}\n<!--end of joke -->\n</HTML>"


def texts(jokes: int = JOKES) -> dict[str, str]:
    """Odd jokes are of a horse, even ones of a dog; joke 3 shares no word with another."""
    pages = {
        f"jokes/init{number}.html": page(f"A <i>{animal}</i> &amp; a<P>\nbar")
        for number in range(1, jokes + 1)
        for animal in [("dog", "horse")[number % 2]]
    }
    pages["jokes/init3.html"] = page("Unique.")
    return {"jokes/.DS_Store": "", "__MACOSX/jokes/._init1.html": "resource", **pages}


def archives(table: NDArray[np.float64]) -> dict[str, bytes]:
    """Return both files of the owners for ratings (U, J), 99 where there is none."""
    return {RATINGS: packed({CSV: csv(table)}), TEXTS: packed(texts(table.shape[1]))}


def _flips() -> Iterator[dict[str, bytes]]:
    for user, joke in np.argwhere(ratings() != NOT_RATED):
        table = ratings()
        table[user, joke] *= -1
        yield {RATINGS: packed({CSV: csv(table)})}


SOURCE = Source(files=archives(ratings()), flips=tuple(_flips()), timed=False, statistics=False)
