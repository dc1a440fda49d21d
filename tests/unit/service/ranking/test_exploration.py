"""Draws are replayable and as often as they should be; propensities are the shares of draws."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from service.ranking.exploration import Exploration, draws_of, propensities, seed_of
from service.ranking.top_k import row_at
from tests.unit.service.ranking.drawn import GRID, show


def test_propensities_in_a_large_pool_are_the_shares_of_draws() -> None:
    pool, places, share, count = 3000, 8, 0.6, 200_000
    rng = np.random.default_rng(5)
    slots = rng.random(count) < share
    ranks, chosen = rng.integers(0, pool, count), rng.integers(0, places, count)
    for place, wanted in ((3, 3), (3, 2), (3, 4)):
        kept = np.where(ranks < wanted, wanted - 1, wanted)
        moved = np.where(ranks == wanted, chosen, kept + (chosen <= kept))
        share_there = np.where(slots, moved == place, wanted == place).mean()
        (*_, exact) = propensities([-9] * place + [wanted], pool, places, share)
        assert share_there == pytest.approx(exact, abs=4 * np.sqrt(0.25 / count))


def test_each_place_holds_an_item_and_each_item_a_place() -> None:
    pool, places, share = 7, 4, 0.35
    table = np.array(
        [
            [propensities([-9] * j + [a], pool, places, share)[j] for j in range(pool)]
            for a in range(pool)
        ]
    )
    assert table.sum(axis=0) == pytest.approx(np.ones(pool))
    assert table.sum(axis=1) == pytest.approx(np.ones(pool))


def test_a_uniform_slot_shows_each_item_equally_often() -> None:
    logits = np.random.default_rng(1).normal(size=40).astype(np.float32)
    exploration = Exploration(1.0, 5, 0.0, GRID, logged=10)
    counts = Counter[int]()
    slots = Counter[int | None]()
    for number in range(4000):
        draw = exploration.draw(f"request-{number}", 0.5, moves=False)
        rows = show(draw, lambda _: logits, 10)
        assert draw.slot is not None
        counts[rows[draw.slot]] += 1
        slots[draw.slot] += 1
    assert len(counts) == 40
    assert all(abs(count - 100) < 5 * np.sqrt(100) for count in counts.values())
    assert all(abs(count - 800) < 5 * np.sqrt(800) for count in slots.values())


def test_draws_are_the_same_in_every_release() -> None:
    seed = seed_of("f75c363a63ce4f2db53d2c1edfdf4d1a")
    assert seed == 8108302068557142
    assert draws_of(seed) == (
        0.9571828433840636,
        0.07639408890206523,
        0.7012404996569988,
        0.36121151401755347,
        0.004198335073409942,
    )


def test_a_request_that_names_its_tradeoff_keeps_it() -> None:
    exploration = Exploration(0.0, 5, 1.0, GRID, logged=10)
    named = exploration.draw("r", 0.7, moves=False)
    assert (named.tradeoff, named.policy, named.seed) == (0.7, "fixed", None)
    drawn = Counter(exploration.draw(f"r{n}", 0.5, moves=True).tradeoff for n in range(2000))
    assert {w: round(count / 2000, 1) for w, count in drawn.items()} == dict(GRID)


def test_the_grid_of_an_arm_randomises_each_ranking() -> None:
    exploration = Exploration(0.0, 5, 0.0, GRID, logged=10)
    arm = ((0.25, 0.5), (0.75, 0.5))
    draws = [exploration.draw(f"r{n}", 0.5, moves=True, grid=arm) for n in range(2000)]
    assert {draw.mixture for draw in draws} == {arm}
    assert {draw.policy for draw in draws} == {"randomised_tradeoff"}
    drawn = Counter(draw.tradeoff for draw in draws)
    assert {w: round(count / 2000, 1) for w, count in drawn.items()} == dict(arm)
    assert exploration.draw("r", 0.7, moves=False, grid=arm).tradeoff == 0.7


def test_a_share_of_the_requests_is_explored() -> None:
    exploration = Exploration(0.25, 5, 0.4, GRID, logged=10)
    policies = Counter[str]()
    for number in range(2000):
        draw = exploration.draw(f"r{number}", 0.5, moves=True)
        show(draw, lambda _: np.arange(9, dtype=np.float32), 9)
        policies[draw.policy] += 1
    expected = {"both": 0.1, "uniform_slot": 0.15, "randomised_tradeoff": 0.3, "fixed": 0.45}
    assert {p: n / 2000 for p, n in policies.items()} == pytest.approx(expected, abs=0.03)


def test_the_item_of_a_rank_is_found_among_ties() -> None:
    logits = np.array([2, 1, 2, -np.inf, 2, 0], np.float32)
    ids = ["c", "x", "a", "", "b", "y"]
    assert [row_at(logits, ids, rank) for rank in range(5)] == [2, 4, 0, 1, 5]
