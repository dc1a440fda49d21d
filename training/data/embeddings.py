"""Item embeddings: a float array ``.npy`` and a text file with the item ids of its rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import Modality
from service.contract.records import MAX_VALUE
from training.arrays import Flags
from training.data.columns import Floats, refuse
from training.data.parquet import MISSING
from training.data.schema import Description
from training.errors import DatasetError


def read_vectors(
    path: Path, ids_path: Path, *, missing: str = MISSING
) -> tuple[NDArray[np.floating], list[str]]:
    """Read vectors (n, dim) of any float type and their n item ids, one per line.

    Values and ids themselves are not checked. Raises DatasetError, with ``missing`` as the problem
    where a file is missing.
    """
    try:
        ids = ids_path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
        with path.open("rb") as file:
            values = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise DatasetError(Path(error.filename), missing) from error
    except UnicodeDecodeError as error:
        raise DatasetError(ids_path, f"is not UTF-8 text: {error}") from error
    except ValueError as error:
        raise DatasetError(path, f"is not an array of numbers: {error}") from error
    if values.ndim != 2 or not values.size or values.dtype.kind != "f":
        problem = f"must be floats (items, dim), not {values.dtype} {values.shape}"
        raise DatasetError(path, problem)
    if len(ids) != len(values):
        raise DatasetError(ids_path, f"has {len(ids)} ids for {len(values)} vectors")
    return values, ids


def read_modalities(
    folder: Path, description: Description, item_ids: list[str]
) -> tuple[tuple[Modality, ...], Floats, Flags]:
    """Read all modalities of a dataset folder; D is the sum of their dims.

    Returns the modalities, their vectors (I, D) side by side with zeros where an item lacks one,
    and a mask (I, M) of the modalities that each item has.
    """
    row_of = {item_id: row for row, item_id in enumerate(item_ids)}
    blocks: list[Floats] = []
    modalities: list[Modality] = []
    mask = np.zeros((len(item_ids), len(description.embeddings)), np.bool_)
    for index, (name, files) in enumerate(description.embeddings.items()):
        path, ids_path = folder / files.values, folder / files.ids
        values, ids = read_vectors(path, ids_path)
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite
            in_range = np.abs(values.astype(np.float32)) <= MAX_VALUE
        beyond = ~np.asarray(in_range.all(axis=1))
        refuse(beyond, path, name, f"NaN, infinite or beyond {MAX_VALUE:g}")
        unlisted = np.fromiter((item_id not in row_of for item_id in ids), np.bool_, len(ids))
        refuse(unlisted, ids_path, name, "{value!r} is not in the table of items", ids)
        rows = np.fromiter((row_of[item_id] for item_id in ids), np.int64, len(ids))
        repeated = np.ones(len(ids), np.bool_)
        repeated[np.unique(rows, return_index=True)[1]] = False
        refuse(repeated, ids_path, name, "{value!r} occurs twice", ids)
        block = np.zeros((len(item_ids), values.shape[1]), np.float32)
        block[rows], mask[rows, index] = values, True
        blocks.append(block)
        modalities.append(Modality(name=name, dim=values.shape[1]))
    return tuple(modalities), np.concatenate(blocks, axis=1), mask
