"""A raw log on polars: answers known by hand, and the command."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from tests.full_disk import file_size_limit
from tests.integration.training.data.raw_log.raw_tables import FLAT, JOINED, read, write_raw
from training.cli.app import app
from training.data.dataset import open_dataset
from training.data.raw_log import on_polars
from training.data.raw_log.on_polars import PolarsEngine
from training.data.raw_log.prepare import prepare_log
from training.data.raw_log.specification import read_specification
from training.errors import DatasetError

DAY = 86_400
SHOP = """
name = "shop"

[impressions]
path = "shown.parquet"
user = "user"
item = "item"
time = "time"
time_unit = "s"
{impressions}

[embeddings.image]
values = "image.npy"
ids = "image.ids.txt"
{tables}
"""


def prepared(
    folder: Path, shown: dict[str, Any], impressions: str = "label = 'clicked'", tables: str = ""
) -> dict[str, pl.DataFrame]:
    """Prepare the log ``shown`` with more lines of ``prepare.toml``; return the tables."""
    pl.DataFrame(shown).write_parquet(folder / "shown.parquet")
    np.save(folder / "image.npy", np.ones((1, 2), np.float32))
    (folder / "image.ids.txt").write_text("1\n")
    config = folder / "prepare.toml"
    config.write_text(SHOP.format(impressions=impressions, tables=tables))
    prepare_log(read_specification(config), str(folder / "out"), PolarsEngine())
    open_dataset(folder / "out")
    return read(folder / "out")


def test_proxies_count_what_was_logged_on_earlier_days(tmp_path: Path) -> None:
    shown = {
        "user": [1, 2, 1, 2, 1, 2],
        "item": [1, 1, 2, 1, 1, 2],
        "time": [0, 10, DAY, DAY + 5, 3 * DAY, 3 * DAY],
        "clicked": [1, 0, 1, 1, 0, 0],
        "drawn": [0, 0, 0, 1, 0, 0],
    }
    tables = prepared(tmp_path, shown, "label = 'clicked'\nuniform = 'drawn'")
    rows = tables["impressions"]
    assert rows["timestamp"].dt.epoch("s").to_list() == shown["time"]
    assert rows["popularity"].to_list() == [None, None, 0, 2, 2, 1]
    assert rows["positive_rate"].to_list() == [None, None, None, 0.5, 0.5, 1.0]
    assert rows["age_s"].to_list() == [0, 10, 0, DAY + 5, 3 * DAY, 2 * DAY]
    assert rows["exposure"].to_list() == [*["logged"] * 3, "uniform", *["logged"] * 2]
    items = tables["items"].rows()
    assert items == [("1", 3, 1 / 3, 3 * DAY), ("2", 2, 0.5, 2 * DAY)]


def test_a_finer_clock_and_shrinkage(tmp_path: Path) -> None:
    shown = {"user": [1] * 3, "item": [1, 2, 1], "time": [0, 3600, 7200], "clicked": [1, 1, 0]}
    proxies = "[proxies]\nclock = 'hour'\nprior_rows = 2\nnames = ['positive_rate']"
    tables = prepared(tmp_path, shown, tables=proxies)
    # Before 7,200 item 1 had 1 click of 1 row, and all items had the share 1 so far.
    assert tables["impressions"]["positive_rate"].to_list() == [None, None, (1 + 2) / (1 + 2)]
    # At the end: 1 click of 2 rows, with 2 rows of the share 2 / 3.
    assert tables["items"].rows() == [("1", (1 + 4 / 3) / 4), ("2", (1 + 2) / 3)]


def test_rows_that_lack_something_and_copies_are_left_out(tmp_path: Path) -> None:
    shown = {
        "user": ["a", None, "b", "", "a", "a", "c\x07", "d" * 129],
        "item": [1, 1, 1, 1, 1, 1, 1, 1],
        "time": [5, 5, 5, 5, 5, 6, 5, 5],
        "watched_s": [1.0, 9.0, float("nan"), 9.0, 8.0, 7.0, 9.0, 9.0],
        "slot": [3, 0, 0, 0, 2, None, 0, 0],
    }
    label = "label = 'watched_s'\nat_least = 7\nposition = 'slot'"
    rows = prepared(tmp_path, shown, label)["impressions"]
    chosen = rows.select("user_id", "item_id", "label", "position")
    assert chosen.rows() == [("a", "1", 1, 2.0)]  # of the copies, the click and the upper place


def test_outcomes_are_joined_by_request_and_item(tmp_path: Path) -> None:
    shown = {"rid": [7, 7, 8, 9], "user": [1, 1, 2, 3], "item": [1, 2, 1, 1], "time": [0, 0, 1, 2]}
    pl.DataFrame(
        {
            "rid": [7, 8, 9, 9, 5],
            "item": ["1", "1", "1", "1", "1"],
            "at": [datetime(1970, 1, 1, 0, minute, tzinfo=UTC) for minute in (1, 2, 0, 0, 0)],
            "like": [True, True, False, True, True],
        }
    ).write_parquet(tmp_path / "outcomes.parquet")
    outcomes = "[outcomes]\npath = 'outcomes.parquet'\nrequest = 'rid'\nitem = 'item'\n"
    outcomes += "time = 'at'\nwithin_s = 60\nlabel = 'like'"
    rows = prepared(tmp_path, shown, "request = 'rid'", outcomes)["impressions"]
    # Request 7 clicked in time, 8 too late, 9 once without and once with a like.
    assert rows.select("user_id", "item_id", "label").rows() == [
        ("1", "1", 1),
        ("1", "2", 0),
        ("2", "1", 0),
        ("3", "1", 1),
    ]


def test_what_is_not_kept_counts_for_proxies_alone(tmp_path: Path) -> None:
    shown = {
        "user": [1, 2, 2, 2, 1, 2],
        "item": [1, 1, 1, 9, 1, 1],
        "time": [0, 2 * DAY, 2 * DAY + 1, 2 * DAY + 2, 2 * DAY + 3, 5 * DAY],
        "clicked": [1, 0, 1, 1, 1, 1],
    }
    pl.DataFrame({"id": [3, 1], "title": ["C", "A"]}).write_parquet(tmp_path / "items.parquet")
    pl.DataFrame({"id": [2, 1], "age": [20, 10]}).write_parquet(tmp_path / "users.parquet")
    tables = """
        [items]
        path = 'items.parquet'
        id = 'id'
        title = 'title'
        [users]
        path = 'users.parquet'
        id = 'id'
        attributes = ['age']
        [keep]
        since = 1970-01-02
        until = 1970-01-06T00:00:00+00:00
        user_rows = 2
    """
    made = prepared(tmp_path, shown, tables=tables)
    # User 1 has one row after the first day, item 9 is no item, the last row is too late.
    rows = made["impressions"].select("user_id", "item_id", "popularity").rows()
    assert rows == [("2", "1", 1), ("2", "1", 1)]
    assert made["users"].rows() == [("2", 20)]
    items = made["items"].select("item_id", "title", "popularity", "age_s").rows()
    assert items == [("1", "A", 4, 2 * DAY + 3), ("3", "C", 0, None)]


def test_parts_keep_the_order_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_polars, "PART_ROWS", 50)
    log = read_specification(write_raw(tmp_path / "raw"))
    prepare_log(log, str(tmp_path / "out"), PolarsEngine())
    parts = sorted((tmp_path / "out" / "impressions").iterdir())
    assert len(parts) > 3
    rows = read(tmp_path / "out")["impressions"]
    assert len(rows) > 150
    assert rows["timestamp"].is_sorted()


@pytest.mark.parametrize("text", [FLAT, JOINED], ids=["flat", "joined"])
def test_the_command(text: str, tmp_path: Path) -> None:
    config, out = write_raw(tmp_path / "raw", text), tmp_path / "out"
    done = CliRunner().invoke(app, ["prepare-log", "--config", str(config), "--out", str(out)])
    assert done.exit_code == 0, done.output
    dataset = open_dataset(out)
    read_rows = 630 if text == FLAT else 600
    assert f"wrote {len(dataset.impressions)} impressions of {read_rows} rows" in done.output
    assert 0.2 < dataset.impressions.label.mean() < 0.8
    assert not dataset.unread
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "out"}
    assert not (out / "work").exists()


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("item", [1.0], "column 'item': ids are texts or integers, not Float64"),
        ("clicked", ["yes"], "column 'clicked': must be numeric, not String"),
        (
            "time",
            ["now"],
            "column 'time': a time is a date, a datetime or a number, not String",
        ),
        ("user", [None], "shown.parquet: no impression is left of 1 rows; look at [keep] and the"),
    ],
)
def test_a_bad_table_is_refused_and_nothing_is_written(
    column: str, values: list[Any], message: str, tmp_path: Path
) -> None:
    shown = {"user": ["a"], "item": [1], "time": [0], "clicked": [1], column: values}
    if values == [None]:
        shown[column] = pl.Series(values, dtype=pl.String)
    with pytest.raises(DatasetError) as refused:
        prepared(tmp_path, shown)
    assert message in str(refused.value)
    assert {path.name for path in tmp_path.iterdir()} == {
        "shown.parquet",
        "prepare.toml",
        "image.npy",
        "image.ids.txt",
    }


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    log = read_specification(write_raw(tmp_path / "raw"))
    out = tmp_path / "out"
    with file_size_limit(2000), pytest.raises(OSError, match="File too large") as refused:
        prepare_log(log, str(out), PolarsEngine())
    assert str(tmp_path) in str(refused.value.filename)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_missing_table_column_or_embedding_and_a_repeated_id_are_named(tmp_path: Path) -> None:
    shown = {"user": ["a"], "item": [1], "time": [0]}
    with pytest.raises(DatasetError, match="'clicked': is missing; the table has user, item, time"):
        prepared(tmp_path, shown)
    users = "[users]\npath = 'users.parquet'\nid = 'id'"
    shown["clicked"] = [1]
    with pytest.raises(DatasetError, match=r"users.parquet: is missing; name a Parquet file"):
        prepared(tmp_path, shown, tables=users)
    pl.DataFrame({"id": ["a", "b", "a"]}).write_parquet(tmp_path / "users.parquet")
    with pytest.raises(DatasetError, match=r"users.parquet, column 'id': 'a' occurs twice"):
        prepared(tmp_path, shown, tables=users)
    pl.DataFrame({"id": ["a", "b\n"]}).write_parquet(tmp_path / "users.parquet")
    with pytest.raises(DatasetError, match=r"users.parquet, column 'id': 'b\\n' is no id"):
        prepared(tmp_path, shown, tables=users)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(DatasetError, match="exists and is not empty"):
        prepared(tmp_path, shown)
