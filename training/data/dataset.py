"""Opening a dataset folder: all is validated once; ids become row numbers, columns arrays."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from service.contract.attributes import Coding
from service.contract.files import locked
from training.data.attributes import learn_codings, user_values
from training.data.columns import Floats, checked_ids, refuse_rounded
from training.data.file_facts import FileFacts
from training.data.impressions import SPLITS, Impressions, known_columns
from training.data.items import Items, read_items
from training.data.log import Log, open_log
from training.data.log_rows import read_impressions
from training.data.parts import Table, read_table
from training.data.period import Period
from training.data.plausibility import warn_of_implausible
from training.data.row_files import INDEX
from training.data.schema import DESCRIPTION, Description, read_description
from training.data.storage import MEMORY, Storage

__all__ = ["SPLITS", "Dataset", "Impressions", "open_dataset"]

_FACTS = "files.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Dataset(Items):
    """A validated dataset folder: tables in memory, arrays over impressions in ``storage``.

    user_codings say how user attributes became numbers: user_attributes (U, A) float32. fingerprint
    SHA-256 over the files.
    """

    fingerprint: str
    user_ids: list[str]
    user_attributes: Floats
    impressions: Impressions
    storage: Storage = MEMORY
    user_codings: tuple[Coding, ...] = ()
    unread: tuple[str, ...] = ()  # "file: column" that the description does not name

    def with_proxies(self, proxies: Floats) -> Dataset:
        """Return the dataset with other impression proxies (R, P)."""
        return replace(self, impressions=replace(self.impressions, proxies=proxies))


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
    storage = Storage(scratch)
    users = read_table(folder / description.users, description, facts)
    with users.placed():
        user_ids = checked_ids(users.rows, users.path, "user_id")
        if tuple(coding.name for coding in user_codings) != description.user_attributes:
            user_codings = learn_codings(users.rows, users.path, description.user_attributes)
        attributes = user_values(users.rows, users.path, user_codings)
        numeric = [coding.name for coding in user_codings if coding.numeric]
        refuse_rounded(users.rows, users.path, numeric)
    items, table, vectors = read_items(folder, description, item_codings, facts, storage)
    impressions = open_log(folder / description.impressions, description, period, facts)
    logged = [segment.part.path for segment in impressions.segments]
    files = [folder / DESCRIPTION, *logged]
    files += [part.path for part in (*table.parts, *users.parts)]
    fingerprint = _fingerprint(folder, [*files, *vectors], period, facts)
    return Dataset(
        **vars(items),
        user_ids=user_ids.to_list(),
        user_attributes=attributes,
        impressions=read_impressions(
            impressions,
            user_ids=user_ids,
            item_ids=pl.Series(items.item_ids, dtype=pl.String),
            item_proxies=items.proxies,
            storage=storage,
            facts=facts,
            cache=kept,
        ),
        fingerprint=fingerprint,
        storage=storage,
        user_codings=user_codings,
        unread=_unread(description, impressions, users, table),
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
