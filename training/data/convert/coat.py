"""Coat shopping (Schnabel et al., "Recommendations as Treatments", ICML 2016).

Users rated 24 coats of their own choice and 16 chosen uniformly at random. The owners' files are
space-separated matrices without a header: ``train.ascii`` and ``test.ascii`` hold ratings (users,
items), 0 = not rated, else 1 to 5; ``user_features.ascii`` and ``item_features.ascii`` hold 0 or 1,
and their ``*_features_map.txt`` name the columns, one ``group:value`` a line.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contract.manifest import Proxy
from training.data.columns import Floats
from training.data.convert.tables import missing
from training.data.writer import refuse_existing, write_dataset
from training.errors import DatasetError

POSITIVE_RATING = 4
FRONT_PAGE = "onfrontpage"
ITEM_KIND = "jackettype"


def prepare_coat(source: Path, out: Path) -> None:
    """Convert the owners' files in ``source`` into the dataset folder ``out``.

    Label: rating >= 4. Logged rows are the ratings of ``train.ascii``; uniform rows are those of
    ``test.ascii`` without the cells that both rate. Timestamps are unknown: constant 0. The display
    slot ``onfrontpage`` is the one proxy (categorical, one value an item); the other item features
    are the modality ``attributes``; user features are ``user_attributes``. Raises DatasetError
    naming the file that is missing or malformed.
    """
    refuse_existing(out)
    user_features, user_names = _features(source, "user")
    item_features, item_names = _features(source, "item")
    shape = (len(user_features), len(item_features))
    logged = _ratings(source / "train.ascii", shape)
    uniform = np.where(logged > 0, 0, _ratings(source / "test.ascii", shape))

    user_ids = np.array([f"u{row:03d}" for row in range(shape[0])])
    item_ids = np.array([f"i{row:03d}" for row in range(shape[1])])
    is_slot = np.array([group == FRONT_PAGE for group, _ in item_names])
    slots = tuple(value for group, value in item_names if group == FRONT_PAGE)
    slot = _one_of(item_features[:, is_slot], source / "item_features.ascii", FRONT_PAGE)
    columns = {_column_name(group, value): k for k, (group, value) in enumerate(user_names)}
    write_dataset(
        out,
        name="coat",
        impressions=pl.concat(
            [
                _impressions(logged, "logged", user_ids, item_ids),
                _impressions(uniform, "uniform", user_ids, item_ids),
            ]
        ),
        items=pl.DataFrame(
            {
                "item_id": item_ids,
                "title": _titles(item_features, item_names),
                FRONT_PAGE: np.array(slots)[slot],
            }
        ),
        users=pl.DataFrame(
            {"user_id": user_ids} | {name: user_features[:, k] for name, k in columns.items()}
        ),
        embeddings={"attributes": (item_features[:, ~is_slot], item_ids.tolist())},
        proxies=(Proxy(name=FRONT_PAGE, kind="categorical", categories=slots),),
        title="title",
        user_attributes=tuple(columns),
    )


def _matrix(path: Path) -> Floats:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy warns of an empty file and goes on
            return np.loadtxt(path, dtype=np.float32, ndmin=2, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise missing(path) from error
    except (ValueError, UserWarning) as error:
        raise DatasetError(path, f"must be a matrix of space-separated numbers: {error}") from error


def _refuse(bad: NDArray[np.bool_], path: Path, values: Floats, rule: str) -> None:
    """Raise DatasetError for the first True cell of ``bad`` (rows, columns)."""
    if bad.any():
        row, column = np.unravel_index(int(bad.argmax()), bad.shape)
        problem = f"{values[row, column]:g} is not {rule}"
        raise DatasetError(path, problem, column=str(column), row=int(row))


def _ratings(path: Path, shape: tuple[int, int]) -> Floats:
    values = _matrix(path)
    if values.shape != shape:
        problem = f"is {values.shape}, not (users, items) = {shape} as in the feature files"
        raise DatasetError(path, problem)
    _refuse(~np.isin(values, range(6)), path, values, "a rating 0 (none) or 1 to 5")
    return values


def _features(source: Path, owner: str) -> tuple[Floats, list[tuple[str, str]]]:
    """Return the features 0 or 1 (rows, F) of users or items, and their F names (group, value)."""
    path, map_path = source / f"{owner}_features.ascii", source / f"{owner}_features_map.txt"
    values = _matrix(path)
    _refuse((values != 0) & (values != 1), path, values, "0 or 1")
    try:
        lines = map_path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise missing(map_path) from error
    except UnicodeDecodeError as error:
        raise DatasetError(map_path, f"is not UTF-8 text: {error}") from error
    names = [line.partition(":")[::2] for line in lines if line]
    if len(names) != values.shape[1]:
        problem = f"lists {len(names)} features; {path.name} has {values.shape[1]} columns"
        raise DatasetError(map_path, problem)
    for row, (group, value) in enumerate(names):
        if not group or not value:
            raise DatasetError(map_path, "must be a feature 'group:value'", row=row)
    return values, names


def _one_of(flags: Floats, path: Path, group: str) -> NDArray[np.intp]:
    """Return the index of the single 1 of each row."""
    bad = flags.sum(axis=1) != 1
    if bad.any():
        raise DatasetError(
            path, "needs exactly one 1 in this group", column=group, row=int(bad.argmax())
        )
    index: NDArray[np.intp] = flags.argmax(axis=1)
    return index


def _column_name(group: str, value: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", f"{group}_{value}".lower()).strip("_")


def _titles(features: Floats, names: list[tuple[str, str]]) -> list[str]:
    """Return titles such as 'women parkas jacket black #017'; the number makes them unique."""
    words = [f"{value} jacket" if group == ITEM_KIND else value for group, value in names]
    columns = [k for k, (group, _) in enumerate(names) if group != FRONT_PAGE]
    return [
        " ".join([*(words[k] for k in columns if row[k]), f"#{number:03d}"])
        for number, row in enumerate(features)
    ]


def _impressions(
    ratings: Floats, exposure: str, user_ids: NDArray[np.str_], item_ids: NDArray[np.str_]
) -> pl.DataFrame:
    user, item = np.nonzero(ratings)
    return pl.DataFrame(
        {
            "user_id": user_ids[user],
            "item_id": item_ids[item],
            "label": (ratings[user, item] >= POSITIVE_RATING).astype(np.int8),
            "timestamp": np.zeros(len(user), np.int64),
        }
    ).with_columns(exposure=pl.lit(exposure))
