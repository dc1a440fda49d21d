"""Opening a dataset folder: all is validated once; ids become row numbers, columns arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from service.contract.files import sha256
from service.contract.keys import MAX_ID_CHARS
from service.contract.manifest import Modality, Proxy
from training.arrays import Flags
from training.data import parquet
from training.data.attributes import Coding, item_modality, learn_codings, user_values
from training.data.columns import (
    Floats,
    id_column,
    numeric_proxies,
    proxy_values,
    refuse,
    refuse_rounded,
    texts,
)
from training.data.embeddings import read_modalities
from training.data.impressions import COLUMNS, SPLITS, Impressions, read_impressions
from training.data.plausibility import warn_of_implausible
from training.data.schema import DESCRIPTION, Description, read_description
from training.data.storage import MEMORY, Storage
from training.errors import DatasetError

__all__ = ["SPLITS", "Dataset", "Impressions", "open_dataset"]


@dataclass(frozen=True)
class Dataset:
    """A validated dataset folder: tables in memory, arrays over impressions in ``storage``.

    embedding (I, D) float32, all modalities in order, zeros where absent; modality_mask (I, M). The
    item attributes are the last modality; item_codings and user_codings say how attributes became
    numbers. proxies (I, P) current values, NaN where unknown; user_attributes (U, A) float32;
    fingerprint SHA-256 over the files.
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
    item_codings: tuple[Coding, ...] = ()
    user_codings: tuple[Coding, ...] = ()
    unread: tuple[str, ...] = ()  # "file: column" that the description does not name

    def with_proxies(self, proxies: Floats) -> Dataset:
        """Return the dataset with other impression proxies (R, P)."""
        return replace(self, impressions=replace(self.impressions, proxies=proxies))

    @property
    def proxy_fields(self) -> tuple[Proxy, ...]:
        """The proxies in the order of the columns of ``proxies``."""
        return self.description.proxies


def open_dataset(
    folder: Path,
    scratch: Path | None = None,
    item_codings: tuple[Coding, ...] = (),
    user_codings: tuple[Coding, ...] = (),
) -> Dataset:
    """Read and validate ``folder``; raises DatasetError naming file, column and first bad row.

    Warns of data that are valid but not plausible. With ``scratch``, a folder on disk, arrays over
    impressions are files there and may exceed memory; their values are the same. ``item_codings``
    and ``user_codings`` are those of a model's training; without them, or for other attributes,
    they are learned anew.
    """
    description = read_description(folder)
    users_path, items_path = folder / description.users, folder / description.items
    users, items = parquet.read(users_path), parquet.read(items_path)
    user_ids = _ids(users, users_path, "user_id")
    item_ids = _ids(items, items_path, "item_id")
    modalities, embedding, mask = read_modalities(folder, description, item_ids)
    proxies = proxy_values(items, items_path, description, required=True)
    refuse_rounded(items.lazy(), items_path, numeric_proxies(description, items.columns))
    if tuple(coding.name for coding in user_codings) != description.user_attributes:
        user_codings = learn_codings(users, users_path, description.user_attributes)
    attributes = user_values(users, users_path, user_codings)
    numeric = [coding.name for coding in user_codings if coding.numeric]
    refuse_rounded(users.lazy(), users_path, numeric)
    if tuple(coding.name for coding in item_codings) != description.item_attributes:
        item_codings = learn_codings(items, items_path, description.item_attributes)
    if item_codings:
        modality, values, known = item_modality(items, items_path, item_codings)
        modalities = (*modalities, modality)
        embedding = np.concatenate([embedding, values], axis=1)
        mask = np.column_stack([mask, known])
    storage = Storage(scratch)
    impressions_path = folder / description.impressions
    impressions = read_impressions(
        impressions_path,
        description,
        user_ids=users["user_id"],
        item_ids=items["item_id"],
        item_proxies=proxies,
        storage=storage,
    )
    warn_of_implausible(impressions_path, description, impressions)
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
        user_attributes=attributes,
        impressions=impressions,
        fingerprint=_fingerprint(folder, description),  # last: the checks above name a missing file
        storage=storage,
        item_codings=item_codings,
        user_codings=user_codings,
        unread=_unread(folder, description, users, items),
    )


def _ids(table: pl.DataFrame, path: Path, name: str) -> list[str]:
    """Return the ids of a table; raises DatasetError for a bad or repeated one."""
    values = id_column(table, path, name)
    if not len(values):
        raise DatasetError(path, "has no rows")
    ids = values.to_list()
    empty = values.is_null() | (values == "").fill_null(True)
    refuse(empty.to_numpy(), path, name, "an id is empty")
    long = values.str.len_chars() > MAX_ID_CHARS
    refuse(long.to_numpy(), path, name, f"an id has over {MAX_ID_CHARS} characters")
    control = values.str.contains(r"[\x00-\x1f\x7f]")
    refuse(control.to_numpy(), path, name, "the id {value!r} has a control character", ids)
    repeated = ~values.is_first_distinct()
    refuse(repeated.to_numpy(), path, name, "the id {value!r} occurs twice", ids)
    return ids


def _titles(
    items: pl.DataFrame, path: Path, description: Description, item_ids: list[str]
) -> list[str]:
    """Return the titles of items, or their ids where a title is empty."""
    if description.title is None:
        return item_ids
    titles = texts(items, path, description.title)
    return [title or item_id for title, item_id in zip(titles, item_ids, strict=True)]


def _unread(
    folder: Path, description: Description, users: pl.DataFrame, items: pl.DataFrame
) -> tuple[str, ...]:
    """Return the columns of the tables that the description does not name, as "file: column"."""
    impressions = parquet.scan(*parquet.parts(folder / description.impressions)).collect_schema()
    proxies = {proxy.name for proxy in description.proxies}
    title = (description.title,) if description.title else ()
    tables: dict[str, tuple[list[str], set[str]]] = {
        description.impressions: (impressions.names(), {*COLUMNS, *proxies}),
        description.items: (
            items.columns,
            {"item_id", *title, *proxies, *description.item_attributes},
        ),
        description.users: (users.columns, {"user_id", *description.user_attributes}),
    }
    return tuple(
        f"{file}: {column}"
        for file, (columns, known) in tables.items()
        for column in columns
        if column not in known
    )


def _fingerprint(folder: Path, description: Description) -> str:
    """Return one SHA-256 over the names and contents of all files of the folder."""
    impressions = folder / description.impressions
    names = [DESCRIPTION]
    for part in parquet.parts(impressions):
        names.append(str(Path(description.impressions, part.relative_to(impressions))))
    names += [description.items, description.users]
    for embedding in description.embeddings.values():
        names += [embedding.values, embedding.ids]
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\0{sha256(folder / name)}\0".encode())
    return digest.hexdigest()
