"""A tiny source folder for every converter; the suite over all converters demands an entry here."""

from __future__ import annotations

from tests.integration.training.data.convert.sources import (
    coat,
    jester,
    kuairand,
    kuairec,
    movielens,
    movielens_latest,
    open_bandit,
    piki,
    tiktok,
)
from tests.integration.training.data.convert.sources.source import Files, Source

SOURCES: dict[str, Source] = {
    "coat": coat.SOURCE,
    "jester": jester.SOURCE,
    "kuairand": kuairand.SOURCE,
    "kuairec": kuairec.SOURCE,
    "movielens": movielens.SOURCE,
    "movielens_latest": movielens_latest.SOURCE,
    "open_bandit": open_bandit.SOURCE,
    "piki": piki.SOURCE,
    "tiktok": tiktok.SOURCE,
}

__all__ = ["SOURCES", "Files", "Source"]
