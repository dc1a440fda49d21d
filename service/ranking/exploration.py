"""What the service draws at random for a ranking, and the exact probabilities of what it shows.

All draws are a function of the request id, equal on every platform and in every release:
``seed`` is the first 53 bits of BLAKE2b-64 over "exploration", a zero byte and the request id;
the five draws in [0, 1) are the first 53 bits of each of the five big-endian 64-bit words of
BLAKE2b-320 over the seed as 8 big-endian bytes, divided by 2^53. In order they decide: whether the
tradeoff is randomised, which one, whether there is a uniform slot, the rank of its item, its place.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from service.contract.feedback import Policy
from service.ranking.top_k import row_at, top_k

Array = NDArray[np.float32]
Rows = NDArray[np.int64]
Mixture = tuple[tuple[float, float], ...]  # (tradeoff, probability), the probabilities sum to 1

_BITS = 53  # of a float's mantissa
_WORDS = struct.Struct(">5Q")
_ELSEWHERE = -9  # in place of a rank that is not next to any place at hand


class Draw(Struct):
    """What was drawn for one ranking and, once it is made, what that came to.

    The ranking is made at ``tradeoff``, which was drawn from ``mixture``. With probability
    ``slot_share`` it has a uniform slot among its first ``places``; if so, ``item`` and ``place``
    in [0, 1) say which. The first ``logged`` places have propensities.
    """

    tradeoff: float
    mixture: Mixture
    seed: int | None = None
    randomised: bool = False
    slot_share: float = 0.0
    places: int = 0
    logged: int = 0
    item: float | None = None
    place: float = 0.0
    # Of the ranking that was made:
    pool_size: int = 0
    slot: int | None = None  # the place, from 0, of the item of the uniform slot
    rank: int = 0  # from 0, of that item before it was moved
    displaced: int = 0  # the row of the item that stood at the slot before
    slot_scores: tuple[float, float] = (0.0, 0.0)  # of the item of the slot, and the one before
    propensities: list[float] | None = None  # of the logged places; None: all are 1

    @property
    def policy(self) -> Policy:
        """How the ranking was drawn."""
        if self.slot is None:
            return "randomised_tradeoff" if self.randomised else "fixed"
        return "both" if self.randomised else "uniform_slot"

    def show(
        self,
        best: Rows,
        logits: Array,
        item_ids: Sequence[str],
        logits_at: Callable[[float], Array],
    ) -> Rows:
        """Return the rows (K,) that the ranking shows instead of its ``best`` (K,).

        ``logits`` (N,) are those at the tradeoff, -inf where the pool holds no item; ``logits_at``
        returns them at another. ``pool_size`` has to be set.
        """
        if self.seed is None or not len(best):
            return best
        count = min(self.logged, len(best))
        places = min(self.places, len(best))
        rows, ranks = best, list(range(count))
        if self.item is not None:
            self.slot = slot = int(self.place * places)
            self.rank = rank = int(self.item * self.pool_size)
            self.displaced = int(best[slot])
            row = int(best[rank]) if rank < len(best) else row_at(logits, item_ids, rank)
            rows = np.array(_moved(best.tolist(), rank, slot, row), np.int64)
            ranks = _moved(list(range(len(best))), rank, slot, rank)[:count]
        slots = (self.pool_size, places, self.slot_share)
        if self.slot is None and len(self.mixture) == 1:
            self.propensities = _unmoved(count, *slots)
            return rows
        shown = rows[:count].tolist()
        orders = [
            (chance, ranks if w == self.tradeoff else _ranks(logits_at(w), item_ids, shown))
            for w, chance in self.mixture
        ]
        self.propensities = propensities(orders, *slots)
        return rows


class Exploration:
    """Draws uniform slots and randomised tradeoffs.

    ``slot_share`` of the rankings get a uniform slot among their first ``places``.
    ``tradeoff_share`` of those whose request names no tradeoff are made at one of ``grid``. A
    decision holds the first ``logged`` places, not fewer than ``places``.
    """

    def __init__(
        self, slot_share: float, places: int, tradeoff_share: float, grid: Mixture, logged: int
    ) -> None:
        self._slot_share = slot_share
        self._places = places
        self._tradeoff_share = tradeoff_share
        self._grid = grid
        self._below = list(accumulate(probability for _, probability in grid))[:-1]
        self._logged = logged

    def draw(self, request_id: str, tradeoff: float | None, default: float) -> Draw:
        """Return the draw for a request; a request that names its ``tradeoff`` keeps it."""
        moves = tradeoff is None and self._tradeoff_share > 0
        applied = default if tradeoff is None else tradeoff
        if not moves and not self._slot_share:
            return unexplored(applied)
        seed = seed_of(request_id)
        moved, which, slotted, item, place = draws_of(seed)
        draw = Draw(
            tradeoff=applied,
            mixture=((applied, 1.0),),
            seed=seed,
            slot_share=self._slot_share,
            places=self._places,
            logged=self._logged,
        )
        if moves:
            draw.mixture = _mixture(self._grid, self._tradeoff_share, default)
            if moved < self._tradeoff_share:
                draw.randomised = True
                draw.tradeoff = self._grid[bisect_right(self._below, which)][0]
        if slotted < self._slot_share:
            draw.item, draw.place = item, place
        return draw


def unexplored(tradeoff: float) -> Draw:
    """Return the draw of a ranking that is not explored: the policy is fixed."""
    return Draw(tradeoff, ((tradeoff, 1.0),))


def seed_of(request_id: str) -> int:
    """Return the seed of a request, below 2^53."""
    text = f"exploration\0{request_id}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 64 - _BITS


def draws_of(seed: int) -> tuple[float, float, float, float, float]:
    """Return the five draws of a seed, each in [0, 1)."""
    words = _WORDS.unpack(hashlib.blake2b(seed.to_bytes(8), digest_size=_WORDS.size).digest())
    a, b, c, d, e = ((word >> 64 - _BITS) / (1 << _BITS) for word in words)
    return a, b, c, d, e


def propensities(
    orders: Sequence[tuple[float, Sequence[int]]], pool_size: int, places: int, slot_share: float
) -> list[float]:
    """Return P(the item stands at its place) for the items at the places 0, 1, ... (L,).

    ``orders`` are the rankings that may be drawn, before a uniform slot: the probability of each,
    and the items' ranks (L,) in it, from 0. With probability ``slot_share`` = s, one of the N items
    and one of the first k places are drawn uniformly, and the item is moved there; k = ``places``,
    which is at most the places shown. The drawn item stands at its place; an item of rank a goes
    one place down if a lower item is moved to its place or above, one place up if a higher item is
    moved to its place or below, and else stays. So of the N k outcomes, it stands at place j in

        [j < k] + [j = a + 1] (N - 1 - a) min(a + 1, k) + [j = a - 1] a (k - min(a, k))
        + [j = a] ((N - 1 - a) (k - min(a + 1, k)) + a min(a, k))

    and the propensity is s times that share, plus (1 - s) [j = a], in the mean of ``orders``.
    """
    unit = slot_share / (pool_size * places)
    count = len(orders[0][1])
    chances = [unit] * min(places, count) + [0.0] * (count - places)
    for probability, ranks in orders:
        for place, rank in enumerate(ranks):
            step = place - rank
            if not step:
                lower, higher = pool_size - 1 - rank, rank  # how many items
                ways = lower * (places - min(rank + 1, places)) + higher * min(rank, places)
                chances[place] += probability * (unit * ways + 1 - slot_share)
            elif step == 1:
                ways = (pool_size - 1 - rank) * min(rank + 1, places)
                chances[place] += probability * unit * ways
            elif step == -1:
                chances[place] += probability * unit * rank * (places - min(rank, places))
    return chances


@functools.lru_cache(1024)
def _unmoved(count: int, pool_size: int, places: int, slot_share: float) -> list[float]:
    """Return the propensities (L,) of a ranking whose slot was not drawn: its places are ranks."""
    return propensities([(1.0, range(count))], pool_size, places, slot_share)


@functools.lru_cache(64)
def _mixture(grid: Mixture, share: float, default: float) -> Mixture:
    """Return ``grid`` with probability ``share``, else ``default``: each tradeoff once."""
    weights = {default: 1 - share} if share < 1 else {}
    for tradeoff, probability in grid:
        weights[tradeoff] = weights.get(tradeoff, 0.0) + share * probability
    return tuple(weights.items())


def _ranks(logits: Array, item_ids: Sequence[str], rows: list[int]) -> list[int]:
    """Return the ranks (L,), from 0, of ``rows`` (L,) by ``logits`` (N,), as far as they matter.

    An item from below comes to the first L places in one way: as the item of the uniform slot.
    """
    first = top_k(logits, item_ids, len(rows)).tolist()
    ranks = dict(zip(first, range(len(first)), strict=True))
    return [ranks.get(row, _ELSEWHERE) for row in rows]


def _moved(values: list[int], rank: int, slot: int, value: int) -> list[int]:
    """Return ``values`` with that of ``rank`` at ``slot``; from below all, the last one goes."""
    del values[min(rank, len(values) - 1)]
    values.insert(slot, value)
    return values
