"""The log of impressions: its parts, and which of their rows lie within a period."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from training.data.file_facts import FileFacts
from training.data.impressions import check_time_type
from training.data.parts import Part, check_equal_columns, find_parts, schema_of
from training.data.period import Bounds, Period
from training.data.schema import Description
from training.errors import DatasetError


@dataclass(frozen=True)
class Segment:
    """The rows of one part within a period: those of [first, last) that ``bounds`` let through."""

    part: Part
    bounds: Bounds
    first: int
    last: int
    rows: int


@dataclass(frozen=True)
class Log:
    """A description's impressions within a period; segments without a row are left out.

    types: of the columns by name, equal in all parts; time: that of the times, None without any.
    """

    path: Path
    description: Description
    segments: list[Segment]
    types: Mapping[str, str]
    time: pl.DataType | None

    def scan(self, segment: Segment) -> pl.LazyFrame:
        """Return the rows of a segment, whose filter polars pushes into the file."""
        table = segment.part.scan(self.description)
        if segment.bounds == Bounds() or self.time is None:
            return table
        return table.filter(segment.bounds.predicate(self.description.time_column, self.time))


def open_log(path: Path, description: Description, period: Period, facts: FileFacts) -> Log:
    """Find the parts of ``path`` and the rows within ``period``; of known parts nothing is read.

    A part outside is left out by its partition's value, else by the statistics in its footer, else
    by its times. Raises DatasetError for parts of different columns and for a period without rows.
    """
    parts = find_parts(path)
    types = check_equal_columns(parts, lambda part: _types(part, description, facts))
    name = description.time_column
    missing = (not period.whole or description.timestamp is not None) and name not in types
    if missing:
        names = ", ".join(types)
        raise DatasetError(
            path, f"is missing, but holds the times; the table has {names}", column=name
        )
    time = None
    if name in types:
        time = parts[0].scan(description).select(name).collect_schema()[name]
        check_time_type(time, path, name)
    if period.whole or time is None:
        counts = [_rows(part, description, facts) for part in parts]
        pieces = [Segment(p, Bounds(), 0, n, n) for p, n in zip(parts, counts, strict=True)]
    else:
        pieces = list(_within(parts, description, period, time, facts))
    segments = [piece for piece in pieces if piece.rows]
    if not segments:
        raise DatasetError(path, "has no rows" if period.whole else f"has no rows {period}")
    return Log(path, description, segments, types, time)


def _types(part: Part, description: Description, facts: FileFacts) -> dict[str, str]:
    """Return the types of the columns, those of the partition included."""

    def of_file() -> dict[str, str]:
        return schema_of(Part(part.path), description)

    types: dict[str, str] = facts.get(part.path, "types", of_file)
    return part.partition_types(description) | types


def _rows(part: Part, description: Description, facts: FileFacts) -> int:
    def count() -> int:
        return int(part.read(part.scan(description).select(pl.len())).item())

    return int(facts.get(part.path, "rows", count))


def _within(
    parts: list[Part],
    description: Description,
    period: Period,
    dtype: pl.DataType,
    facts: FileFacts,
) -> Iterator[Segment]:
    """Yield the rows of each part that may lie within ``period``."""
    name = description.time_column
    fact = f"times of {name}"
    times = (_times(part, description, facts, fact) for part in parts)
    latest = next((known[1] for known in times if known), 0)  # of any part: it tells the unit
    bounds = period.bounds(dtype, latest)
    inside = bounds.predicate(name, dtype)
    for part in parts:
        table = part.scan(description)
        # Of a part not known yet, the statistics in its footer may suffice.
        if not (facts.knows(part.path, fact) or _any(part, table.filter(inside))):
            continue
        known = _times(part, description, facts, fact)
        cut = bounds.within(*known) if known else None
        if cut == Bounds():
            rows = _rows(part, description, facts)
            yield Segment(part, cut, 0, rows, rows)
        elif cut is not None:
            yield _cut(part, table.select(name), cut, dtype, facts)


def _any(part: Part, table: pl.LazyFrame) -> bool:
    return bool(part.read(table.select(pl.len())).item())


def _times(
    part: Part, description: Description, facts: FileFacts, fact: str
) -> tuple[float, float] | None:
    """Return the least and the greatest time of a part in its column's unit; None without rows."""
    name = description.time_column

    def compute() -> list[float]:
        table, time = part.scan(description), pl.col(name).to_physical()
        bad = time.is_null() | ~time.cast(pl.Float64).is_finite()
        found = part.read(table.select(low=time.min(), high=time.max(), bad=bad.sum())).row(0)
        if found[2]:
            row = int(part.read(table.select(bad.arg_max())).item())
            raise DatasetError(part.path, "a time is missing or not finite", column=name, row=row)
        return [] if found[0] is None else list(found[:2])

    times = facts.get(part.path, fact, compute)
    return tuple(times) or None


def _cut(
    part: Part, times: pl.LazyFrame, cut: Bounds, dtype: pl.DataType, facts: FileFacts
) -> Segment:
    """Return the rows of a part that lies partly within the period."""

    def compute() -> list[int]:
        (name,) = times.collect_schema().names()
        inside = cut.predicate(name, dtype)
        row = pl.int_range(pl.len()).filter(inside)
        found = times.select(first=row.min(), last=row.max(), rows=row.len())
        first, last, rows = part.read(found).row(0)
        return [first, last + 1, rows] if rows else [0, 0, 0]

    first, last, rows = facts.get(part.path, f"rows of {times.collect_schema()} {cut}", compute)
    return Segment(part, cut, first, last, rows)
