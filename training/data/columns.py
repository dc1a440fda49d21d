"""Reading Parquet tables and checking their columns: errors name file, column and first bad row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.arrays import Flags
from training.data.schema import DESCRIPTION, Description
from training.errors import DatasetError

Floats = NDArray[np.float32]


def read(path: Path, query: pl.LazyFrame | None = None) -> pl.DataFrame:
    """Return the table in ``path``, or what ``query``, a scan of it, selects."""
    try:
        return (pl.scan_parquet(path) if query is None else query).collect()
    except FileNotFoundError as error:
        raise DatasetError(path, f"is missing; {DESCRIPTION} names it") from error
    except pl.exceptions.PolarsError as error:
        raise DatasetError(path, f"is not a Parquet table: {error}") from error


def column(table: pl.DataFrame, path: Path, name: str) -> pl.Series:
    """Return a column that must be there."""
    if name not in table.columns:
        have = ", ".join(table.columns)
        raise DatasetError(path, f"is missing; the table has {have}", column=name)
    return table[name]


def id_column(table: pl.DataFrame, path: Path, name: str) -> pl.Series:
    """Return a column of strings."""
    ids = column(table, path, name)
    if ids.dtype != pl.String:
        raise DatasetError(path, f"ids are strings, not {ids.dtype}; cast them", column=name)
    return ids


def refuse(
    bad: Flags,
    path: Path,
    name: str,
    problem: str,
    values: Sequence[object] | pl.Series | Floats = (),
) -> None:
    """Raise for the first True row of ``bad``; ``{value}`` in ``problem`` is that row's value."""
    if bad.any():
        row = int(bad.argmax())
        value = values[row] if len(values) else None
        raise DatasetError(path, problem.format(value=value), column=name, row=row)


def numbers(
    table: pl.DataFrame, path: Path, names: tuple[str, ...], *, finite: bool = False
) -> Floats:
    """Return numeric columns as (rows, len(names)) float32; nulls become NaN."""
    values = np.empty((len(table), len(names)), np.float32)
    for index, name in enumerate(names):
        found = column(table, path, name)
        if not (found.dtype.is_numeric() or found.dtype == pl.Boolean):
            raise DatasetError(path, f"must be numeric, not {found.dtype}", column=name)
        values[:, index] = found.cast(pl.Float32).fill_null(float("nan")).to_numpy()
        bad = ~np.isfinite(values[:, index]) if finite else np.isinf(values[:, index])
        refuse(bad, path, name, "{value} is not a finite number", found)
    return values


def proxy_values(
    table: pl.DataFrame, path: Path, description: Description, *, required: bool
) -> Floats:
    """Return proxies (rows, P): numbers, or the index of a category; NaN where unknown."""
    values = np.full((len(table), len(description.proxies)), np.nan, np.float32)
    for index, proxy in enumerate(description.proxies):
        if proxy.name not in table.columns and not required:
            continue
        if proxy.kind == "numeric":
            values[:, index] = numbers(table, path, (proxy.name,))[:, 0]
            continue
        found = column(table, path, proxy.name).cast(pl.String)
        codes = found.replace_strict(
            {category: code for code, category in enumerate(proxy.categories)},
            default=None,
            return_dtype=pl.Float32,
        )
        refuse(
            (codes.is_null() & found.is_not_null()).to_numpy(),
            path,
            proxy.name,
            "{value!r} is not in the categories that " + DESCRIPTION + " lists",
            found,
        )
        values[:, index] = codes.fill_null(float("nan")).to_numpy()
    return values
