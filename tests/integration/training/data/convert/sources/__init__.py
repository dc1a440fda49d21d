"""A tiny source folder for every converter; the suite over all converters demands an entry here."""

from __future__ import annotations

from tests.integration.training.data.convert.sources import (
    coat,
    kuairand,
    kuairec,
    movielens,
    open_bandit,
    tiktok,
)
from tests.integration.training.data.convert.sources.source import Files, Source

SOURCES: dict[str, Source] = {
    "coat": coat.SOURCE,
    "kuairand": kuairand.SOURCE,
    "kuairec": kuairec.SOURCE,
    "movielens": movielens.SOURCE,
    "open_bandit": open_bandit.SOURCE,
    "tiktok": tiktok.SOURCE,
}

__all__ = ["SOURCES", "Files", "Source"]
