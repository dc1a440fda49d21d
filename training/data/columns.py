"""Checking the columns of tables: errors name file, column and first bad row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contract.keys import MAX_ID_CHARS
from training.arrays import Flags
from training.data.schema import DESCRIPTION, Description
from training.errors import DatasetError

# Rounding loses a column's differences where it moves a value by more than this share of the
# column's range: fewer than 32 different values are left, the bins that a proxy has by default.
_LOST = 1 / 64
_NOISE = 2.0**-40  # floats whose relative range is smaller are one value and its rounding errors

Floats = NDArray[np.float32]
Range = tuple[float, float, float]  # least and greatest value, and the largest rounding error
Ranges = dict[str, Range]  # by column; integers stay integers


def column(table: pl.DataFrame, path: Path, name: str) -> pl.Series:
    """Return the column ``name``; raises DatasetError where ``table`` lacks it."""
    if name not in table.columns:
        names = ", ".join(table.columns)
        raise DatasetError(path, f"is missing; the table has {names}", column=name)
    return table[name]


def id_column(table: pl.DataFrame, path: Path, name: str) -> pl.Series:
    """Return the column ``name`` as strings: texts as they are, whole numbers in decimal.

    Raises DatasetError where it is missing or of another type, such as floats: 2^53 + 1 and a 17
    that is written 17.0 would become other ids.
    """
    ids = column(table, path, name)
    dtype = ids.dtype
    whole = dtype.is_integer() or (isinstance(dtype, pl.Decimal) and dtype.scale == 0)
    if not (whole or dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum)):
        problem = f"ids are strings or whole numbers, not {dtype}; cast them"
        raise DatasetError(path, problem, column=name)
    return ids.cast(pl.String)


def checked_ids(table: pl.DataFrame, path: Path, name: str) -> pl.Series:
    """Return the distinct ids of a table; raises DatasetError for a bad or repeated one."""
    ids = id_column(table, path, name)
    if not len(ids):
        raise DatasetError(path, "has no rows")
    empty = ids.is_null() | (ids == "").fill_null(True)
    refuse(empty.to_numpy(), path, name, "an id is empty")
    long = ids.str.len_chars() > MAX_ID_CHARS
    refuse(long.to_numpy(), path, name, f"an id has over {MAX_ID_CHARS} characters")
    control = ids.str.contains(r"[\x00-\x1f\x7f]")
    refuse(control.to_numpy(), path, name, "the id {value!r} has a control character", ids)
    repeated = ~ids.is_first_distinct()
    refuse(repeated.to_numpy(), path, name, "the id {value!r} occurs twice", ids)
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

    Raises DatasetError as ``number`` does, and for a value beyond the range of float32. Rounding
    is for ``refuse_rounded`` to judge.
    """
    values = np.empty((len(table), len(names)), np.float32)
    for index, name in enumerate(names):
        exact = number(table, path, name, finite=finite)
        beyond = np.abs(exact) > np.finfo(np.float32).max
        refuse(beyond, path, name, "{value} is beyond the range of 32-bit floats", table[name])
        values[:, index] = exact
    return values


def number(
    table: pl.DataFrame, path: Path, name: str, *, finite: bool = True
) -> NDArray[np.float64]:
    """Return a numeric column (rows,) as float64; nulls become NaN.

    Raises DatasetError for a missing or non-numeric column, an infinite value and, if ``finite``,
    a null or NaN.
    """
    series = column(table, path, name)
    if not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
        raise DatasetError(path, f"must be numeric, not {series.dtype}", column=name)
    values = series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    bad = ~np.isfinite(values) if finite else np.isinf(values)
    refuse(bad, path, name, "{value} is not a finite number", series)
    return values


def rounding(
    table: pl.LazyFrame, names: Sequence[str], dtype: type[pl.DataType] = pl.Float32
) -> Ranges:
    """Return what ``refuse_coarse`` judges: how ``dtype`` would round the numeric columns."""
    ranges: Ranges = {}
    for name, source in table.select(names).collect_schema().items():
        exact = _exact(source)
        value, rounded = pl.col(name).cast(exact), pl.col(name).cast(dtype).cast(exact)
        if source.is_float():
            value = value.fill_nan(None)
        error = (value - rounded).abs()
        facts = table.select(low=value.min(), high=value.max(), error=error.max())
        low, high, worst = facts.collect(engine="streaming").row(0)
        if low is not None:
            ranges[name] = (low, high, worst)
    return ranges


def is_coarse(ranges: Sequence[Range]) -> bool:
    """Return whether rounding loses the differences of a column with these ranges of its parts."""
    if not ranges:
        return False
    low, high = min(part[0] for part in ranges), max(part[1] for part in ranges)
    worst = max(part[2] for part in ranges)
    noise = isinstance(low, float) and high - low <= _NOISE * max(abs(low), abs(high))
    return worst > _LOST * (high - low) and low != high and not noise


def refuse_coarse(
    table: pl.LazyFrame,
    path: Path,
    name: str,
    ranges: Sequence[Range],
    dtype: type[pl.DataType] = pl.Float32,
) -> NoReturn:
    """Raise DatasetError for a column that ``is_coarse``, naming what rounding moves most."""
    source = table.select(name).collect_schema()[name]
    exact = _exact(source)
    value, rounded = pl.col(name).cast(exact), pl.col(name).cast(dtype).cast(exact)
    if source.is_float():
        value = value.fill_nan(None)
    row = table.select((value - rounded).abs().arg_max()).collect().item()
    original = table.select(name).slice(row, 1).collect()[name]
    spread = max(part[1] for part in ranges) - min(part[0] for part in ranges)
    raise DatasetError(
        path,
        f"{original.item()} is kept as {original.cast(dtype).cast(exact).item()}, too coarse "
        f"for the column's range of {spread}; subtract what its values have in common",
        column=name,
        row=row,
    )


def refuse_rounded(table: pl.DataFrame, path: Path, names: Sequence[str]) -> None:
    """Raise DatasetError for the numeric columns whose differences 32-bit floats would lose.

    Values that share an offset such as 2^32 are the usual case.
    """
    for name, found in rounding(table.lazy(), names).items():
        if is_coarse([found]):
            refuse_coarse(table.lazy(), path, name, [found])


def _exact(source: pl.DataType) -> type[pl.DataType]:
    return pl.Float64 if source.is_float() or source.is_decimal() else pl.Int128


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


def numeric_proxies(description: Description, names: Sequence[str]) -> list[str]:
    """Return the numeric proxies among the columns ``names``."""
    return [p.name for p in description.proxies if p.kind == "numeric" and p.name in names]
