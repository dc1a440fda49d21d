"""What converters share: reading owners' tables, features as flags, causal item statistics.

Rows in messages are counted from 0 after the header, as they are elsewhere in this package.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contract.manifest import Proxy
from training.errors import DatasetError

POPULARITY, POSITIVE_RATE = "popularity", "positive_rate"
STATISTICS = (Proxy(name=POPULARITY), Proxy(name=POSITIVE_RATE))
IMPRESSIONS = ("user_id", "item_id", "label", "timestamp", "exposure")

Flags = NDArray[np.float32]
Columns = Mapping[str, type[pl.DataType]]
Embeddings = dict[str, tuple[NDArray[np.floating], list[str]]]


def read_csv(path: Path, columns: Columns, *, nullable: Collection[str] = ()) -> pl.DataFrame:
    """Stream ``columns`` (name -> type) of a CSV with a header, gzip or plain; extra ones are left.

    Raises DatasetError for a missing file or column, no rows, a value not of its type, an empty
    or non-finite value outside ``nullable``.
    """
    try:
        found = pl.scan_csv(path, infer_schema=False).collect_schema().names()
    except FileNotFoundError as error:
        raise missing(path) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _not_csv(path, error) from error
    for name in columns:
        if name not in found:
            raise DatasetError(path, f"is missing; the file has {', '.join(found)}", column=name)
    try:
        scan = pl.scan_csv(path, schema_overrides=dict(columns))
        table = scan.select(list(columns)).collect(engine="streaming")
    except pl.exceptions.PolarsError as error:
        raise _unreadable(path, columns, error) from error
    if not len(table):
        raise DatasetError(path, "has no rows")
    for name, kind in columns.items():
        if name not in nullable:
            refuse(table, path, name, pl.col(name).is_null(), "allowed to be empty")
        if kind.is_float():
            refuse(table, path, name, ~pl.col(name).is_finite(), "a finite number")
    return table


def missing(path: Path) -> DatasetError:
    """Return the error for an owners' file that is not there."""
    return DatasetError(path, "is missing; the source is the folder that holds it")


def refuse(table: pl.DataFrame, path: Path, column: str, bad: pl.Expr, wanted: str) -> None:
    """Raise for the first row where ``bad`` is true; ``table`` has the rows of ``path``."""
    row = table.select(bad.fill_null(False).arg_true().first()).item()
    if row is not None:
        problem = f"{table[column][row]!r} is not {wanted}"
        raise DatasetError(path, problem, column=column, row=row)


def refuse_unknown(
    table: pl.DataFrame, path: Path, column: str, known: pl.Series, owner: Path
) -> None:
    """Raise for the first id of ``column`` that ``owner``, the file with all ids, lacks."""
    wanted = f"in {owner.name}, which must list them all"
    refuse(table, path, column, ~pl.col(column).is_in(known.implode()), wanted)


def refuse_repeated(table: pl.DataFrame, path: Path, column: str) -> None:
    """Raise for the first value of ``column`` that has occurred above."""
    refuse(table, path, column, ~pl.col(column).is_first_distinct(), "allowed to occur twice")


def day_of(column: str) -> pl.Expr:
    """Return the date of a number such as 20220408 (null where it is none)."""
    return pl.col(column).cast(pl.Int64).cast(pl.String).str.to_date("%Y%m%d", strict=False)


def multi_hot(values: pl.Series) -> tuple[Flags, list[str]]:
    """Return flags (rows, K) of a column of string lists, and the K values, sorted."""
    pairs = values.to_frame("value").with_row_index("row").explode("value").drop_nulls()
    names, codes = np.unique(pairs["value"].to_numpy().astype(str), return_inverse=True)
    flags = np.zeros((len(values), len(names)), np.float32)
    flags[pairs["row"].to_numpy(), codes] = 1
    return flags, names.tolist()


def one_hot(table: pl.DataFrame, *, most: int) -> pl.DataFrame:
    """Return a flag a value, named ``column=value``, for columns of 2 to ``most`` values.

    An empty value has no flag of its own: all of its column's flags are 0.
    """
    small = [name for name in table.columns if 2 <= table[name].drop_nulls().n_unique() <= most]
    if not small:
        return pl.DataFrame()
    dummies = table.select(small).to_dummies(separator="=", drop_nulls=True)
    return dummies.select(pl.col(sorted(dummies.columns)).cast(pl.Float32))


