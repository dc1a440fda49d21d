"""What is kept of a log in parts: nothing is read twice, and nothing stale is ever taken."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from service.contract import files
from tests.integration.training.data.small_dataset import (
    arrays,
    assert_refused,
    describe,
    split_table,
    tables,
    write,
)
from training.data import file_facts
from training.data.dataset import Dataset, open_dataset
from training.data.parts import Part
from training.data.period import Period
from training.errors import DatasetError

PARTS = {"a": slice(0, 1), "b": slice(1, 3), "c": slice(3, 4)}


class Work:
    """The names of the files that were hashed and of the parts whose rows were read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hashed: list[str] = []
        self.read: list[str] = []
        sha256, read = files.sha256, Part.read

        def counted_sha256(path: Path) -> str:
            self.hashed.append(path.name)
            return sha256(path)

        def counted_read(part: Part, query: pl.LazyFrame) -> pl.DataFrame:
            if "impressions" in str(part.path):
                self.read.append(part.path.stem)
            return read(part, query)

        monkeypatch.setattr(file_facts, "sha256", counted_sha256)
        monkeypatch.setattr(Part, "read", counted_read)


@pytest.fixture
def log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The impressions of ``folder`` in three parts; a file counts as settled once written."""
    monkeypatch.setattr(file_facts, "_TICK_NS", 0)
    return split_table(folder, "impressions", PARTS)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def rewrite(path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    change(pl.read_parquet(path, glob=False)).write_parquet(path)


def flipped(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(label=1 - pl.col("label"))


def assert_same(dataset: Dataset, expected: Dataset) -> None:
    np.testing.assert_equal(arrays(dataset), arrays(expected))
    assert dataset.fingerprint == expected.fingerprint


def test_unchanged_parts_are_neither_hashed_nor_read(
    log: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = open_dataset(log.parent)
    open_dataset(log.parent, cache=cache)
    work = Work(monkeypatch)

    assert_same(open_dataset(log.parent, cache=cache), expected)
    assert (work.hashed, work.read) == ([], [])
    rewrite(log / "b.parquet", flipped)
    assert_same(open_dataset(log.parent, cache=cache), open_dataset(log.parent))
    work.hashed.clear()
    work.read.clear()
    rewrite(log / "b.parquet", flipped)
    open_dataset(log.parent, cache=cache)
    assert (work.hashed, set(work.read)) == (["b.parquet"], {"b"})


def add_user(folder: Path, first: bool) -> None:
    users = tables()["users"]
    new = pl.DataFrame({"user_id": ["u0"], "age": [9], "member": [True]})
    pl.concat([new, users] if first else [users, new]).write_parquet(folder / "users.parquet")


def swap(log: Path) -> None:
    (log / "a.parquet").rename(log / "x")
    (log / "c.parquet").rename(log / "a.parquet")
    (log / "x").rename(log / "c.parquet")


def drop(log: Path, *names: str) -> None:
    for part in log.iterdir():
        rewrite(part, lambda rows: rows.drop(*names))


def change_items(folder: Path) -> None:
    rewrite(folder / "items.parquet", lambda rows: rows.with_columns(pl.col("price") * 2))


CHANGES: dict[str, Callable[[Path], object]] = {
    "other-labels": lambda log: rewrite(log / "b.parquet", flipped),
    "fewer-rows": lambda log: rewrite(log / "b.parquet", lambda rows: rows.head(1)),
    "more-rows": lambda log: rewrite(log / "b.parquet", lambda rows: pl.concat([rows, rows])),
    "last-part-longer": lambda log: rewrite(log / "c.parquet", lambda r: pl.concat([r, r, r])),
    "no-rows": lambda log: rewrite(log / "b.parquet", lambda rows: rows.head(0)),
    "appended": lambda log: tables()["impressions"].write_parquet(log / "d.parquet"),
    "inserted": lambda log: tables()["impressions"].write_parquet(log / "Z.parquet"),
    "copied": lambda log: (log / "d.parquet").write_bytes((log / "a.parquet").read_bytes()),
    "removed": lambda log: (log / "a.parquet").unlink(),
    "renamed": lambda log: (log / "a.parquet").rename(log / "z.parquet"),
    "swapped": swap,
    "columns-dropped": lambda log: drop(log, "propensity", "position"),
    "proxy-without-column": lambda log: drop(log, "clicks"),
    "user-appended": lambda log: add_user(log.parent, first=False),
    "user-inserted": lambda log: add_user(log.parent, first=True),
    "other-times": lambda log: describe(log.parent, timestamp="position"),
    "other-items": lambda log: change_items(log.parent),
}


IN_USE = ("other-labels", "fewer-rows", "appended", "removed", "user-inserted")


@pytest.mark.parametrize(
    ("name", "held"), [*((name, False) for name in CHANGES), *((name, True) for name in IN_USE)]
)
def test_a_log_that_changed_is_read_as_without_a_cache(
    log: Path, cache: Path, name: str, held: bool
) -> None:
    before = open_dataset(log.parent, cache=cache)
    expected = arrays(before)
    if not held:
        del before

    CHANGES[name](log)
    after = open_dataset(log.parent, cache=cache)

    assert_same(after, open_dataset(log.parent))
    assert_same(open_dataset(log.parent, cache=cache), after)
    if held:
        np.testing.assert_equal(arrays(before), expected)


def test_arrays_belong_to_one_opening(log: Path, cache: Path) -> None:
    dataset = open_dataset(log.parent, cache=cache)
    dataset.impressions.label[:] = 7

    assert_same(open_dataset(log.parent, cache=cache), open_dataset(log.parent))


def test_a_part_rewritten_with_its_size_and_time_is_read_again(log: Path, cache: Path) -> None:
    part = log / "b.parquet"
    before = open_dataset(log.parent, cache=cache)
    stat, content = part.stat(), part.read_bytes()
    rewrite(part, flipped)
    os.utime(part, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (part.stat().st_size, part.stat().st_mtime_ns) == (len(content), stat.st_mtime_ns)

    after = open_dataset(log.parent, cache=cache)

    assert after.fingerprint != before.fingerprint
    assert_same(after, open_dataset(log.parent))


def test_a_file_that_may_change_within_the_tick_of_a_clock_is_hashed_again(
    log: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_facts, "_TICK_NS", 3600 * 10**9)
    open_dataset(log.parent, cache=cache)
    work = Work(monkeypatch)
    open_dataset(log.parent, cache=cache)

    assert {"a.parquet", "b.parquet", "c.parquet"} <= set(work.hashed)


def test_a_bad_part_leaves_the_others_kept(
    log: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_dataset(log.parent, cache=cache)
    part = log / "b.parquet"
    rewrite(part, lambda rows: rows.with_columns(label=pl.lit(2, pl.Int64)))
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"b\.parquet, column 'label', row 0: 2 is not 0"):
            open_dataset(log.parent, cache=cache)
    rewrite(part, lambda rows: rows.with_columns(label=pl.lit(1, pl.Int64)))
    work = Work(monkeypatch)
    dataset = open_dataset(log.parent, cache=cache)
    read = set(work.read)

    assert_same(dataset, open_dataset(log.parent))
    assert read == {"b"}


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"key": 3}'])
def test_damaged_files_of_the_cache_are_made_anew(log: Path, cache: Path, content: bytes) -> None:
    expected = arrays(open_dataset(log.parent, cache=cache))
    (folder,) = cache.iterdir()
    for name in ("files.json", "rows.json", "label.rows"):
        (folder / name).write_bytes(content)
        np.testing.assert_equal(arrays(open_dataset(log.parent, cache=cache)), expected)
    (folder / "item.rows").unlink()
    np.testing.assert_equal(arrays(open_dataset(log.parent, cache=cache)), expected)


def test_parts_added_while_a_log_is_read_do_not_take_part(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = open_dataset(log.parent)
    read = Part.read

    def read_and_add(part: Part, query: pl.LazyFrame) -> pl.DataFrame:
        if log in part.path.parents:
            tables()["impressions"].write_parquet(log / "aa.parquet")
        return read(part, query)

    monkeypatch.setattr(Part, "read", read_and_add)
    assert_same(open_dataset(log.parent), expected)


def test_a_part_that_changes_while_it_is_read_is_refused(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Part.read

    def read_and_change(part: Part, query: pl.LazyFrame) -> pl.DataFrame:
        rows = read(part, query)
        if "impressions" in str(part.path):
            rewrite(part.path, flipped)
        return rows

    monkeypatch.setattr(Part, "read", read_and_change)
    place = "impressions.parquet/a.parquet"
    assert_refused(
        log.parent, place, None, None, "changed while it was read; run the command again"
    )


def test_a_moving_period_reads_the_new_parts_alone(
    log: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_dataset(log.parent, cache=cache, period=Period("5", "8"))  # the times of a and b
    work = Work(monkeypatch)
    dataset = open_dataset(log.parent, cache=cache, period=Period("6", "9"))  # of b and c
    read = set(work.read)

    assert_same(dataset, open_dataset(log.parent, period=Period("6", "9")))
    assert read == {"c"}


def test_a_log_in_one_file_keeps_nothing(tmp_path: Path, cache: Path) -> None:
    write(tmp_path / "d")
    open_dataset(tmp_path / "d", cache=cache)

    assert not cache.exists()
