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
from collections.abc import Sequence
from itertools import accumulate, compress
from operator import eq

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
    slot_scores: tuple[float, float] = (0.0, 0.0)  # of the drawn and the displaced item
    propensities: list[float] | None = None  # of the logged places; None: all are 1
    slot_places: int = 0  # first places of which one is the slot
    # Of the logged places: bit t is set if the item has that rank at tradeoff t of the mixture.
    stands: tuple[int, ...] = ()

    @property
    def policy(self) -> Policy:
        """How the ranking was drawn."""
        if self.slot is None:
            return "randomised_tradeoff" if self.randomised else "fixed"
        return "both" if self.randomised else "uniform_slot"

    @property
    def others(self) -> tuple[float, ...]:
        """The tradeoffs that were not drawn: propensities need the logits at these, too."""
        if len(self.mixture) == 1:
            return ()
        return tuple(tradeoff for tradeoff, _ in self.mixture if tradeoff != self.tradeoff)

    def show(self, best: Rows, logits: Array, item_ids: Sequence[str]) -> Rows:
        """Return the rows (K,) that the ranking shows instead of its ``best`` (K,).

        ``logits`` (T, N) are those at the tradeoff, then at the ``others``; -inf where the pool
        holds no item. ``pool_size`` has to be set.
        """
        if self.seed is None or not len(best):
            return best
        count = min(self.logged, len(best))
        slots = (self.pool_size, min(self.places, len(best)), self.slot_share)
        rows = best
        ranks: Sequence[int] = range(count)  # of the logged places, before a slot
        if self.item is None:
            self.propensities = _unmoved(count, *slots)
        else:
            self.slot_places = slots[1]
            self.slot = slot = int(self.place * slots[1])
            self.rank = rank = int(self.item * self.pool_size)
            row = int(best[rank]) if rank < len(best) else row_at(logits[0], item_ids, rank)
            rows = np.array(_moved(best.tolist(), rank, slot, row), np.int64)
            ranks = _moved(list(range(len(best))), rank, slot, rank)[:count]
            self.propensities = propensities(ranks, *slots)
        if len(self.mixture) > 1:
            shown, orders = rows[:count].tolist(), iter(logits[1:])
            served, mean, stands = self.propensities, [0.0] * count, [0] * count
            for bit, (tradeoff, weight) in enumerate(self.mixture):
                chances, at = served, ranks
                if tradeoff != self.tradeoff:
                    at = _ranks(next(orders), item_ids, shown)
                    chances = propensities(at, *slots)
                mean = [so_far + weight * p for so_far, p in zip(mean, chances, strict=True)]
                for place in compress(range(count), map(eq, at, range(count))):
                    stands[place] |= 1 << bit
            self.propensities, self.stands = mean, tuple(stands)
        return rows


class Exploration:
    """Draws uniform slots and randomised tradeoffs.

    ``slot_share`` of the rankings get a uniform slot among their first ``places``.
    ``tradeoff_share`` of those for which nobody names a tradeoff are made at one of ``grid``. A
    decision holds the first ``logged`` places, not fewer than ``places``.
    """

    def __init__(
        self, slot_share: float, places: int, tradeoff_share: float, grid: Mixture, logged: int
    ) -> None:
        self._slot_share = slot_share
        self._places = places
        self._tradeoff_share = tradeoff_share
        self._grid = grid
        self._logged = logged

    def draw(self, request_id: str, tradeoff: float, *, moves: bool, grid: Mixture = ()) -> Draw:
        """Return the draw for a request at ``tradeoff``, which is randomised only if it ``moves``.

        The ``grid`` of an arm randomises each of its rankings.
        """
        share = 1.0 if grid else self._tradeoff_share
        moves = moves and share > 0
        if not moves and not self._slot_share:
            return unexplored(tradeoff)
        seed = seed_of(request_id)
        moved, which, slotted, item, place = draws_of(seed)
        draw = Draw(
            tradeoff=tradeoff,
            mixture=((tradeoff, 1.0),),
            seed=seed,
            slot_share=self._slot_share,
            places=self._places,
            logged=self._logged,
        )
        if moves:
            grid = grid or self._grid
            draw.mixture = _mixture(grid, share, tradeoff)
            if moved < share:
                draw.randomised = True
                draw.tradeoff = grid[bisect_right(_below(grid), which)][0]
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
    ranks: Sequence[int], pool_size: int, places: int, slot_share: float
) -> list[float]:
    """Return P(the item stands at its place) for the items at the places 0, 1, ... (L,).

    ``ranks`` (L,), from 0, are theirs in the ranking before a uniform slot. With probability
    ``slot_share`` = s, one of the N items and one of the first k places are drawn uniformly, and
    the item is moved there; k = ``places``, which is at most the places shown. The drawn item
    stands at its place; an item of rank a goes one place down if a lower item is moved to its
    place or above, one place up if a higher item is moved to its place or below, and else stays.
    So of the N k outcomes, the item stands at place j in

        [j < k] + [j = a + 1] (N - 1 - a) min(a + 1, k) + [j = a - 1] a (k - min(a, k))
        + [j = a] ((N - 1 - a) (k - min(a + 1, k)) + a min(a, k))

    and the propensity is s times that share, plus (1 - s) [j = a].
    """
    unit = slot_share / (pool_size * places)
    chances = [unit] * min(places, len(ranks)) + [0.0] * (len(ranks) - places)
    for place, rank in enumerate(ranks):  # in Python: NumPy's steps cost more than few places
        if not -2 < place - rank < 2:
            continue
        lower, higher = pool_size - 1 - rank, rank  # how many items
        from_lower, from_higher = min(rank + 1, places), min(rank, places)
        if place > rank:
            chances[place] += unit * lower * from_lower
        elif place < rank:
            chances[place] += unit * higher * (places - from_higher)
        else:
            ways = lower * (places - from_lower) + higher * from_higher
            chances[place] += unit * ways + 1 - slot_share
    return chances


@functools.lru_cache(1024)
def _unmoved(count: int, pool_size: int, places: int, slot_share: float) -> list[float]:
    """Return the propensities (L,) of a ranking whose slot was not drawn: its places are ranks."""
    return propensities(range(count), pool_size, places, slot_share)


@functools.lru_cache(64)
def _below(grid: Mixture) -> list[float]:
    """Return the upper ends in [0, 1) of all tradeoffs of ``grid`` but the last."""
    return list(accumulate(probability for _, probability in grid))[:-1]


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
