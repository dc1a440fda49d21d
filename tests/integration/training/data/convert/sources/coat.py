"""Coat: 3 users and 4 items."""

from __future__ import annotations

from collections.abc import Iterator

from tests.integration.training.data.convert.sources.source import Source, encoded

TRAIN, TEST = "train.ascii", "test.ascii"

FILES = {
    TRAIN: "5 0 3 0\n0 4 0 0\n1 0 0 2\n",
    TEST: "4 1 0 0\n0 0 5 3\n0 0 4 0\n",  # train has the first cell too
    "item_features.ascii": ("0 1 1 0 1 0 1 0\n1 0 0 1 0 1 0 1\n0 1 0 1 1 0 0 1\n1 0 1 0 0 1 0 1\n"),
    # The owners' maps have no newline at their end.
    "item_features_map.txt": (
        "gender:men\ngender:women\njackettype:parkas\njackettype:track\ncolor:black\ncolor:red\n"
        "onfrontpage:yes\nonfrontpage:no"
    ),
    "user_features.ascii": "1 0 0 1\n0 1 1 0\n0 1 0 1\n",
    "user_features_map.txt": "gender:men\nage:20-30\nage:over 60\nfashioninterest:not at all",
}


def _flipped(text: str, skip: int = 0) -> Iterator[str]:
    """Yield ``text`` once for each rating after the first ``skip``: 1 for a 4 or 5, else 5."""
    cells = [place for place, character in enumerate(text) if character in "12345"]
    for place in cells[skip:]:
        rating = "1" if text[place] in "45" else "5"
        yield text[:place] + rating + text[place + 1 :]


SOURCE = Source(
    files=encoded(FILES),
    flips=(
        *(encoded({TRAIN: text}) for text in _flipped(FILES[TRAIN])),
        *(encoded({TEST: text}) for text in _flipped(FILES[TEST], skip=1)),
    ),
    timed=False,
    statistics=False,
)
