"""Checking the columns of tables: errors name file, column and first bad row."""

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


def column(table: pl.DataFrame, path: Path, name: str) -> pl.Series:
    """Return the column ``name``; raises DatasetError where ``table`` lacks it."""
    if name not in table.columns:
        names = ", ".join(table.columns)
        raise DatasetError(path, f"is missing; the table has {names}", column=name)
    return table[name]


def id_column(table: pl.DataFrame, path: Path, name: str) -> pl.Series:
    """Return the column ``name``; raises DatasetError where it is missing or not of strings."""
    ids = column(table, path, name)
    if ids.dtype != pl.String:
        raise DatasetError(path, f"ids are strings, not {ids.dtype}; cast them", column=name)
    return ids


def texts(table: pl.DataFrame, path: Path, name: str) -> pl.Series:
    """Return the column ``name`` as strings; raises DatasetError where its values are no texts."""
    values = column(table, path, name)
    try:
        return values.cast(pl.String)
    except pl.exceptions.PolarsError as error:
        raise DatasetError(path, f"must be text, not {values.dtype}", column=name) from error


def refuse(
    bad: Flags,
    path: Path,
    name: str,
    problem: str,
    values: Sequence[object] | pl.Series | Floats = (),
) -> None:
    """Raise DatasetError for the first True row of ``bad`` (rows,).

    ``{value}`` in ``problem`` stands for the value of that row in ``values`` (rows,).
    """
    if bad.any():
        row = int(bad.argmax())
        value = values[row] if len(values) else None
        raise DatasetError(path, problem.format(value=value), column=name, row=row)


def numbers(
    table: pl.DataFrame, path: Path, names: tuple[str, ...], *, finite: bool = False
) -> Floats:
    """Return numeric columns as (rows, len(names)) float32; nulls become NaN.

    Raises DatasetError for a missing or non-numeric column, an infinite value and, if ``finite``,
    a null or NaN.
    """
    values = np.empty((len(table), len(names)), np.float32)
    for index, name in enumerate(names):
        series = column(table, path, name)
        if not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
            raise DatasetError(path, f"must be numeric, not {series.dtype}", column=name)
        values[:, index] = series.cast(pl.Float32).fill_null(float("nan")).to_numpy()
        bad = ~np.isfinite(values[:, index]) if finite else np.isinf(values[:, index])
        refuse(bad, path, name, "{value} is not a finite number", series)
    return values


def proxy_values(
    table: pl.DataFrame, path: Path, description: Description, *, required: bool
) -> Floats:
    """Return proxies (rows, P): numbers, or the index of a category; NaN where unknown.

    Raises DatasetError for a missing column if ``required``, and for a bad value.
    """
    values = np.full((len(table), len(description.proxies)), np.nan, np.float32)
    for index, proxy in enumerate(description.proxies):
        if proxy.name not in table.columns and not required:
            continue
        if proxy.kind == "numeric":
            values[:, index] = numbers(table, path, (proxy.name,))[:, 0]
            continue
        categories = texts(table, path, proxy.name)
        codes = categories.replace_strict(
            {category: code for code, category in enumerate(proxy.categories)},
            default=None,
            return_dtype=pl.Float32,
        )
        unlisted = (codes.is_null() & categories.is_not_null()).to_numpy()
        problem = "{value!r} is not in the categories of " + DESCRIPTION
        refuse(unlisted, path, proxy.name, problem, categories)
        values[:, index] = codes.fill_null(float("nan")).to_numpy()
    return values
