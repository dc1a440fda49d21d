"""Opening a dataset folder: everything is validated once, ids become rows, columns arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contract.artifact import sha256
from service.contract.keys import MAX_ID_CHARS
from service.contract.manifest import Modality, Proxy
from service.contract.records import MAX_VALUE
from training.data.schema import DESCRIPTION, Description, read_description
from training.errors import DatasetError

EXPOSURES = ("logged", "uniform")
SPLITS = ("train", "validation", "test")

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Impressions:
    """R impressions as columns; ``user`` and ``item`` are rows of the dataset's tables.

    label (R,) 0 or 1; timestamp (R,) any ordered unit, constant where unknown; proxies (R, P)
    as of the row's time, NaN where unknown; position (R,) 0 = top, or None where not logged;
    propensity (R,) probability of the exposure, or None; uniform (R,) True for randomly exposed
    rows; split (R,) index in ``SPLITS``, or None where the folder leaves the split to training.
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


@dataclass(frozen=True)
class Dataset:
    """A validated dataset folder in memory.

    embedding (I, D) float32, all modalities in order, zeros where absent; modality_mask (I, M);
    proxies (I, P) current values, NaN where unknown; user_attributes (U, A) float32.
    """

    path: Path
    description: Description
    fingerprint: str
    user_ids: list[str]
    item_ids: list[str]
    titles: list[str]
    modalities: tuple[Modality, ...]
    embedding: Floats
    modality_mask: Flags
    proxies: Floats
    user_attributes: Floats
    impressions: Impressions

    def with_proxies(self, proxies: Floats) -> Dataset:
        """Return the dataset with other impression proxies (R, P)."""
        return replace(self, impressions=replace(self.impressions, proxies=proxies))

    @property
    def proxy_fields(self) -> tuple[Proxy, ...]:
        """The proxies in the order of the columns of ``proxies``."""
        return self.description.proxies


def open_dataset(folder: Path) -> Dataset:
    """Read and validate ``folder``; raises DatasetError naming file, column and first bad row."""
    description = read_description(folder)
    users = _read(folder / description.users)
    items = _read(folder / description.items)
    user_ids = _ids(users, folder / description.users, "user_id")
    item_ids = _ids(items, folder / description.items, "item_id")
    modalities, embedding, mask = _embeddings(folder, description, item_ids)
    proxies = _proxies(items, folder / description.items, description, required=True)
    impressions_path = folder / description.impressions
    return Dataset(
        path=folder,
        description=description,
        user_ids=user_ids,
        item_ids=item_ids,
        titles=_titles(items, folder / description.items, description, item_ids),
        modalities=modalities,
        embedding=embedding,
        modality_mask=mask,
        proxies=proxies,
        user_attributes=_numbers(
            users, folder / description.users, description.user_attributes, finite=True
        ),
        impressions=_impressions(impressions_path, description, items, users, proxies),
        fingerprint=_fingerprint(folder, description),  # last: every file is known to exist
    )


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except FileNotFoundError as error:
        raise DatasetError(path, f"is missing; {DESCRIPTION} names it") from error
    except pl.exceptions.PolarsError as error:
        raise DatasetError(path, f"is not a Parquet table: {error}") from error


def _column(table: pl.DataFrame, path: Path, name: str) -> pl.Series:
    if name not in table.columns:
        have = ", ".join(table.columns)
        raise DatasetError(path, f"is missing; the table has {have}", column=name)
    return table[name]


