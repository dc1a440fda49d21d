"""The fields of a ranked item. Each is defined once, for both formats of an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from service.catalog.item_table import Pool
from service.contract.titles import ItemTitle
from service.ranking.top_k import ranks_of

Columns = dict[str, Any]  # the fields of ``ItemColumns``, in its order


class RankedPool(Struct, frozen=True):  # made for each request: a dataclass costs 1 us more
    """A pool with logits (N,) at one tradeoff, and the items that an answer shows.

    ``best`` (K,) are rows of the pool, best first, and ``scores`` (K,) their scores. The
    ``missing`` ids follow them.
    """

    pool: Pool
    best: NDArray[np.int64]
    missing: list[str]
    logits: NDArray[np.float32]
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """A field's name in the column format and the function that lists its values."""

    name: str
    values: Callable[[RankedPool], list[Any]]


def _item_ids(ranked: RankedPool) -> list[str]:
    return [ranked.pool.item_ids[row] for row in ranked.best.tolist()] + ranked.missing


def _ranks(ranked: RankedPool) -> list[int]:
    return list(range(1, len(ranked.best) + len(ranked.missing) + 1))


def _scores(ranked: RankedPool) -> list[float | None]:
    scores: list[float | None] = ranked.scores.tolist()
    return scores + _nulls(ranked)


def _statuses(ranked: RankedPool) -> list[str]:
    cold = ranked.pool.cold[ranked.best].tolist()
    statuses = ["cold" if is_cold else "ok" for is_cold in cold]
    return statuses + ["missing"] * len(ranked.missing)


def _ranks_in_pool(ranked: RankedPool) -> list[int | None]:
    ranks = ranks_of(ranked.logits, ranked.pool.item_ids, ranked.best)
    return [*ranks, *_nulls(ranked)]


def _nulls(ranked: RankedPool) -> list[Any]:
    return [None] * len(ranked.missing)


# No object below is part of a cycle: gc=False keeps them off the garbage collector's lists.
class EndPoint(Struct, gc=False):
    """An item's place at one end of the front, among all candidates that have a record."""

    score: Annotated[
        float,
        Meta(description="Calibrated score at that end.", examples=[0.31]),
        Column("scores", _scores),
    ]
    rank: Annotated[
        int,
        Meta(description="Rank at that end, from 1.", examples=[4]),
        Column("ranks", _ranks_in_pool),
    ]


class Explanation(Struct, gc=False):
    """An item's place at both ends of the front."""

    debiased: Annotated[EndPoint, Meta(description="At tradeoff 0.")]
    logged: Annotated[EndPoint, Meta(description="At tradeoff 1.")]


class RankedItem(Struct, gc=False, omit_defaults=True):
    """One place of the ranking."""

    item_id: Annotated[
        str, Meta(description="The item.", examples=["i0002"]), Column("item_ids", _item_ids)
    ]
    rank: Annotated[
        int, Meta(description="Its place, from 1.", examples=[1]), Column("ranks", _ranks)
    ]
    score: Annotated[
        float | None,
        Meta(
            description="In (0, 1), descending but for an explored item; null for a missing item. "
            "The model's "
            "`score_meaning`: at best a click probability at tradeoff 1 on logged traffic, a rank "
            "score elsewhere.",
            examples=[0.42],
        ),
        Column("scores", _scores),
    ]
    status: Annotated[
        Literal["ok", "cold", "missing"],
        Meta(
            description="ok; cold: known by content alone, not by clicks; missing: no record, "
            "placed behind all others by id.",
            examples=["ok"],
        ),
        Column("status", _statuses),
    ]
    explain: Annotated[
        Explanation | None,
        Meta(description="Only with `explain`, and not for missing items."),
    ] = None
    title: Annotated[
        str | None,
        Meta(description="Only with `titles`, where it is known.", examples=["A red coat"]),
    ] = None
    picture: Annotated[
        str | None,
        Meta(
            description="Only with `titles`: the address of a picture, http(s) or a path.",
            examples=["https://shop.example/pictures/7.jpg"],
        ),
    ] = None
    link: Annotated[
        str | None,
        Meta(
            description="Only with `titles`: the address of the item's page, http(s) or a path.",
            examples=["/items/7"],
        ),
    ] = None


