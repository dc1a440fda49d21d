"""The columns of impressions, and the checks of their values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.arrays import Flags, Rows
from training.data.columns import (
    Floats,
    id_column,
    number,
    proxy_values,
    refuse,
    texts,
)
from training.data.row_files import Columns
from training.data.schema import Description
from training.errors import DatasetError

REQUIRED = ("user_id", "item_id", "label", "exposure")
OPTIONAL = ("position", "propensity", "split")
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


def known_columns(description: Description) -> set[str]:
    """Return the columns of a log that are read where it has them."""
    proxies = (proxy.name for proxy in description.proxies)
    return {*REQUIRED, *OPTIONAL, description.time_column, *proxies}


def array_columns(description: Description, names: Collection[str]) -> Columns:
    """Return shape and type of the arrays of a log that has the columns ``names``."""
    optional: Columns = {"position": ((), np.int64), "propensity": ((), np.float32)}
    optional["split"] = ((), np.int64)
    return {
        "user": ((), np.int64),
        "item": ((), np.int64),
        "label": ((), np.float32),
        "timestamp": ((), np.float64),
        "proxies": ((len(description.proxies),), np.float32),
        "uniform": ((), np.bool_),
        **{name: column for name, column in optional.items() if name in names},
    }


def checked_impressions(
    table: pl.DataFrame,
    path: Path,
    description: Description,
    row_numbers: dict[str, pl.DataFrame],
    item_proxies: Floats,
) -> Impressions:
    """Return rows of the part ``path`` as arrays.

    ``row_numbers``: by "user_id" and "item_id", what ``numbered`` returns; ``item_proxies`` (I, P)
    replace proxies for which the table has no column. Raises DatasetError naming file, column and
    first bad row.
    """
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
        timestamp=_timestamps(table, path, description.time_column),
        proxies=proxies,
        uniform=uniform,
        position=_positions(table, path),
        propensity=_propensities(table, path),
        split=_splits(table, path, uniform),
    )


def numbered(ids: pl.Series) -> pl.DataFrame:
    """Return the ids of a table of users or items with the numbers of their rows."""
    return pl.DataFrame({"id": ids, "row": pl.Series(range(len(ids)), dtype=pl.Int64)})


def _rows(table: pl.DataFrame, path: Path, name: str, row_numbers: dict[str, pl.DataFrame]) -> Rows:
    """Map an id column to rows of the table of users or items."""
    ids = id_column(table, path, name)
    joined = ids.to_frame("id").join(row_numbers[name], on="id", how="left", maintain_order="left")
    unlisted = joined["row"].is_null().to_numpy()
    problem = "{value!r} is not in the table of " + name.removesuffix("_id") + "s"
    refuse(unlisted, path, name, problem, ids)
    return joined["row"].to_numpy()


def check_time_type(dtype: pl.DataType, path: Path, name: str) -> None:
    """Raise DatasetError for a column of times that holds none."""
    if not (dtype.is_numeric() or isinstance(dtype, pl.Date | pl.Datetime)):
        problem = f"must be a time, a number or a datetime, not {dtype}; cast it"
        raise DatasetError(path, problem, column=name)


def _timestamps(table: pl.DataFrame, path: Path, name: str) -> NDArray[np.float64]:
    if name not in table.columns:
        return np.zeros(len(table))
    times = table[name]
    check_time_type(times.dtype, path, name)
    if isinstance(times.dtype, pl.Date | pl.Datetime):
        times = times.cast(pl.Datetime("us")).to_physical()
    values = times.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    refuse(~np.isfinite(values), path, name, "{value} is not a time", times)
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
