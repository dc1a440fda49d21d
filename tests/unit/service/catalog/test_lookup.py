"""The compiled lookup and the one in NumPy do the same."""

from __future__ import annotations

import numpy as np
import pytest

from service.catalog import lookup
from service.catalog.lookup import MISSING

pytestmark = pytest.mark.usefixtures("implementation")

TABLE = np.arange(40, dtype=np.float32).reshape(10, 4)


class _HashOf(str):
    """An id with a hash of its own."""

    __slots__ = ("hash",)
    hash: int

    def __hash__(self) -> int:
        return self.hash

    __eq__ = str.__eq__


def _id(hash_: int) -> _HashOf:
    item_id = _HashOf(f"id-{hash_}")
    item_id.hash = hash_
    return item_id


def _find(hashes: list[int], slot_hashes: list[int], slot_rows: list[int]) -> list[int]:
    rows = np.full(len(hashes), 99)
    slots = np.array(slot_hashes, np.int64), np.array(slot_rows, np.int32)
    lookup.find([_id(number) for number in hashes], *slots, rows)
    return rows.tolist()


def test_a_search_goes_on_past_other_hashes_and_around_the_end() -> None:
    slots = [11, 0, 0, 3], [5, MISSING, MISSING, 4]  # 11 has been displaced by 3
    assert _find([11, 3, 7, -1], *slots) == [5, 4, MISSING, MISSING]
    assert _find([], *slots) == []


def test_a_search_goes_on_past_a_removed_id() -> None:
    removed = -2
    slots = [7, 0, 0, 0], [5, MISSING, MISSING, removed]
    assert _find([7, 11], *slots) == [5, MISSING]


def test_rows_are_copied_in_order_and_followed_by_zeros() -> None:
    out = np.full((4, 4), np.nan, np.float32)
    assert lookup.copy_rows(TABLE, np.array([7, 2, 9]), out)
    np.testing.assert_array_equal(out, [*TABLE[[7, 2, 9]], np.zeros(4)])
    assert lookup.copy_rows(TABLE, np.zeros(0, np.int64), out)
    assert not out.any()


def test_many_rows_are_copied() -> None:
    rng = np.random.default_rng(1)
    table = rng.random((9_000, 3), np.float32)
    for count in (1, 8, 9, 511, 5_000):
        rows, out = rng.permutation(len(table))[:count], np.ones((count + 1, 3), np.float32)
        assert lookup.copy_rows(table, rows, out)
        np.testing.assert_array_equal(out[:-1], table[rows])


@pytest.mark.parametrize("rows", [[3, 4, 3], [3, MISSING], [MISSING], [0, *range(1, 10), 0]])
def test_rows_that_repeat_or_are_missing_are_not_copied(rows: list[int]) -> None:
    out = np.ones((16, 4), np.float32)
    assert not lookup.copy_rows(TABLE, np.array(rows), out)
    assert (out == 1).all()


def test_compiled_functions_refuse_arrays_that_do_not_fit(implementation: str) -> None:
    if implementation == "numpy":
        pytest.skip("NumPy raises its own errors")
    hashes, slots, rows = np.zeros(4, np.int64), np.full(4, MISSING, np.int32), np.zeros(1, int)
    for arrays in (
        (hashes[:3], slots, rows),
        (hashes[:3], slots[:3], rows),
        (hashes[:0], slots[:0], rows),
        (hashes, slots, rows[:0]),
    ):
        with pytest.raises(ValueError, match="do not fit together"):
            lookup.find(["a"], *arrays)
    with pytest.raises(ValueError, match="do not fit together"):
        lookup.copy_rows(TABLE, np.arange(3), np.zeros((2, 4), np.float32))
    assert not lookup.copy_rows(TABLE, np.array([len(TABLE)]), np.zeros((2, 4), np.float32))
    with pytest.raises(TypeError, match="unhashable"):
        lookup.find([[]], hashes, slots, rows)  # type: ignore[list-item]  # on purpose
    for function in (lookup.find, lookup.copy_rows):
        with pytest.raises(TypeError, match="arguments"):
            function()  # type: ignore[call-arg]  # on purpose
    with pytest.raises(ValueError, match="contiguous"):
        lookup.copy_rows(TABLE[:, :2], np.arange(1), np.zeros((2, 2), np.float32))
    constant = np.zeros((2, 4), np.float32)
    constant.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        lookup.copy_rows(TABLE, np.arange(1), constant)
