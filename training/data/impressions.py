"""The table of impressions: read, checked and stored a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.arrays import Flags, Rows
from training.data import parquet
from training.data.columns import (
    Floats,
    id_column,
    number,
    numeric_proxies,
    proxy_values,
    refuse,
    refuse_rounded,
    texts,
)
from training.data.schema import Description
from training.data.storage import Storage, spans
from training.errors import DatasetError

COLUMNS = (
    "user_id",
    "item_id",
    "label",
    "timestamp",
    "exposure",
    "position",
    "propensity",
    "split",
)  # besides those of proxies
EXPOSURES = ("logged", "uniform")
MAX_POSITIONS = 10_000  # no page is longer; a net learns one parameter for each
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Impressions:
    """R impressions as columns; ``user`` and ``item`` (R,) are rows of the dataset's tables.

    label (R,) 0 or 1; timestamp (R,) in any unit that grows with time, constant where unknown;
    proxies (R, P) as of the row's time, NaN where unknown; uniform (R,) True for uniformly exposed
    rows; position (R,) in [0, MAX_POSITIONS), 0 = top, or None if not logged; propensity (R,) in
    (0, 1], or None if not logged; split (R,) index in ``SPLITS``, or None if the folder has none.
    """

    user: Rows
    item: Rows
    label: Floats
    timestamp: NDArray[np.float64]
    proxies: Floats
    uniform: Flags
    position: Rows | None
    propensity: Floats | None
    split: Rows | None

    def __len__(self) -> int:
        return len(self.user)


def read_impressions(
    path: Path,
    description: Description,
    *,
    user_ids: pl.Series,
    item_ids: pl.Series,
    item_proxies: Floats,
    storage: Storage,
) -> Impressions:
    """Read ``path`` into arrays of ``storage``; other memory does not grow with the rows.

    A folder's parts are read in the order of their names. ``user_ids`` (U,) and ``item_ids`` (I,)
    are those of the dataset's tables; ``item_proxies`` (I, P) replace proxies for which the
    impressions have no column. Raises DatasetError naming file, column and first bad row.
    """
    parts = parquet.parts(path)
    _check_equal_columns(parts)
    part_rows = [_row_count(part) for part in parts]
    rows = sum(part_rows)
    if not rows:
        raise DatasetError(path, "has no rows")
    row_numbers = {"user_id": _numbered(user_ids), "item_id": _numbered(item_ids)}
    arrays: dict[str, NDArray[Any]] = {}
    start = 0
    for chunk in _chunks(parts, part_rows, description, row_numbers, item_proxies):
        span = slice(start, start + len(chunk))
        for name, values in vars(chunk).items():
            if values is not None:
                if name not in arrays:
                    arrays[name] = storage.empty((rows, *values.shape[1:]), values.dtype)
                arrays[name][span] = values
        start = span.stop
    table = parquet.scan(*parts)
    columns = table.collect_schema()
    refuse_rounded(table, path, numeric_proxies(description, columns.names()))
    if "timestamp" in columns and columns["timestamp"].is_numeric():
        refuse_rounded(table, path, ("timestamp",), pl.Float64)
    return replace(chunk, **arrays)


def _check_equal_columns(parts: list[Path]) -> None:
    """Raise DatasetError for the first part whose columns are not those of the first one."""
    first = None
    for part in parts:
        schema = parquet.read(part, parquet.scan(part).head(0)).schema
        first = first or schema
        for name in {**first, **schema}:
            mine, other = schema.get(name), first.get(name)
            if mine != other:
                there = "has no such column" if other is None else f"has {other}"
                here = "is missing" if mine is None else f"is {mine}"
                problem = f"{here}, but {parts[0].name} {there}; write the same in all parts"
                raise DatasetError(part, problem, column=name)


def _row_count(path: Path) -> int:
    return int(parquet.read(path, parquet.scan(path).select(pl.len())).item())


def _chunks(
    parts: list[Path],
    part_rows: list[int],
    description: Description,
    row_numbers: dict[str, pl.DataFrame],
    item_proxies: Floats,
) -> Iterator[Impressions]:
    """Yield the checked rows of all parts, up to ``CHUNK_ROWS`` at a time."""
    for path, rows in zip(parts, part_rows, strict=True):
        for span in spans(rows):
            # Not collect_batches: it holds whole row groups, and some writers make a single one.
            query = parquet.scan(path).slice(span.start, span.stop - span.start)
            chunk = parquet.read(path, query)
            try:
                yield _checked(chunk, path, description, row_numbers, item_proxies)
            except DatasetError as error:
                if error.row is None:
                    raise
                row = span.start + error.row
                raise DatasetError(path, error.problem, column=error.column, row=row) from error


def _checked(
    table: pl.DataFrame,
    path: Path,
    description: Description,
    row_numbers: dict[str, pl.DataFrame],
    item_proxies: Floats,
) -> Impressions:
    label = number(table, path, "label")
    refuse((label != 0) & (label != 1), path, "label", "{value} is not 0 or 1", table["label"])
    item = _rows(table, path, "item_id", row_numbers)
    proxies = proxy_values(table, path, description, required=False)
    static = [i for i, proxy in enumerate(description.proxies) if proxy.name not in table.columns]
    proxies[:, static] = item_proxies[item][:, static]
    uniform = _choice(table, path, "exposure", EXPOSURES) == EXPOSURES.index("uniform")
    return Impressions(
        user=_rows(table, path, "user_id", row_numbers),
        item=item,
        label=label.astype(np.float32),
        timestamp=_timestamps(table, path),
        proxies=proxies,
        uniform=uniform,
        position=_positions(table, path),
        propensity=_propensities(table, path),
        split=_splits(table, path, uniform),
    )


def _numbered(ids: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"id": ids, "row": pl.Series(range(len(ids)), dtype=pl.Int64)})


def _rows(table: pl.DataFrame, path: Path, name: str, row_numbers: dict[str, pl.DataFrame]) -> Rows:
    """Map an id column to rows of the table of users or items."""
    ids = id_column(table, path, name)
    joined = ids.to_frame("id").join(row_numbers[name], on="id", how="left", maintain_order="left")
    unlisted = joined["row"].is_null().to_numpy()
    problem = "{value!r} is not in the table of " + name.removesuffix("_id") + "s"
    refuse(unlisted, path, name, problem, ids)
    return joined["row"].to_numpy()


def _timestamps(table: pl.DataFrame, path: Path) -> NDArray[np.float64]:
    if "timestamp" not in table.columns:
        return np.zeros(len(table))
    times = table["timestamp"]
    if isinstance(times.dtype, pl.Date | pl.Datetime):
        times = times.cast(pl.Datetime("us")).to_physical()
    if not times.dtype.is_numeric():
        problem = f"must be a time, a number or a datetime, not {times.dtype}; cast it"
        raise DatasetError(path, problem, column="timestamp")
    values = times.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    refuse(~np.isfinite(values), path, "timestamp", "{value} is not a time", times)
    return values


def _choice(table: pl.DataFrame, path: Path, name: str, choices: tuple[str, ...]) -> Rows:
    """Return the index in ``choices`` of each value."""
    values = texts(table, path, name)
    codes = values.replace_strict(
        {choice: code for code, choice in enumerate(choices)},
        default=None,
        return_dtype=pl.Int64,
    )
    problem = "{value!r} is not " + " or ".join(choices)
    refuse(codes.is_null().to_numpy(), path, name, problem, values)
    return codes.to_numpy()


def _splits(table: pl.DataFrame, path: Path, uniform: Flags) -> Rows | None:
    """Return the index in ``SPLITS`` of each row; uniform rows, which only test, may lack one."""
    if "split" not in table.columns:
        return None
    values = texts(table, path, "split")
    needless = pl.Series(uniform) & values.is_null()
    return _choice(table.with_columns(values.set(needless, "test")), path, "split", SPLITS)


def _positions(table: pl.DataFrame, path: Path) -> Rows | None:
    if "position" not in table.columns:
        return None
    values = number(table, path, "position")
    bad = (values < 0) | (values != np.floor(values)) | (values >= MAX_POSITIONS)
    problem = f"{{value}} is not 0, 1, 2, ... {MAX_POSITIONS - 1}, a place on the page, 0 on top"
    refuse(bad, path, "position", problem, table["position"])
    return values.astype(np.int64)


def _propensities(table: pl.DataFrame, path: Path) -> Floats | None:
    if "propensity" not in table.columns:
        return None
    values = number(table, path, "propensity")
    bad = (values <= 0) | (values > 1)
    refuse(bad, path, "propensity", "{value} is not in (0, 1]", table["propensity"])
    smallest = np.finfo(np.float32).tiny  # a smaller propensity must not become 0
    return np.maximum(values, smallest).astype(np.float32)
