"""Opening a dataset folder: everything is validated once, ids become rows, columns arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from service.contract.files import sha256
from service.contract.keys import MAX_ID_CHARS
from service.contract.manifest import Modality, Proxy
from service.contract.records import MAX_VALUE
from training.arrays import Flags
from training.data.columns import Floats, column, id_column, numbers, proxy_values, read, refuse
from training.data.impressions import SPLITS, Impressions, read_impressions
from training.data.schema import DESCRIPTION, Description, read_description
from training.data.storage import MEMORY, Storage
from training.errors import DatasetError

__all__ = ["SPLITS", "Dataset", "Impressions", "open_dataset"]


@dataclass(frozen=True)
class Dataset:
    """A validated dataset folder: its tables in memory, what grows with impressions in ``storage``.

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
    storage: Storage = MEMORY

    def with_proxies(self, proxies: Floats) -> Dataset:
        """Return the dataset with other impression proxies (R, P)."""
        return replace(self, impressions=replace(self.impressions, proxies=proxies))

    @property
    def proxy_fields(self) -> tuple[Proxy, ...]:
        """The proxies in the order of the columns of ``proxies``."""
        return self.description.proxies


def open_dataset(folder: Path, scratch: Path | None = None) -> Dataset:
    """Read and validate ``folder``; raises DatasetError naming file, column and first bad row.

    Given ``scratch``, a folder on disk, impressions live in files there and may exceed memory;
    nothing else differs.
    """
    description = read_description(folder)
    users_path, items_path = folder / description.users, folder / description.items
    users, items = read(users_path), read(items_path)
    user_ids = _ids(users, users_path, "user_id")
    item_ids = _ids(items, items_path, "item_id")
    modalities, embedding, mask = _embeddings(folder, description, item_ids)
    proxies = proxy_values(items, items_path, description, required=True)
    storage = Storage(scratch)
    return Dataset(
        path=folder,
        description=description,
        user_ids=user_ids,
        item_ids=item_ids,
        titles=_titles(items, items_path, description, item_ids),
        modalities=modalities,
        embedding=embedding,
        modality_mask=mask,
        proxies=proxies,
        user_attributes=numbers(users, users_path, description.user_attributes, finite=True),
        impressions=read_impressions(
            folder / description.impressions,
            description,
            user_ids=users["user_id"],
            item_ids=items["item_id"],
            item_proxies=proxies,
            storage=storage,
        ),
        fingerprint=_fingerprint(folder, description),  # last: every file is known to exist
        storage=storage,
    )


def _ids(table: pl.DataFrame, path: Path, name: str) -> list[str]:
    found = id_column(table, path, name)
    if not len(found):
        raise DatasetError(path, "has no rows")
    ids = found.to_list()
    empty = found.is_null() | (found == "").fill_null(True)
    refuse(empty.to_numpy(), path, name, "an id is empty")
    long = found.str.len_chars() > MAX_ID_CHARS
    refuse(long.to_numpy(), path, name, f"an id has over {MAX_ID_CHARS} characters")
    control = found.str.contains(r"[\x00-\x1f\x7f]")
    refuse(control.to_numpy(), path, name, "the id {value!r} has a control character", ids)
    twice = ~found.is_first_distinct()
    refuse(twice.to_numpy(), path, name, "the id {value!r} occurs twice", ids)
    return ids


def _titles(
    items: pl.DataFrame, path: Path, description: Description, item_ids: list[str]
) -> list[str]:
    if description.title is None:
        return item_ids
    found = column(items, path, description.title).cast(pl.String)
    return [title or item_id for title, item_id in zip(found, item_ids, strict=True)]


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
        refuse(~np.asarray(near.all(axis=1)), path, name, f"NaN, infinite or beyond {MAX_VALUE:g}")
        known = np.fromiter((item_id in row_of for item_id in ids), np.bool_, len(ids))
        refuse(
            ~known,
            ids_path,
            name,
            "{value!r} is not in the items table",
            ids,
        )
        rows = np.fromiter((row_of[item_id] for item_id in ids), np.int64, len(ids))
        twice = np.ones(len(ids), np.bool_)
        twice[np.unique(rows, return_index=True)[1]] = False
        refuse(twice, ids_path, name, "{value!r} occurs twice", ids)
        block = np.zeros((len(item_ids), values.shape[1]), np.float32)
        block[rows], mask[rows, index] = values, True
        blocks.append(block)
        modalities.append(Modality(name=name, dim=values.shape[1]))
    return tuple(modalities), np.concatenate(blocks, axis=1), mask


def _fingerprint(folder: Path, description: Description) -> str:
    """Return one SHA-256 over the names and contents of all files of the folder."""
    names = [DESCRIPTION, description.impressions, description.items, description.users]
    for embedding in description.embeddings.values():
        names += [embedding.values, embedding.ids]
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\0{sha256(folder / name)}\0".encode())
    return digest.hexdigest()
