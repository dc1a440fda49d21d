"""Item embeddings: float arrays ``.npy`` with a text file of item ids, or tables of vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contract.manifest import Modality
from service.contract.records import MAX_VALUE
from training.arrays import Flags, Rows
from training.data.columns import Floats, column, id_column, refuse
from training.data.parquet import MISSING, SUFFIX
from training.data.parts import find_parts
from training.data.schema import Description, Embedding
from training.data.storage import Storage, spans
from training.errors import DatasetError

_ARRAY, _IDS = ".npy", ".ids.txt"
_CHUNK_ROWS = 2**16  # items that are checked or copied at once
_LARGE_BYTES = 2**28  # an array that may be mapped for as long as the dataset is open

Values = NDArray[np.floating]


@dataclass(frozen=True)
class Piece:
    """Vectors of one modality: a file ``path``, and ``ids_path``, the file of its item ids."""

    path: Path
    ids_path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, each once."""
        return (self.path,) if self.path == self.ids_path else (self.path, self.ids_path)

    def read(self, description: Description) -> tuple[Values, list[str]]:
        """Return vectors (n, dim), of an array mapped from its file, and their n item ids."""
        if self.path == self.ids_path:
            return _read_table(self.path, description)
        return read_vectors(self.path, self.ids_path)


def find_pieces(folder: Path, description: Description) -> dict[str, list[Piece]]:
    """Return the pieces of each modality by name, in the order of their paths.

    Raises DatasetError for a folder that holds other files or none.
    """
    return {name: _pieces(folder, value) for name, value in description.embeddings.items()}


def _pieces(folder: Path, embedding: Embedding) -> list[Piece]:
    path = folder / embedding.values
    if not path.is_dir():
        if path.suffix == SUFFIX:
            return [Piece(path, path)]
        ids = path.with_suffix(_IDS) if embedding.ids is None else folder / embedding.ids
        return [Piece(path, ids)]
    if embedding.ids is not None:
        problem = f"is a folder, whose arrays x{_ARRAY} have their ids in x{_IDS}; remove 'ids'"
        raise DatasetError(path, problem)
    entries = sorted(entry for entry in path.iterdir() if entry.name[0] not in "._")
    if not any(entry.suffix == _ARRAY for entry in entries):
        return [Piece(part.path, part.path) for part in find_parts(path)]
    for entry in entries:
        if not (entry.suffix == _ARRAY or entry.name.endswith(_IDS)):
            problem = f"is neither an array *{_ARRAY} nor its ids *{_IDS}; move it out"
            raise DatasetError(entry, problem)
    arrays = [entry for entry in entries if entry.suffix == _ARRAY]
    return [Piece(array, array.with_suffix(_IDS)) for array in arrays]


def read_vectors(path: Path, ids_path: Path, *, missing: str = MISSING) -> tuple[Values, list[str]]:
    """Return vectors (n, dim) of any float type, mapped from ``path``, and their n item ids.

    Values and ids themselves are not checked. Raises DatasetError, with ``missing`` as the problem
    where a file is missing.
    """
    try:
        ids = ids_path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
        values = _mapped(path)
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


def _mapped(path: Path) -> Values:
    """Return an array whose changes stay in memory; raises ValueError, FileNotFoundError."""
    try:
        return np.lib.format.open_memmap(path, mode="c")
    except ValueError:  # an empty array cannot be mapped; the other reader says what is wrong
        with path.open("rb") as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _read_table(path: Path, description: Description) -> tuple[Values, list[str]]:
    """Return the columns ``vector`` and ``item_id`` of a table."""
    (part,) = find_parts(path)
    table = part.read(part.scan(description).select(pl.col("^(item_id|vector)$")))
    ids, vectors = id_column(table, path, "item_id"), column(table, path, "vector")
    refuse(ids.is_null().to_numpy(), path, "item_id", "an id is empty")
    refuse(vectors.is_null().to_numpy(), path, "vector", "is empty: leave the item out")
    inner = getattr(vectors.dtype, "inner", None)
    if inner is None or not inner.is_float() or not len(vectors):
        problem = f"must be lists of floats, not {vectors.dtype} ({len(vectors)} rows)"
        raise DatasetError(path, problem, column="vector")
    if isinstance(vectors.dtype, pl.List):
        sizes = vectors.list.len()
        odd = (sizes != sizes[0]).to_numpy()
        refuse(odd, path, "vector", f"has {{value}} numbers, the first row {sizes[0]}", sizes)
        vectors = vectors.list.to_array(sizes[0])
    flat = vectors.explode(empty_as_null=False).to_numpy()
    return flat.reshape(len(vectors), -1), ids.to_list()


