"""Propensities of any small pool are those of all outcomes, counted one by one."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from service.ranking.exploration import Draw, Exploration
from tests.unit.service.ranking.drawn import GRID, show


def outcomes(
    slot_share: float, tradeoff_share: float, pool: int, places: int, draw: Draw
) -> Iterator[tuple[float, Draw]]:
    """Yield every draw that the policy of ``draw`` can make, with its probability."""
    for tradeoff, probability in GRID:
        chance = tradeoff_share * probability + (1 - tradeoff_share) * (tradeoff == 0.5)
        if slot_share < 1 and chance:
            yield chance * (1 - slot_share), replace(draw, tradeoff=tradeoff, item=None)
        for item, place in itertools.product(range(pool), range(places)):
            if slot_share and chance:
                drawn = {"item": (item + 0.5) / pool, "place": (place + 0.5) / places}
                both = replace(draw, tradeoff=tradeoff, **drawn)
                yield chance * slot_share / (pool * places), both


@given(
    seed=st.integers(0, 1000),
    held=st.integers(1, 6),
    holes=st.integers(0, 2),
    top=st.integers(1, 8),
    places=st.integers(1, 5),
    slot_share=st.sampled_from([0.0, 0.3, 1.0]),
    tradeoff_share=st.sampled_from([0.0, 0.4, 1.0]),
    ties=st.booleans(),
)
def test_propensities_are_those_of_all_outcomes(
    seed: int,
    held: int,
    holes: int,
    top: int,
    places: int,
    slot_share: float,
    tradeoff_share: float,
    ties: bool,
) -> None:
    rng = np.random.default_rng(seed)
    tables = {
        w: (rng.integers(0, 3, held + holes) if ties else rng.normal(size=held + holes)).astype(
            np.float32
        )
        for w in (0.0, 0.5, 1.0)
    }
    gaps = rng.choice(held + holes, holes, replace=False)
    for table in tables.values():
        table[gaps] = -np.inf
    exploration = Exploration(slot_share, places, tradeoff_share, GRID, logged=max(places, 3))
    k = min(places, top, held)
    expected = Counter[tuple[int, int]]()
    shown = []
    some = exploration.draw("r", 0.5, moves=True)
    for chance, draw in outcomes(slot_share, tradeoff_share, held, k, some):
        rows = show(draw, tables.__getitem__, top)
        assert len(set(rows)) == len(rows) == min(top, held)
        for place, row in enumerate(rows):
            expected[row, place] += chance  # type: ignore[assignment]  # of floats
        shown.append((rows, draw))
    for rows, draw in shown:
        logged = rows[: max(places, 3)]
        certain = draw.propensities or [1.0] * len(logged)
        assert certain == pytest.approx([expected[row, place] for place, row in enumerate(logged)])
        for bit, (tradeoff, _) in enumerate(draw.mixture if draw.stands else ()):
            table = tables[tradeoff]
            order = sorted(range(len(table)), key=lambda row: (-table[row], f"i{row:03}"))
            assert [mask >> bit & 1 == 1 for mask in draw.stands] == [
                row == order[place] for place, row in enumerate(logged)
            ]
