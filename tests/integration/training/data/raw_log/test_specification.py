"""``prepare.toml``: what it must hold, and one line for each mistake."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.docs.pages import DOCS, blocks
from tests.integration.training.data.raw_log.raw_tables import FLAT, JOINED
from training.data.raw_log.specification import read_specification
from training.errors import ConfigError


def test_paths_are_those_of_the_files_folder_and_urls_stay(tmp_path: Path) -> None:
    config = tmp_path / "prepare.toml"
    config.write_text(FLAT.replace('"shown"', '"s3a://logs/shown"').replace("image.npy", "/i.npy"))
    log = read_specification(config)
    assert log.impressions.path == "s3a://logs/shown"
    assert log.users is not None
    assert log.users.path == str(tmp_path / "people.parquet")
    assert log.embeddings["image"].values == "/i.npy"
    assert log.embeddings["image"].ids == str(tmp_path / "image.ids.txt")
    assert log.keep.since == datetime(2026, 3, 2, tzinfo=UTC)
    assert log.keep.until == datetime(2026, 3, 9, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (FLAT, 'label = "watched_s"', "", "name either impressions.label or a table [outcomes]"),
        (JOINED, 'user = "uid"', 'user = "uid"\nlabel = "l"', "name either impressions.label or"),
        (JOINED, 'request = "rid"\nuser', "user", "[outcomes] are joined by request: name"),
        (JOINED, 'time = "seconds"', "", "outcomes.within_s needs outcomes.time"),
        (FLAT, "user_rows = 3", "user_rows = 0", "keep.user_rows: Input should be greater"),
        (
            FLAT,
            "since = 2026-03-02",
            "since = 'never'",
            "keep.since: Input should be a valid datetime",
        ),
        (FLAT, "slot", 'slot"\nplace = "slot', "impressions.place: Extra inputs are not permitted"),
        (FLAT, "[keep]", "[keep", "is not TOML"),
    ],
)
def test_a_mistake_is_one_line(text: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    config = tmp_path / "prepare.toml"
    changed = text.replace(old, new, 1)
    assert changed != text
    config.write_text(changed)
    with pytest.raises(ConfigError) as refused:
        read_specification(config)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_one_of_the_page_is_valid(tmp_path: Path) -> None:
    (text,) = blocks(DOCS / "raw-log.md", "toml")
    (tmp_path / "prepare.toml").write_text(text)
    log = read_specification(tmp_path / "prepare.toml")
    assert log.outcomes is not None
    assert log.outcomes.at_least == 7


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml: No such file or directory; name the TOML"):
        read_specification(tmp_path / "none.toml")
