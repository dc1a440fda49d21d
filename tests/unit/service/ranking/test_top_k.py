"""``top_k`` and ``ranks_of`` compared with a full sort."""

from __future__ import annotations

import numpy as np
import pytest

from service.ranking.top_k import ranks_of, top_k


@pytest.mark.parametrize("count", [1, 7, 500, 60_000])
@pytest.mark.parametrize("k", [1, 5, 1000])
@pytest.mark.parametrize("distinct", [3, 40, 10_000_000])
def test_top_k_and_ranks_equal_a_full_sort(count: int, k: int, distinct: int) -> None:
    rng = np.random.default_rng(count + k + distinct)
    logits = rng.integers(0, distinct, count).astype(np.float32)
    ids = [f"i{number}" for number in rng.permutation(count)]
    order = sorted(range(count), key=lambda row: (-logits[row], ids[row]))
    best = top_k(logits, ids, min(k, count))
    assert best.tolist() == order[:k]
    if count < 1000:
        assert ranks_of(logits, ids, best) == list(range(1, len(best) + 1))


@pytest.mark.parametrize("k", [3, 500])
@pytest.mark.parametrize("first", [0, 1, 63, 64])
def test_all_or_none_of_the_best_may_be_in_the_sample(first: int, k: int) -> None:
    logits = np.zeros(100_000, np.float32)
    logits[first::64][:200] = 1.0
    logits[5] = 2.0
    ids = [f"{number:06}" for number in range(len(logits))]
    order = sorted(range(len(logits)), key=lambda row: (-logits[row], ids[row]))
    assert top_k(logits, ids, k).tolist() == order[:k]


def test_rows_of_minus_infinity_come_last() -> None:
    logits = np.array([-np.inf, 1.0, -np.inf, 2.0], np.float32)
    assert top_k(logits, ["a", "b", "c", "d"], 2).tolist() == [3, 1]
