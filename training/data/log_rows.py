"""The rows of a log as arrays: read and checked a chunk at a time, or taken up from a cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from training.data.columns import Floats, is_coarse, numeric_proxies, refuse_coarse, rounding
from training.data.file_facts import CHANGED, FileFacts
from training.data.impressions import (
    OPTIONAL,
    REQUIRED,
    Impressions,
    array_columns,
    checked_impressions,
    known_columns,
    numbered,
)
from training.data.log import Log, Segment
from training.data.period import Bounds
from training.data.row_files import Arrays, Columns, Fill, RowFiles
from training.data.storage import Storage, spans
from training.errors import DatasetError

_FORMAT = 1  # of the files of rows; a change of what they hold for the same log raises it
_ROUNDED = (("Float32", pl.Float32), ("Float64", pl.Float64))


def read_impressions(
    log: Log,
    *,
    user_ids: pl.Series,
    item_ids: pl.Series,
    item_proxies: Floats,
    storage: Storage,
    facts: FileFacts,
    cache: Path | None = None,
) -> Impressions:
    """Read a log into arrays of ``storage``; other memory does not grow with the rows.

    Rows stand in the order of the parts. ``user_ids`` (U,) and ``item_ids`` (I,) are those of the
    dataset's tables; ``item_proxies`` (I, P) replace proxies for which the log has no column. With
    ``cache``, a folder, the arrays are files there, and only rows that these lack are read. Raises
    DatasetError naming file, column and first bad row.
    """
    description, segments = log.description, log.segments
    columns = array_columns(description, log.types)
    row_numbers = {"user_id": numbered(user_ids), "item_id": numbered(item_ids)}

    def fill(number: int, arrays: Arrays) -> dict[str, Any]:
        segment, start = segments[number], 0
        for chunk in _chunks(log, segment, row_numbers, item_proxies):
            span = slice(start, start + len(chunk))
            for name, array in arrays.items():
                array[span] = getattr(chunk, name)
            start = span.stop
        return _rounding(log, segment)

    if cache is None:
        arrays, ranges = _filled(columns, [segment.rows for segment in segments], storage, fill)
    else:
        files = RowFiles(cache)
        static = [i for i, proxy in enumerate(description.proxies) if proxy.name not in log.types]
        tables = {"users": (user_ids, None), "items": (item_ids, item_proxies[:, static])}
        key = {"log": _log_digest(log), **{n: [len(t[0]), _digest(*t)] for n, t in tables.items()}}
        ids = [(_segment_id(segment, facts), segment.rows) for segment in segments]
        reuse = _extends(tables, key, files.key())
        arrays, ranges = files.fill(key, ids, columns, fill, reuse=reuse)
    _refuse_coarse(log, ranges)
    complete: dict[str, Any] = dict.fromkeys(OPTIONAL) | arrays
    return Impressions(**complete)


def _filled(
    columns: Columns, lengths: list[int], storage: Storage, fill: Fill
) -> tuple[Arrays, list[dict[str, Any]]]:
    """Return what ``RowFiles.fill`` does, of arrays that no later opening takes up."""
    arrays: Arrays = {
        name: storage.empty((sum(lengths), *shape), dtype)
        for name, (shape, dtype) in columns.items()
    }
    facts, start = [], 0
    for number, rows in enumerate(lengths):
        views = {name: array[start : start + rows] for name, array in arrays.items()}
        facts.append(fill(number, views))
        start += rows
    return arrays, facts


def _chunks(
    log: Log,
    segment: Segment,
    row_numbers: dict[str, pl.DataFrame],
    item_proxies: Floats,
) -> Iterator[Impressions]:
    """Yield the checked rows of a segment, from up to ``CHUNK_ROWS`` of its part at a time."""
    part, description = segment.part, log.description
    names = [name for name in log.types if name in known_columns(description)]
    table = part.scan(description)
    if set(REQUIRED) <= set(names):  # else an error lists all columns
        table = table.select(names)
    read = 0
    for span in spans(segment.last - segment.first):
        # Not collect_batches: it holds whole row groups, and some writers make a single one.
        start = segment.first + span.start
        chunk = part.read(table.slice(start, span.stop - span.start))
        row_of = np.arange(start, start + len(chunk))
        if segment.bounds != Bounds() and log.time is not None:
            inside = segment.bounds.predicate(description.time_column, log.time)
            keep = chunk.select(inside).to_series()
            chunk, row_of = chunk.filter(keep), row_of[keep.to_numpy()]
        read += len(chunk)
        try:
            yield checked_impressions(chunk, part.path, description, row_numbers, item_proxies)
        except DatasetError as error:
            if error.row is None:
                raise
            row = int(row_of[error.row])
            raise DatasetError(part.path, error.problem, column=error.column, row=row) from error
    if read != segment.rows:
        raise DatasetError(part.path, CHANGED)


def _rounding(log: Log, segment: Segment) -> dict[str, Any]:
    """Return the ranges of a segment's columns by the type that they are rounded to."""
    names = {"Float32": numeric_proxies(log.description, list(log.types))}
    if log.time is not None and log.time.is_numeric():
        names["Float64"] = [log.description.time_column]
    table = log.scan(segment)
    return {name: rounding(table, names[name], dtype) for name, dtype in _ROUNDED if name in names}


def _refuse_coarse(log: Log, facts: list[dict[str, Any]]) -> None:
    """Raise DatasetError for a column whose differences over all segments rounding loses."""
    for type_name, dtype in _ROUNDED:
        found = [(number, ranges.get(type_name, {})) for number, ranges in enumerate(facts)]
        for name in {name: None for _, ranges in found for name in ranges}:
            having = [(number, ranges[name]) for number, ranges in found if name in ranges]
            ranges = [tuple(range_) for _, range_ in having]
            if is_coarse(ranges):
                segment = log.segments[max(having, key=lambda pair: pair[1][2])[0]]
                table = segment.part.scan(log.description)
                refuse_coarse(table, segment.part.path, name, ranges, dtype)


def _log_digest(log: Log) -> str:
    """Return a digest of what the arrays depend on besides the rows of users, items and parts."""
    proxies = [proxy.model_dump(mode="json") for proxy in log.description.proxies]
    text = json.dumps([_FORMAT, proxies, log.description.time_column, dict(log.types)])
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(ids: pl.Series, values: Floats | None) -> str:
    """Return a digest of the ids of a table, and of the values (rows, n) that impressions take."""
    digest = hashlib.sha256("\n".join(ids.to_list()).encode())
    if values is not None:
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _extends(
    tables: dict[str, tuple[pl.Series, Floats | None]],
    key: dict[str, Any],
    before: dict[str, Any] | None,
) -> bool:
    """Return whether the tables of ``before`` are the first rows of ``tables``, or all."""
    if before is None or before.get("log") != key["log"]:
        return False
    for name, (ids, values) in tables.items():
        count, digest = before[name]
        if count > len(ids):
            return False
        known = None if values is None else values[:count]
        if digest != (key[name][1] if count == len(ids) else _digest(ids[:count], known)):
            return False
    return True


def _segment_id(segment: Segment, facts: FileFacts) -> str:
    part, bounds = segment.part, segment.bounds
    content = [facts.digest(part.path), dict(part.partition), bounds.since, bounds.until]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
