"""Simulating a log: the memory that it takes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from training.data.simulate import log
from training.data.simulate.log import DAYS, SLATE, Columns, simulate_log
from training.data.simulate.worlds import toy_world


def test_a_user_costs_memory_but_the_rows_of_a_user_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log, "USER_BLOCK", 64)
    monkeypatch.setattr(log, "BLOCK_ROWS", 20 * SLATE)

    def peak_bytes(users: int) -> int:
        rng = np.random.default_rng(0)
        world = toy_world(rng, users)
        sizes = []

        def emit(_: str, rows: Columns) -> None:
            sizes.append(len(rows.user))

        tracemalloc.start()
        simulate_log(world, rng, emit, policy_weight=0.8, slate=SLATE, uniform_rows=50 * users)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert max(sizes) == 20 * SLATE
        assert sum(sizes) == (DAYS * SLATE + 50) * users
        return peak

    # Both are at least one block of users, whose scores of all items weigh most. The items that a
    # user has seen are 640 bytes.
    assert (peak_bytes(256) - peak_bytes(64)) / 192 < 1_500  # bytes; as rows, 18,000
