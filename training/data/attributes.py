"""Attributes of users and items as numbers: categorical columns one-hot, unknown values neutral."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contract.attributes import ATTRIBUTES, Coding
from service.contract.manifest import Modality
from training.arrays import Flags
from training.data.columns import Floats, column, number, refuse, texts
from training.errors import DatasetError

MAX_CATEGORIES = 64  # of one column; rarer ones share a column, "other"
_TEXT = (pl.String, pl.Categorical, pl.Enum)


def learn_codings(table: pl.DataFrame, path: Path, names: tuple[str, ...]) -> tuple[Coding, ...]:
    """Return the codings of the columns ``names``.

    Raises DatasetError for a column that is missing, is neither numeric nor text, has an infinite
    value, or has no value at all.
    """
    return tuple(_learn(table, path, name) for name in names)


def _learn(table: pl.DataFrame, path: Path, name: str) -> Coding:
    values = column(table, path, name)
    if values.null_count() == len(values):
        raise DatasetError(path, "has no value; leave it out of the attributes", column=name)
    if isinstance(values.dtype, _TEXT):
        counts = texts(table, path, name).drop_nulls().value_counts()
        kept = counts.sort(["count", name], descending=[True, False]).head(MAX_CATEGORIES)[name]
        return Coding(name=name, categories=tuple(kept.sort()), other=len(counts) > len(kept))
    numbers = number(table, path, name, finite=False)
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        raise DatasetError(path, "has no value; leave it out of the attributes", column=name)
    return Coding(name=name, mean=known.mean(), deviation=known.std() or 1.0)


def user_values(table: pl.DataFrame, path: Path, codings: tuple[Coding, ...]) -> Floats:
    """Return users' attributes (U, A) in their own units; an unknown number is the mean."""
    blocks = []
    for coding in codings:
        block = _encode(table, path, coding)
        beyond = np.abs(block[:, 0]) > np.finfo(np.float32).max
        problem = "{value} is beyond the range of 32-bit floats"
        refuse(beyond, path, coding.name, problem, table[coding.name])
        blocks.append(np.where(np.isnan(block), coding.mean, block))
    return _joined(blocks, len(table))


def item_modality(
    table: pl.DataFrame, path: Path, codings: tuple[Coding, ...]
) -> tuple[Modality, Floats, Flags]:
    """Return items' attributes as a modality: its values (I, dim), and which items (I,) have it.

    Numbers are standardised and bounded by ten deviations. An unknown value is zeros; an item
    without any value lacks the modality.
    """
    known = np.zeros(len(table), np.bool_)
    blocks = []
    for coding in codings:
        block = _encode(table, path, coding)
        if coding.numeric:
            known |= ~np.isnan(block[:, 0])
            block = coding.standardised(block)
        else:
            known |= table[coding.name].is_not_null().to_numpy()
        blocks.append(block)
    modality = Modality(name=ATTRIBUTES, dim=sum(coding.dim for coding in codings))
    return modality, _joined(blocks, len(table)), known


def _encode(table: pl.DataFrame, path: Path, coding: Coding) -> NDArray[np.float64]:
    """Return one column as (rows, dim): NaN for an unknown number, zeros for an unknown text."""
    if coding.numeric:
        return number(table, path, coding.name, finite=False)[:, None]
    values = texts(table, path, coding.name)
    codes = values.replace_strict(
        coding.codes(),
        default=len(coding.categories),
        return_dtype=pl.Int64,
    ).to_numpy()
    return coding.one_hot(codes, values.is_not_null().to_numpy())


def _joined(blocks: list[NDArray[np.float64]], rows: int) -> Floats:
    return np.concatenate([np.empty((rows, 0)), *blocks], axis=1).astype(np.float32)
