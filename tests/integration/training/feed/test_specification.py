"""feed.toml: durations, and one sentence for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import ConfigError
from training.feed.specification import Feed, read_feed

WHOLE = """
name = "shop"
bucket = "10s"

[labels]
kinds = ["click", "like"]
window = "1h"

[[proxies]]
name = "clicks_7d"
count = "click"
window = "7d"
"""


def _read(text: str, tmp_path: Path) -> Feed:
    file = tmp_path / "feed.toml"
    file.write_text(text)
    return read_feed(file)


def test_durations_are_milliseconds(tmp_path: Path) -> None:
    feed = _read(WHOLE, tmp_path)
    assert (feed.bucket, feed.labels.window, feed.late) == (10_000, 3_600_000, 86_400_000)
    assert feed.longest_ms == 7 * 86_400_000
    assert feed.counted == ["click"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('bucket = "1 minute"', "bucket: '1 minute' is no duration"),
        ("bucket = 60", 'bucket: is a text such as "30s"'),
        ("[labels]\nkinds = []", "labels.kinds"),
        ("[labels]\nkinds = ['Click!']", "labels.kinds.0"),
        ("[impressions]\nplaces = 'seen'", "impressions.places"),
        ("[[proxies]]\nname = 'c'\ncount = 'click'\nwindow = '90s'", "'c' is no multiple of"),
        (2 * "[[proxies]]\nname = 'c'\ncount = 'click'\nwindow = '1h'\n", "two proxies have the"),
        ("[proxy]", "proxy: Extra inputs"),
        ("name =", "is not TOML"),
    ],
)
def test_a_mistake_is_named(line: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        _read(line, tmp_path)
    assert problem in str(caught.value)
    assert "feed.toml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml: .*; name the TOML file of the feed"):
        read_feed(tmp_path / "nothing.toml")