def with_statistics(rows: pl.DataFrame) -> pl.DataFrame:
    """Add the two ``STATISTICS`` of an item before the day of each row (item_id, day, label...).

    popularity: logged rows of the item on earlier days; positive_rate: the share of label 1 among
    them (the CTR), null where there are none. Rows with exposure ``uniform`` are never counted,
    and both are null on the first logged day, before which nothing was recorded. Rows come back
    in the order of days.
    """
    until = _until(rows)
    recorded = pl.col("day") > until["day"].min()
    return (
        rows.sort("day", maintain_order=True)
        .join_asof(
            until,
            on="day",
            by="item_id",
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,  # with groups it cannot be checked; both sides are sorted here
        )
        .with_columns(
            pl.when(recorded).then(pl.col(POPULARITY).fill_null(0)).alias(POPULARITY),
        )
    )


def current_statistics(items: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Add to ``items`` their statistics after the last logged day."""
    last = _until(rows).group_by("item_id").last().drop("day")
    joined = items.join(last, on="item_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col(POPULARITY).fill_null(0))


def _until(rows: pl.DataFrame) -> pl.DataFrame:
    """Return day, item_id and its statistics up to the end of that day, sorted by day."""
    positives = pl.col("positives").cum_sum().over("item_id")
    return (
        rows.lazy()
        .filter(pl.col("exposure") == "logged")
        .group_by("day", "item_id")
        .agg(pl.len().alias(POPULARITY), pl.col("label").cast(pl.Int64).sum().alias("positives"))
        .sort("day", "item_id")
        .with_columns(pl.col(POPULARITY).cast(pl.Float32).cum_sum().over("item_id"))
        .with_columns((positives / pl.col(POPULARITY)).cast(pl.Float32).alias(POSITIVE_RATE))
        .select("day", "item_id", POPULARITY, POSITIVE_RATE)
        .collect()
    )


def read_embeddings(source: Path, item_ids: pl.Series, taken: str) -> Embeddings:
    """Read a user's own ``<modality>.npy`` (n, dim) and ``<modality>.ids.txt`` in ``source``.

    None is fine: owners ship no such files. Ids are one a line; an item may lack a modality.
    ``taken`` is the modality that the converter makes itself.
    """
    embeddings: Embeddings = {}
    for path in sorted(source.glob("*.npy")):
        name, ids_path = path.stem, path.with_suffix(".ids.txt")
        if name == taken or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
            wanted = f"a modality: lower-case letters, digits, - and _, and not {taken!r}"
            raise DatasetError(path, f"{name!r} is not the name of {wanted}; rename the file")
        try:
            with path.open("rb") as file:
                values = np.lib.format.read_array(file, allow_pickle=False)
            ids = ids_path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        except FileNotFoundError as error:
            raise DatasetError(ids_path, f"is missing; {path.name} needs its item ids") from error
        except UnicodeDecodeError as error:
            raise DatasetError(ids_path, f"is not UTF-8 text: {error}") from error
        except ValueError as error:
            raise DatasetError(path, f"is not an array of numbers: {error}") from error
        if values.ndim != 2 or not values.size or values.dtype.kind != "f":
            problem = f"must be floats (items, dim), not {values.dtype} {values.shape}"
            raise DatasetError(path, problem)
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise DatasetError(path, "NaN or infinite value", row=int(bad.argmax()))
        if len(ids) != len(values):
            raise DatasetError(ids_path, f"has {len(ids)} ids for {len(values)} vectors")
        table = pl.DataFrame({"item_id": ids})
        refuse(table, ids_path, "item_id", ~pl.col("item_id").is_in(item_ids.implode()), "an item")
        refuse_repeated(table, ids_path, "item_id")
        embeddings[name] = (values, ids)
    return embeddings


def _not_csv(path: Path, error: Exception) -> DatasetError:
    return DatasetError(path, f"is not a CSV table: {str(error).partition(chr(10))[0]}")


def _unreadable(path: Path, columns: Columns, error: Exception) -> DatasetError:
    """Find the first value that is not of its column's type, by reading it all as text."""
    text = pl.scan_csv(path, infer_schema=False)
    for name, kind in columns.items():
        bad = pl.col(name).is_not_null() & pl.col(name).cast(kind, strict=False).is_null()
        try:
            first = text.select(name).with_row_index("row").filter(bad).head(1).collect()
        except pl.exceptions.PolarsError as worse:
            return _not_csv(path, worse)
        if len(first):
            wanted = "a whole number" if kind.is_integer() else "a number"
            problem = f"{first[name][0]!r} is not {wanted}"
            return DatasetError(path, problem, column=name, row=first["row"][0])
    return _not_csv(path, error)
