"""``ItemTable``: scans read constant rows, and items that do not fit are evicted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.catalog.item_table import OVERHEAD_BYTES, ItemTable
from service.catalog.lookup import MISSING

pytestmark = pytest.mark.usefixtures("implementation")

DIM = 8
ITEM_BYTES = 4 * DIM + OVERHEAD_BYTES


def _put(table: ItemTable, ids: list[str], value: float) -> None:
    table.put(ids, np.full((len(ids), DIM), value, np.float32), np.zeros(len(ids), np.bool_))


def _values(table: ItemTable, ids: list[str]) -> list[float]:
    pool = table.gather(ids, table.rows(ids))
    return [float(value) for value in pool.states[: pool.size, 0]]


def _distinct_rows(table: ItemTable, ids: list[str]) -> set[int]:
    return set(table.rows(ids).tolist())


def test_states_are_gathered_by_id_in_whole_tiles() -> None:
    table = ItemTable(DIM, 1 << 30)
    _put(table, ["a", "b"], 1.0)
    _put(table, ["c"], 2.0)
    _put(table, ["b"], 3.0)
    pool = table.gather(["c", "zz", "b", "a"], table.rows(["c", "zz", "b", "a"]))
    assert (list(pool.item_ids), pool.missing) == (["c", "b", "a"], ["zz"])
    assert pool.states[:3, 0].tolist() == [2.0, 3.0, 1.0]
    assert (len(pool.states) % 64, pool.size, pool.count) == (0, 3, 3)
    assert table.gather(["zz"], table.rows(["zz"])).size == 0


def test_an_item_that_repeats_is_gathered_once() -> None:
    table = ItemTable(DIM, 1 << 30)
    _put(table, ["a", "b", "c"], 1.0)
    ids = ["b", "a", "b", "zz", "zz"]
    pool = table.gather(ids, table.rows(ids))
    assert (list(pool.item_ids), pool.missing, pool.size) == (["b", "a"], ["zz"], 2)


def test_a_scan_reads_constant_rows_until_its_end() -> None:
    table = ItemTable(DIM, 1 << 30)
    _put(table, ["a", "b", "c", "d"], 1.0)
    pool = table.begin_scan(["d", "never-heard-of"])
    _put(table, ["a", "new"], 2.0)
    table.drop(["b"])
    _put(table, ["newer"], 4.0)
    assert pool.held is not None
    scanned = {
        pool.item_ids[row]: pool.states[row, 0] for row in np.flatnonzero(pool.held).tolist()
    }
    assert scanned == {"a": 1.0, "b": 1.0, "c": 1.0}
    assert pool.count == 3
    assert _values(table, ["a", "c", "new", "newer"]) == [2.0, 1.0, 2.0, 4.0]
    table.end_scan()
    _put(table, ["e", "f"], 5.0)  # into rows that the scan had read
    assert len(table.held_ids()) == len(table) == 7
    after = table.begin_scan([])
    assert after.count == 7
    assert after.size == 7
    table.end_scan()
    assert len(_distinct_rows(table, table.held_ids())) == 7
    _put(table, [f"more-{number}" for number in range(20)], 6.0)
    assert len(_distinct_rows(table, table.held_ids())) == 27


def test_the_least_recently_used_items_are_evicted() -> None:
    table = ItemTable(DIM, 100 * ITEM_BYTES)
    ids = [f"i{number}" for number in range(100)]
    table.reserve(500)
    assert table.evicts
    _put(table, ids, 1.0)
    table.rows(ids[:50])
    _put(table, ["new-1", "new-2"], 2.0)
    assert len(table) <= 100
    assert (table.rows(ids[:50]) != MISSING).all()
    assert (table.rows(["new-1", "new-2"]) != MISSING).all()
    assert (table.rows(ids[50:]) == MISSING).sum() >= 2


def test_a_table_that_outgrows_its_bytes_starts_to_evict() -> None:
    table = ItemTable(DIM, 200 * ITEM_BYTES)
    table.reserve(150)
    assert not table.evicts
    for number in range(250):
        _put(table, [f"i{number}"], float(number))
    assert table.evicts
    assert len(table) <= 200
    assert _values(table, ["i249"]) == [249.0]


def _memory(table: ItemTable) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the states of all items without a copy."""
    states = table.begin_scan([]).states
    table.end_scan()
    return states


def test_room_is_made_once_and_unwritten_rows_are_not_counted() -> None:
    table = ItemTable(DIM, 1 << 30)
    table.reserve(10_000)
    _put(table, ["i0"], 1.0)
    before = _memory(table)
    for start in range(1, 10_000, 500):
        _put(table, [f"i{number}" for number in range(start, start + 500)], 1.0)
    assert np.shares_memory(_memory(table), before)
    assert table.nbytes < 10_000 * (4 * DIM + 80 + 12 * 8)


def test_stale_items_are_those_not_put_since_the_reading_began() -> None:
    table = ItemTable(DIM, 1 << 30)
    _put(table, ["a", "b", "c"], 1.0)
    table.begin_reading()
    _put(table, ["b", "d"], 2.0)
    assert table.stale(["a", "b", "d", "e"]) == ["a", "e"]
    assert table.stale_ids() == ["a", "c"]
