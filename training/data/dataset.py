"""Opening a dataset folder: all is validated once; ids become row numbers, columns arrays."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from service.contract.files import locked
from service.contract.manifest import Modality, Proxy
from service.contract.titles import ItemTitle
from training.arrays import Flags
from training.data.attributes import Coding, item_modality, learn_codings, user_values
from training.data.columns import (
    Floats,
    checked_ids,
    numeric_proxies,
    proxy_values,
    refuse_rounded,
)
from training.data.embeddings import find_pieces, read_modalities
from training.data.file_facts import FileFacts
from training.data.impressions import SPLITS, Impressions, known_columns
from training.data.log import Log, open_log
from training.data.log_rows import read_impressions
from training.data.parts import Table, read_table
from training.data.period import Period
from training.data.plausibility import warn_of_implausible
from training.data.row_files import INDEX
from training.data.schema import DESCRIPTION, Description, read_description
from training.data.storage import MEMORY, Storage
from training.data.titles import read_titles

__all__ = ["SPLITS", "Dataset", "Impressions", "open_dataset"]

_FACTS = "files.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """A validated dataset folder: tables in memory, arrays over impressions in ``storage``.

    embedding (I, D) float32, all modalities in order, zeros where absent; modality_mask (I, M). The
    item attributes are the last modality; item_codings and user_codings say how attributes became
    numbers. proxies (I, P) current values, NaN where unknown; user_attributes (U, A) float32;
    fingerprint SHA-256 over the files. shown: what people see of the items (I,).
    """

    path: Path
    description: Description
    fingerprint: str
    user_ids: list[str]
    item_ids: list[str]
    shown: list[ItemTitle]
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

    @property
    def titles(self) -> list[str]:
        """The titles of the items (I,)."""
        return [item.title for item in self.shown]

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
    *,
    period: Period = Period(),  # noqa: B008  # frozen
    cache: Path | None = None,
) -> Dataset:
    """Read and validate ``folder``; raises DatasetError naming file, column and first bad row.

    Warns of data that are valid but not plausible. With ``scratch``, a folder on disk, arrays over
    impressions are files there and may exceed memory; their values are the same. ``item_codings``
    and ``user_codings`` are those of a model's training; without them, or for other attributes,
    they are learned anew.
    Impressions outside ``period`` are not read. ``cache``, a folder, keeps what is known of a log
    in parts: a part that did not change is neither hashed nor read again.
    """
    description = read_description(folder)
    in_parts = (folder / description.impressions).is_dir()
    with _kept(cache if in_parts else None, folder) as kept:
        facts = FileFacts(None if kept is None else kept / _FACTS)
        try:
            dataset = _opened(
                folder, description, scratch, (item_codings, user_codings), period, facts, kept
            )
            facts.check_unchanged()
        finally:
            facts.save()  # true also where the dataset is refused
    warn_of_implausible(folder / description.impressions, description, dataset.impressions)
    return dataset


@contextlib.contextmanager
def _kept(cache: Path | None, folder: Path) -> Iterator[Path | None]:
    """Yield the folder in ``cache`` of what is kept of a dataset; other processes wait for it."""
    if cache is None:
        yield None
        return
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    kept = cache / f"dataset-{name}"
    kept.mkdir(parents=True, exist_ok=True)
    with locked(kept / _FACTS, _say_waiting), locked(kept / INDEX):
        yield kept


def _say_waiting(lock_file: Path) -> None:
    log.warning("another process opens the same dataset: waiting until it has (%s)", lock_file)


def _opened(
    folder: Path,
    description: Description,
    scratch: Path | None,
    codings: tuple[tuple[Coding, ...], tuple[Coding, ...]],
    period: Period,
    facts: FileFacts,
    kept: Path | None,
) -> Dataset:
    item_codings, user_codings = codings
    users = read_table(folder / description.users, description, facts)
    items = read_table(folder / description.items, description, facts)
    storage = Storage(scratch)
    with users.placed(), items.placed():
        user_ids = checked_ids(users.rows, users.path, "user_id")
        item_ids = checked_ids(items.rows, items.path, "item_id")
        proxies = proxy_values(items.rows, items.path, description, required=True)
        numeric = numeric_proxies(description, items.rows.columns)
        refuse_rounded(items.rows, items.path, numeric)
        if tuple(coding.name for coding in user_codings) != description.user_attributes:
            user_codings = learn_codings(users.rows, users.path, description.user_attributes)
        attributes = user_values(users.rows, users.path, user_codings)
        numeric = [coding.name for coding in user_codings if coding.numeric]
        refuse_rounded(users.rows, users.path, numeric)
        if tuple(coding.name for coding in item_codings) != description.item_attributes:
            item_codings = learn_codings(items.rows, items.path, description.item_attributes)
        modality = item_modality(items.rows, items.path, item_codings) if item_codings else None
        shown = read_titles(items.rows, items.path, description, item_ids)
    pieces = find_pieces(folder, description)
    vectors = [file for found in pieces.values() for piece in found for file in piece.files]
    for file in vectors:
        facts.digest(file)
    ids = item_ids.to_list()
    modalities, embedding, mask = read_modalities(pieces, description, ids, storage, modality)
    impressions = open_log(folder / description.impressions, description, period, facts)
    logged = [segment.part.path for segment in impressions.segments]
    files = [folder / DESCRIPTION, *logged]
    files += [part.path for table in (items, users) for part in table.parts]
    fingerprint = _fingerprint(folder, [*files, *vectors], period, facts)
    return Dataset(
        path=folder,
        description=description,
        user_ids=user_ids.to_list(),
        item_ids=ids,
        shown=shown,
        modalities=modalities,
        embedding=embedding,
        modality_mask=mask,
        proxies=proxies,
        user_attributes=attributes,
        impressions=read_impressions(
            impressions,
            user_ids=user_ids,
            item_ids=item_ids,
            item_proxies=proxies,
            storage=storage,
            facts=facts,
            cache=kept,
        ),
        fingerprint=fingerprint,
        storage=storage,
        item_codings=item_codings,
        user_codings=user_codings,
        unread=_unread(description, impressions, users, items),
    )


def _unread(
    description: Description, impressions: Log, users: Table, items: Table
) -> tuple[str, ...]:
    """Return the columns of files that the description does not name, as "file: column"."""
    proxies = {proxy.name for proxy in description.proxies}
    partition = impressions.segments[0].part.partition
    tables: dict[str, tuple[Collection[str], set[str]]] = {
        description.impressions: (impressions.types, known_columns(description) | set(partition)),
        description.items: (
            items.rows.columns,
            {
                "item_id",
                *description.shown_columns,
                *proxies,
                *description.item_attributes,
                *items.parts[0].partition,
            },
        ),
        description.users: (
            users.rows.columns,
            {"user_id", *description.user_attributes, *users.parts[0].partition},
        ),
    }
    return tuple(
        f"{file}: {column}"
        for file, (columns, known) in tables.items()
        for column in columns
        if column not in known
    )


def _fingerprint(folder: Path, files: list[Path], period: Period, facts: FileFacts) -> str:
    """Return one SHA-256 over the period, and the names and contents of the files read."""
    digest = hashlib.sha256(str(period).encode())
    for file in files:
        name = os.path.relpath(file, folder)
        digest.update(f"{name}\0{facts.digest(file)}\0".encode())
    return digest.hexdigest()