def read_modalities(
    found: dict[str, list[Piece]],
    description: Description,
    item_ids: list[str],
    storage: Storage,
    attributes: tuple[Modality, Floats, Flags] | None = None,
) -> tuple[tuple[Modality, ...], Floats, Flags]:
    """Read the modalities whose pieces were found; D is the sum of their dims.

    Returns the modalities, their vectors (I, D) side by side with zeros where an item lacks one,
    and a mask (I, M) of the modalities that each item has. The last is ``attributes``, if given.
    The vectors are an array of ``storage``, or a large array's file itself where it holds just
    them: one modality of 32-bit floats, the items in the order of their table.
    """
    pieces = {name: [(piece, *piece.read(description)) for piece in found[name]] for name in found}
    modalities = [Modality(name=name, dim=_dim(name, read)) for name, read in pieces.items()]
    extra = () if attributes is None else (attributes[0],)
    row_of = {item_id: row for row, item_id in enumerate(item_ids)}
    mask = np.zeros((len(item_ids), len(modalities) + len(extra)), np.bool_)
    whole = _whole(list(pieces.values()), item_ids, bool(extra))
    embedding = whole
    if embedding is None:
        width = sum(modality.dim for modality in (*modalities, *extra))
        embedding = storage.empty((len(item_ids), width), np.float32)
        embedding[:] = 0.0
    start = 0
    for index, modality in enumerate(modalities):
        columns = slice(start, start + modality.dim)
        for piece, values, ids in pieces[modality.name]:
            rows = _item_rows(piece, modality.name, ids, row_of, mask[:, index])
            for span in spans(len(values), _CHUNK_ROWS):
                _refuse_beyond(piece.path, modality.name, values[span], span.start)
                if whole is None:
                    embedding[rows[span], columns] = values[span]
        start = columns.stop
    if attributes is not None:
        embedding[:, start:], mask[:, -1] = attributes[1], attributes[2]
    return (*modalities, *extra), embedding, mask


def _dim(name: str, read: list[tuple[Piece, Values, list[str]]]) -> int:
    dim = read[0][1].shape[1]
    for piece, values, _ in read:
        if values.shape[1] != dim:
            problem = f"has {values.shape[1]} dimensions, but {read[0][0].path.name} has {dim}"
            raise DatasetError(piece.path, problem, column=name)
    return int(dim)


def _whole(
    modalities: list[list[tuple[Piece, Values, list[str]]]], item_ids: list[str], extra: bool
) -> Floats | None:
    """Return the large array that is all there is to read, or None."""
    if extra or len(modalities) != 1 or len(modalities[0]) != 1:
        return None
    ((_, values, ids),) = modalities[0]
    lies_right = values.dtype == np.float32 and values.flags.c_contiguous and ids == item_ids
    return values if lies_right and values.nbytes >= _LARGE_BYTES else None


def _item_rows(piece: Piece, name: str, ids: list[str], row_of: dict[str, int], has: Flags) -> Rows:
    """Return the items' rows (n,) and note them in ``has`` (I,); raises DatasetError."""
    place = piece.ids_path
    unlisted = np.fromiter((item_id not in row_of for item_id in ids), np.bool_, len(ids))
    refuse(unlisted, place, name, "{value!r} is not in the table of items", ids)
    rows = np.fromiter((row_of[item_id] for item_id in ids), np.int64, len(ids))
    repeated = np.ones(len(ids), np.bool_)
    repeated[np.unique(rows, return_index=True)[1]] = False
    refuse(repeated | has[rows], place, name, "{value!r} occurs twice", ids)
    has[rows] = True
    return rows


def _refuse_beyond(path: Path, name: str, values: Values, start: int) -> None:
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite
        in_range = np.abs(values.astype(np.float32)) <= MAX_VALUE
    beyond = np.flatnonzero(~in_range.all(axis=1))
    if len(beyond):
        problem = f"NaN, infinite or beyond {MAX_VALUE:g}"
        raise DatasetError(path, problem, column=name, row=start + int(beyond[0]))
