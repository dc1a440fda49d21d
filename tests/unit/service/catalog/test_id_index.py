"""``IdIndex`` against a plain dict."""

from __future__ import annotations

import random

import numpy as np
import pytest

from service.catalog.id_index import IdIndex
from service.catalog.lookup import MISSING

pytestmark = pytest.mark.usefixtures("implementation")


class _SameHash(str):
    """An id with the hash of ``first``."""

    __slots__ = ()

    def __hash__(self) -> int:
        return hash("first")

    __eq__ = str.__eq__


def test_it_behaves_like_a_dict_through_growth_removal_and_reuse() -> None:
    rng, index, expected = random.Random(3), IdIndex(), dict[str, int]()
    names = [f"item-{number}" for number in range(5000)]
    for _ in range(60):
        added = rng.sample(names, rng.randrange(1, 400))
        rows = index.add(added)
        for item_id, row in zip(added, rows.tolist(), strict=True):
            assert expected.setdefault(item_id, row) == row
        removed = rng.sample(names, rng.randrange(1, 300))
        freed = index.remove([*removed, *removed[:3]])
        assert sorted(freed.tolist()) == sorted(expected.pop(i) for i in removed if i in expected)
        index.release(freed.tolist())
        assert len(index) == len(expected)
        assert index.rows(names).tolist() == [expected.get(i, MISSING) for i in names]
        assert len(set(expected.values())) == len(expected)
        assert all(index.ids[row] == item_id for item_id, row in expected.items())
    assert len(index.ids) <= len(names)


def test_the_row_of_a_removed_id_is_not_reused_before_it_is_released() -> None:
    index = IdIndex()
    (row,) = index.add(["a"]).tolist()
    index.remove(["a"])
    assert index.add(["b"]).tolist() != [row]
    index.release([row])
    assert index.add(["c"]).tolist() == [row]


def test_an_empty_index_has_no_rows() -> None:
    assert IdIndex().rows(["a", "b"]).tolist() == [MISSING, MISSING]
    assert IdIndex().rows([]).shape == (0,)
    assert IdIndex().remove(["a"]).shape == (0,)


def test_of_two_ids_with_one_hash_the_second_is_refused() -> None:
    index = IdIndex()
    held = index.add(["first"])
    assert index.add([_SameHash("second")]).tolist() == [MISSING]
    assert index.rows(["first"]).tolist() == held.tolist()
    together = IdIndex().add(["first", _SameHash("second"), "third"])
    assert np.flatnonzero(together == MISSING).tolist() == [1]


def test_room_for_many_ids_is_made_once() -> None:
    index = IdIndex()
    index.reserve(20_000)
    before = index.nbytes
    index.add([f"i{number}" for number in range(20_000)])
    assert index.nbytes == before
    assert index.rows(["i19999", "i20000"]).tolist() == [19_999, MISSING]
