"""A log's decisions as arrays: what was shown, and what each tradeoff would have shown.

Tables are those of ``training.feed.rankings``: a row a decision, a list a column of its places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.arrays import Flags, Rows
from training.evaluation.off_policy.estimators import Array, Shown


@dataclass(frozen=True)
class Randomised:
    """Decisions whose tradeoff was drawn from a grid; N of them, L places, T tradeoffs.

    match (T, N, L): whether the item shown at a place has that rank at a tradeoff. tail (N, L):
    whether it is of the long tail. whole (T, N): the weight of the whole ranking, which is whether
    it is that of a tradeoff over its propensity; NaN where a uniform slot changed it.
    """

    grid: tuple[float, ...]
    user_ids: list[str]
    shown: Shown
    match: Flags
    tail: Flags
    whole: Array


@dataclass(frozen=True)
class UniformSlots:
    """Uniform slots, N of them, each one of L places: nothing else of a ranking counts.

    here (N, L): the place of the slot; place (N,): the same from 0; item_ids (N,): its item.
    """

    shown: Shown
    here: Flags
    place: Rows
    item_ids: list[str]


def drawn_grid(rows: pl.DataFrame) -> tuple[float, ...]:
    """Return the tradeoffs that most decisions could have drawn, ascending; empty without any."""
    grids = (
        rows.filter(pl.col("tradeoffs").list.len() > 0)
        .select(pl.col("tradeoffs").list.sort())
        .group_by("tradeoffs")
        .len()
        .sort("len", "tradeoffs")
    )
    return tuple(grids["tradeoffs"][-1]) if len(grids) else ()


def covering(rows: pl.DataFrame, grid: Sequence[float]) -> pl.DataFrame:
    """Return the decisions that could have drawn every tradeoff of a grid.

    They are the same for each tradeoff, so that differences are not those of requests.
    """
    drawn = pl.col("tradeoffs").list
    return rows.filter([drawn.contains(tradeoff).fill_null(False) for tradeoff in grid])


def randomised(
    rows: pl.DataFrame, grid: Sequence[float], places: int, tail: Mapping[str, bool]
) -> Randomised:
    """Return decisions that cover a grid as arrays; ``tail`` as of ``tail_of``."""
    shown = _shown(rows, places, padded(rows["propensities"], places, 1.0))
    stands = padded(rows["stands"], places, 0).astype(np.int64)
    most = int(rows["chances"].list.len().to_numpy().max())
    chances = padded(rows["chances"], most, 0.0)
    common = np.bitwise_and.reduce(np.where(shown.present, stands, -1), axis=1)  # (N,)
    bits = np.arange(chances.shape[1])
    together = (chances * (common[:, None] >> bits & 1)).sum(axis=1)  # (N,)
    unmoved = rows["slot"].is_null().to_numpy()
    match, whole = [], []
    for tradeoff in grid:
        bit = _bit_of(rows, tradeoff)
        match.append((stands >> bit[:, None] & 1).astype(np.bool_) & shown.present)
        weight = np.divide(common >> bit & 1, together, out=np.zeros(len(rows)), where=together > 0)
        whole.append(np.where(unmoved, weight, np.nan))
    return Randomised(
        tuple(grid),
        rows["user_id"].to_list(),
        shown,
        np.stack(match),
        _tail(rows, places, tail),
        np.stack(whole),
    )


def with_slots(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the decisions with a uniform slot whose pool is known."""
    return rows.filter(pl.col("slot").is_not_null() & pl.col("pool_known").fill_null(False))


def uniform_slots(rows: pl.DataFrame) -> UniformSlots:
    """Return the uniform slots of decisions as arrays.

    The item of a slot stands at its place with probability 1 / (pool size x places).
    """
    count = rows["slot_places"].to_numpy()
    places = int(count.max())
    present = np.arange(places) < count[:, None]
    here = present & (np.arange(places) == rows["slot"].to_numpy()[:, None])
    chance = 1.0 / (rows["pool_size"].to_numpy() * count)
    outcome = padded(rows["outcomes"], places, 0.0)
    shown = Shown(
        np.where(here, outcome, 0.0),
        np.where(present, chance[:, None], 1.0),
        present,
        _numbers(rows["user_id"]),
    )
    items = rows.select(pl.col("item_ids").list.get(pl.col("slot"))).to_series()
    return UniformSlots(shown, here, rows["slot"].to_numpy(), items.to_list())


def padded(column: pl.Series, places: int, missing: float) -> NDArray[np.float64]:
    """Return a column of lists as (N, L), cut off at L ``places`` and padded with ``missing``."""
    lengths = column.list.len().fill_null(0).to_numpy().astype(np.int64)
    values = column.explode(empty_as_null=False, keep_nulls=False).to_numpy()
    row = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    table = np.full((len(lengths), places), missing, np.float64)
    inside = place < places
    table[row[inside], place[inside]] = values[inside]
    return table


def _shown(rows: pl.DataFrame, places: int, propensity: Array) -> Shown:
    lengths = rows["item_ids"].list.len().to_numpy()
    present = np.arange(places) < lengths[:, None]
    outcome = padded(rows["outcomes"], places, 0.0)
    return Shown(outcome, propensity, present, _numbers(rows["user_id"]))


def _bit_of(rows: pl.DataFrame, tradeoff: float) -> Rows:
    """Return the place (N,) of a tradeoff among those of each decision."""
    at = pl.col("tradeoffs").list.eval(pl.element() == tradeoff).list.arg_max()
    return rows.select(at.cast(pl.Int64)).to_series().to_numpy()


def _numbers(ids: pl.Series) -> Rows:
    return ids.rank("dense").to_numpy().astype(np.int64) - 1


def _tail(rows: pl.DataFrame, places: int, tail: Mapping[str, bool]) -> Flags:
    ids = rows["item_ids"].list.head(places)
    flags = tail_of(ids.explode(empty_as_null=False, keep_nulls=False), tail)
    lengths = ids.list.len().to_numpy()
    table = np.zeros((len(rows), places), np.bool_)
    table[np.arange(places) < lengths[:, None]] = flags
    return table


def tail_of(item_ids: pl.Series, tail: Mapping[str, bool]) -> Flags:
    """Return which of the items (R,) are of the long tail; new ones, which ``tail`` lacks, are."""
    flags = item_ids.replace_strict(tail, default=True, return_dtype=pl.Boolean)
    return flags.to_numpy()