def _columns(row: type[Struct]) -> dict[str, tuple[Column, Any]]:
    """Return the column and the type of each field of ``row`` that has a column, by name."""
    hints = get_type_hints(row, include_extras=True)
    return {
        name: (entry, hint.__origin__)
        for name, hint in hints.items()
        for entry in hint.__metadata__
        if isinstance(entry, Column)
    }


def _field(name: str, column: Column, entry: Any) -> tuple[str, Any]:
    return column.name, Annotated[list[entry], Meta(description=f"`{name}` of each item.")]


_ITEM, _END = _columns(RankedItem), _columns(EndPoint)
_ITEM_COLUMNS = tuple(column for column, _ in _ITEM.values())
_END_COLUMNS = tuple(column for column, _ in _END.values())

_SHOWN = {"titles": "title", "pictures": "picture", "links": "link"}  # column -> field

EndColumns: Any = msgspec.defstruct(
    "EndColumns",
    [_field(name, column, entry | None) for name, (column, entry) in _END.items()],
    namespace={"__doc__": "All items' places at one end of the front; null for missing items."},
)


class ExplanationColumns(Struct):
    """The items' places at both ends of the front."""

    debiased: Annotated[EndColumns, Meta(description="At tradeoff 0.")]
    logged: Annotated[EndColumns, Meta(description="At tradeoff 1.")]


ItemColumns: Any = msgspec.defstruct(
    "ItemColumns",
    [
        *(_field(name, column, entry) for name, (column, entry) in _ITEM.items()),
        (
            "explain",
            Annotated[ExplanationColumns | None, Meta(description="Only with `explain`.")],
            None,
        ),
        *(
            (
                name,
                Annotated[
                    list[str | None] | None,
                    Meta(description=f"`{field}` of each item, only with `titles`."),
                ],
                None,
            )
            for name, field in _SHOWN.items()
        ),
    ],
    omit_defaults=True,
    namespace={
        "__doc__": "The ranking as parallel lists, best first. An entry means what the field of "
        "a `RankedItem` does."
    },
)


def as_columns(ranked: RankedPool, ends: Sequence[RankedPool]) -> Columns:
    """Return the fields of ``ItemColumns``; ``ends`` are the pool at both ends, or none."""
    columns: Columns = {column.name: column.values(ranked) for column in _ITEM_COLUMNS}
    if ends:
        columns["explain"] = ExplanationColumns(
            *(EndColumns(*(column.values(end) for column in _END_COLUMNS)) for end in ends)
        )
    return columns


def as_rows(columns: Columns) -> list[RankedItem]:
    """Return ``columns`` as one object an item; missing items are not explained."""
    values = [columns[column.name] for column in _ITEM_COLUMNS]
    if explain := columns.get("explain"):
        values.append(_explanations(explain))
    elif "titles" in columns:
        values.append([None] * len(values[0]))
    if "titles" in columns:
        values += [columns[name] for name in _SHOWN]
    return list(map(RankedItem, *values))


def add_titles(columns: Columns, titles: Sequence[ItemTitle | None]) -> None:
    """Add what people see of each item, None where it is not known, to ``columns``."""
    for name, field in _SHOWN.items():
        columns[name] = [title and getattr(title, field) for title in titles]


def _explanations(explain: ExplanationColumns) -> list[Explanation | None]:
    debiased, logged = (
        map(EndPoint, *msgspec.structs.astuple(end)) for end in (explain.debiased, explain.logged)
    )
    return [
        None if left.score is None else Explanation(left, right)
        for left, right in zip(debiased, logged, strict=True)
    ]
