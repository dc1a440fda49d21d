"""Reading owners' tables, features as flags and causal item statistics, for all converters.

Messages count rows from 0 after the header, as elsewhere in this package.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import narwhals as nw
import numpy as np
import polars as pl

from training.data.columns import Floats
from training.data.embeddings import read_vectors
from training.data.statistics import (
    POPULARITY,
    POSITIVE_RATE,
    STATISTICS,
    statistics_at_end,
    statistics_before,
)
from training.data.writer import Embeddings
from training.errors import DatasetError

__all__ = ["POPULARITY", "POSITIVE_RATE", "STATISTICS"]
IMPRESSIONS = ("user_id", "item_id", "label", "timestamp", "exposure")

Columns = Mapping[str, type[pl.DataType]]


def read_csv(path: Path, columns: Columns, *, nullable: Collection[str] = ()) -> pl.DataFrame:
    """Read ``columns`` (name -> type) of a CSV with a header, gzip or plain; ignore other columns.

    Raises DatasetError for a missing file or column, no rows, a value of another type, a
    non-finite value, and an empty value outside ``nullable``.
    """
    try:
        names = pl.scan_csv(path, infer_schema=False, glob=False).collect_schema().names()
    except FileNotFoundError as error:
        raise missing(path) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _not_csv(path, error) from error
    for name in columns:
        if name not in names:
            raise DatasetError(path, f"is missing; the file has {', '.join(names)}", column=name)
    try:
        scan = pl.scan_csv(path, schema_overrides=dict(columns), glob=False)
        table = scan.select(list(columns)).collect(engine="streaming")
    except pl.exceptions.PolarsError as error:
        raise _unreadable(path, columns, error) from error
    if not len(table):
        raise DatasetError(path, "has no rows")
    for name, kind in columns.items():
        if name not in nullable:
            refuse(table, path, name, pl.col(name).is_null(), "the value is empty")
        if kind.is_float():
            refuse(table, path, name, ~pl.col(name).is_finite(), "{value!r} is not finite")
    return table


def missing(path: Path) -> DatasetError:
    """Return the error for a missing file of the owners."""
    return DatasetError(path, "is missing; the source is the folder that holds it")


def refuse(table: pl.DataFrame, path: Path, column: str, bad: pl.Expr, problem: str) -> None:
    """Raise DatasetError for the first row of ``table`` where ``bad`` is true.

    ``table`` has the rows of ``path``. ``{value}`` in ``problem`` stands for the value of
    ``column`` in that row.
    """
    row = table.select(bad.fill_null(False).arg_true().first()).item()
    if row is not None:
        raise DatasetError(path, problem.format(value=table[column][row]), column=column, row=row)


def refuse_unknown(
    table: pl.DataFrame, path: Path, column: str, ids: pl.Series, ids_path: Path
) -> None:
    """Raise DatasetError for the first id of ``column`` that ``ids`` (from ``ids_path``) lack."""
    problem = "{value!r} is not in " + ids_path.name + ", which must list all ids"
    refuse(table, path, column, ~pl.col(column).is_in(ids.implode()), problem)


def refuse_repeated(table: pl.DataFrame, path: Path, column: str) -> None:
    """Raise DatasetError for the first value of ``column`` that occurs in an earlier row."""
    refuse(table, path, column, ~pl.col(column).is_first_distinct(), "{value!r} occurs twice")


def day_of(column: str) -> pl.Expr:
    """Return the date of a number such as 20220408, null where it is no date."""
    return pl.col(column).cast(pl.Int64).cast(pl.String).str.to_date("%Y%m%d", strict=False)


def multi_hot(values: pl.Series) -> tuple[Floats, list[str]]:
    """Return flags 0 or 1 (rows, K) of a column of string lists, and the K values, sorted."""
    pairs = values.to_frame("value").with_row_index("row").explode("value").drop_nulls()
    names, codes = np.unique(pairs["value"].to_numpy().astype(str), return_inverse=True)
    flags: Floats = np.zeros((len(values), len(names)), np.float32)
    flags[pairs["row"].to_numpy(), codes] = 1
    return flags, names.tolist()


def one_hot(table: pl.DataFrame, *, most: int) -> pl.DataFrame:
    """Return a flag 0 or 1 for each value, ``column=value``, of columns with 2 to ``most`` values.

    A row without a value in a column has 0 in all flags of that column.
    """
    small = [name for name in table.columns if 2 <= table[name].drop_nulls().n_unique() <= most]
    if not small:
        return pl.DataFrame()
    dummies = table.select(small).to_dummies(separator="=", drop_nulls=True)
    return dummies.select(pl.col(sorted(dummies.columns)).cast(pl.Float32))


def with_statistics(rows: pl.DataFrame, *, clock: str = "day", prior_rows: int = 0) -> pl.DataFrame:
    """Add to rows (item_id, label, exposure, ``clock``) the ``STATISTICS`` of the item before.

    ``clock`` is a column of days or times: ``statistics_before`` says what they count. Returns the
    rows in order of ``clock``.
    """
    before = statistics_before(nw.from_native(rows.lazy()), clock, prior_rows)
    return rows.sort(clock, maintain_order=True).join(
        _in_float32(before), on=["item_id", clock], how="left", maintain_order="left"
    )


def current_statistics(
    items: pl.DataFrame, rows: pl.DataFrame, *, clock: str = "day", prior_rows: int = 0
) -> pl.DataFrame:
    """Add to ``items`` (item_id) their ``STATISTICS`` after the last logged day or time."""
    last = statistics_at_end(nw.from_native(rows.lazy()), clock, prior_rows)
    joined = items.join(_in_float32(last), on="item_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col(POPULARITY).fill_null(0))


def _in_float32(statistics: nw.LazyFrame[pl.LazyFrame]) -> pl.DataFrame:
    exact = statistics.to_native()
    return exact.with_columns(pl.col(POPULARITY, POSITIVE_RATE).cast(pl.Float32)).collect()


def read_embeddings(source: Path, item_ids: pl.Series, reserved: str) -> Embeddings:
    """Read the embeddings that a user adds to ``source``: every ``<modality>.npy`` (n, dim).

    ``<modality>.ids.txt`` lists its n item ids, one per line; an item may lack a modality.
    ``reserved`` is the modality that the converter makes itself. Returns {} without such files,
    which owners never ship. Raises DatasetError naming the bad file.
    """
    embeddings: Embeddings = {}
    for path in sorted(source.glob("*.npy")):
        name, ids_path = path.stem, path.with_suffix(".ids.txt")
        if name == reserved or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
            rule = f"lower-case letters, digits, - and _, and not {reserved!r}"
            problem = f"{name!r} is not the name of a modality: {rule}; rename the file"
            raise DatasetError(path, problem)
        absent = f"is missing; {path.name} needs its item ids"
        values, ids = read_vectors(path, ids_path, missing=absent)
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise DatasetError(path, "NaN or infinite value", row=int(bad.argmax()))
        table = pl.DataFrame({"item_id": ids})
        unlisted = ~pl.col("item_id").is_in(item_ids.implode())
        refuse(table, ids_path, "item_id", unlisted, "{value!r} is not an item")
        refuse_repeated(table, ids_path, "item_id")
        embeddings[name] = (values, ids)
    return embeddings


def _not_csv(path: Path, error: Exception) -> DatasetError:
    return DatasetError(path, f"is not a CSV table: {str(error).partition(chr(10))[0]}")


def _unreadable(path: Path, columns: Columns, error: Exception) -> DatasetError:
    """Return the error for the first value of another type than its column's; reads all as text."""
    text = pl.scan_csv(path, infer_schema=False, glob=False)
    for name, kind in columns.items():
        bad = pl.col(name).is_not_null() & pl.col(name).cast(kind, strict=False).is_null()
        try:
            first = text.select(name).with_row_index("row").filter(bad).head(1).collect()
        except pl.exceptions.PolarsError as text_error:
            return _not_csv(path, text_error)
        if len(first):
            expected = "a whole number" if kind.is_integer() else "a number"
            problem = f"{first[name][0]!r} is not {expected}"
            return DatasetError(path, problem, column=name, row=first["row"][0])
    return _not_csv(path, error)