def _refuse(
    bad: NDArray[np.bool_],
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


def _ids(table: pl.DataFrame, path: Path, name: str) -> list[str]:
    column = _column(table, path, name)
    if column.dtype != pl.String:
        raise DatasetError(path, f"ids are strings, not {column.dtype}; cast them", column=name)
    if not len(column):
        raise DatasetError(path, "has no rows")
    ids = column.to_list()
    empty = column.is_null() | (column == "").fill_null(True)
    _refuse(empty.to_numpy(), path, name, "an id is empty")
    long = column.str.len_chars() > MAX_ID_CHARS
    _refuse(long.to_numpy(), path, name, f"an id has over {MAX_ID_CHARS} characters")
    control = column.str.contains(r"[\x00-\x1f\x7f]")
    _refuse(control.to_numpy(), path, name, "the id {value!r} has a control character", ids)
    twice = ~column.is_first_distinct()
    _refuse(twice.to_numpy(), path, name, "the id {value!r} occurs twice", ids)
    return ids


def _titles(
    items: pl.DataFrame, path: Path, description: Description, item_ids: list[str]
) -> list[str]:
    if description.title is None:
        return item_ids
    column = _column(items, path, description.title).cast(pl.String)
    return [title or item_id for title, item_id in zip(column, item_ids, strict=True)]


def _numbers(
    table: pl.DataFrame, path: Path, names: tuple[str, ...], *, finite: bool = False
) -> Floats:
    """Return numeric columns as (rows, len(names)) float32; nulls become NaN."""
    values = np.empty((len(table), len(names)), np.float32)
    for index, name in enumerate(names):
        column = _column(table, path, name)
        if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
            raise DatasetError(path, f"must be numeric, not {column.dtype}", column=name)
        values[:, index] = column.cast(pl.Float32).fill_null(float("nan")).to_numpy()
        bad = ~np.isfinite(values[:, index]) if finite else np.isinf(values[:, index])
        _refuse(bad, path, name, "{value} is not a finite number", column)
    return values


def _proxies(
    table: pl.DataFrame, path: Path, description: Description, *, required: bool
) -> Floats:
    """Return proxies (rows, P): numbers, or the index of a category; NaN where unknown."""
    values = np.full((len(table), len(description.proxies)), np.nan, np.float32)
    for index, proxy in enumerate(description.proxies):
        if proxy.name not in table.columns and not required:
            continue
        if proxy.kind == "numeric":
            values[:, index] = _numbers(table, path, (proxy.name,))[:, 0]
            continue
        column = _column(table, path, proxy.name).cast(pl.String)
        codes = column.replace_strict(
            {category: code for code, category in enumerate(proxy.categories)},
            default=None,
            return_dtype=pl.Float32,
        )
        _refuse(
            (codes.is_null() & column.is_not_null()).to_numpy(),
            path,
            proxy.name,
            "{value!r} is not in the categories that " + DESCRIPTION + " lists",
            column,
        )
        values[:, index] = codes.fill_null(float("nan")).to_numpy()
    return values


def _embeddings(
    folder: Path, description: Description, item_ids: list[str]
) -> tuple[tuple[Modality, ...], Floats, Flags]:
    row_of = {item_id: row for row, item_id in enumerate(item_ids)}
    blocks: list[Floats] = []
    modalities: list[Modality] = []
    mask = np.zeros((len(item_ids), len(description.embeddings)), np.bool_)
    for index, (name, files) in enumerate(description.embeddings.items()):
        path, ids_path = folder / files.values, folder / files.ids
        try:
            ids = ids_path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
            with path.open("rb") as file:
                values = np.lib.format.read_array(file, allow_pickle=False)
        except FileNotFoundError as error:
            raise DatasetError(
                Path(error.filename), f"is missing; {DESCRIPTION} names it"
            ) from error
        except UnicodeDecodeError as error:
            raise DatasetError(ids_path, f"is not UTF-8 text: {error}") from error
        except ValueError as error:
            raise DatasetError(path, f"is not an array of numbers: {error}") from error
        if values.ndim != 2 or not values.shape[1] or values.dtype.kind != "f":
            problem = f"must be floats (items, dim), not {values.dtype} {values.shape}"
            raise DatasetError(path, problem)
        if len(ids) != len(values):
            raise DatasetError(ids_path, f"has {len(ids)} ids for {len(values)} vectors")
        near = np.abs(values.astype(np.float32)) <= MAX_VALUE
        _refuse(~np.asarray(near.all(axis=1)), path, name, f"NaN, infinite or beyond {MAX_VALUE:g}")
        known = np.fromiter((item_id in row_of for item_id in ids), np.bool_, len(ids))
        _refuse(
            ~known,
            ids_path,
            name,
            "{value!r} is not in the items table",
            ids,
        )
        rows = np.fromiter((row_of[item_id] for item_id in ids), np.int64, len(ids))
        twice = np.ones(len(ids), np.bool_)
        twice[np.unique(rows, return_index=True)[1]] = False
        _refuse(twice, ids_path, name, "{value!r} occurs twice", ids)
        block = np.zeros((len(item_ids), values.shape[1]), np.float32)
        block[rows], mask[rows, index] = values, True
        blocks.append(block)
        modalities.append(Modality(name=name, dim=values.shape[1]))
    return tuple(modalities), np.concatenate(blocks, axis=1), mask


def _impressions(
    path: Path,
    description: Description,
    items: pl.DataFrame,
    users: pl.DataFrame,
    item_proxies: Floats,
) -> Impressions:
    table = _read(path)
    if not len(table):
        raise DatasetError(path, "has no rows")
    label = _numbers(table, path, ("label",), finite=True)[:, 0]
    _refuse((label != 0) & (label != 1), path, "label", "{value} is not 0 or 1", label)
    item = _rows(table, path, "item_id", items["item_id"])
    proxies = _proxies(table, path, description, required=False)
    static = [i for i, proxy in enumerate(description.proxies) if proxy.name not in table.columns]
    proxies[:, static] = item_proxies[item][:, static]
    return Impressions(
        user=_rows(table, path, "user_id", users["user_id"]),
        item=item,
        label=label,
        timestamp=_timestamps(table, path),
        proxies=proxies,
        uniform=_choice(table, path, "exposure", EXPOSURES) == EXPOSURES.index("uniform"),
        position=_positions(table, path),
        propensity=_propensities(table, path),
        split=_choice(table, path, "split", SPLITS) if "split" in table.columns else None,
    )


def _rows(table: pl.DataFrame, path: Path, name: str, ids: pl.Series) -> Rows:
    """Map an id column to rows of the table that owns the ids."""
    column = _column(table, path, name)
    if column.dtype != pl.String:
        raise DatasetError(path, f"ids are strings, not {column.dtype}; cast them", column=name)
    rows = column.replace_strict(
        ids, pl.Series(range(len(ids)), dtype=pl.Int64), default=None, return_dtype=pl.Int64
    )
    _refuse(
        rows.is_null().to_numpy(),
        path,
        name,
        "{value!r} is not in the table of " + name.removesuffix("_id") + "s",
        column,
    )
    return rows.to_numpy().copy()


def _timestamps(table: pl.DataFrame, path: Path) -> NDArray[np.float64]:
    column = _column(table, path, "timestamp")
    if column.dtype.is_temporal():
        column = column.cast(pl.Datetime("ms")).to_physical()
    if not column.dtype.is_numeric():
        raise DatasetError(path, f"must be a time, not {column.dtype}", column="timestamp")
    values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    _refuse(~np.isfinite(values), path, "timestamp", "{value} is not a time", column)
    return values.copy()


def _choice(table: pl.DataFrame, path: Path, name: str, choices: tuple[str, ...]) -> Rows:
    column = _column(table, path, name).cast(pl.String)
    codes = column.replace_strict(
        {choice: code for code, choice in enumerate(choices)},
        default=None,
        return_dtype=pl.Int64,
    )
    wanted = " or ".join(choices)
    _refuse(codes.is_null().to_numpy(), path, name, "{value!r} is not " + wanted, column)
    return codes.to_numpy().copy()


def _positions(table: pl.DataFrame, path: Path) -> Rows | None:
    if "position" not in table.columns:
        return None
    values = _numbers(table, path, ("position",), finite=True)[:, 0]
    bad = (values < 0) | (values != np.floor(values))
    _refuse(bad, path, "position", "{value} is not 0, 1, 2, ...", values)
    return values.astype(np.int64)


def _propensities(table: pl.DataFrame, path: Path) -> Floats | None:
    if "propensity" not in table.columns:
        return None
    values = _numbers(table, path, ("propensity",), finite=True)[:, 0]
    bad = (values <= 0) | (values > 1)
    _refuse(bad, path, "propensity", "{value} is not in (0, 1]", values)
    return values


def _fingerprint(folder: Path, description: Description) -> str:
    """Return one SHA-256 over the names and contents of all files of the folder."""
    names = [DESCRIPTION, description.impressions, description.items, description.users]
    for embedding in description.embeddings.values():
        names += [embedding.values, embedding.ids]
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\0{sha256(folder / name)}\0".encode())
    return digest.hexdigest()
