"""Piki Music: 3 users and 3 songs, of which one was selected at random alone."""

from __future__ import annotations

from tests.integration.training.data.convert.sources.source import Source, changed_lines, encoded

FILE = "piki_dataset.csv"
HEADER = "timestamp,user_id,song_id,liked,personalized,spotify_popularity,treatment_group\n"

FILES = {
    FILE: HEADER + "2020-08-25 06:05:21,7,100,1,1,56,-1\n"
    "2020-08-25 06:05:22,8,100,0,1,57,-1\n"
    "2020-08-25 06:05:22,7,200,2,0,,-1\n"
    "2020-08-26 00:00:00,8,200,1,1,30,-1\n"
    "2021-02-01 12:00:00,7,100,0,1,56,0\n"
    "2021-02-01 12:00:00,9,300,0,0,,0\n"
}


def _flipped(line: str) -> str:
    fields = line.split(",")
    fields[3] = {"0": "1", "1": "0", "2": "0"}[fields[3]]
    return ",".join(fields)


SOURCE = Source(
    files=encoded(FILES),
    flips=tuple(encoded({FILE: text}) for text in changed_lines(FILES[FILE], _flipped)),
)
