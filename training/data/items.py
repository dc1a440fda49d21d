"""The items of a dataset folder: ids, what people see, content and proxies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from service.contract.attributes import Coding
from service.contract.manifest import Modality, Proxy
from service.contract.titles import ItemTitle
from training.arrays import Flags
from training.data.attributes import item_modality, learn_codings
from training.data.columns import (
    Floats,
    checked_ids,
    numeric_proxies,
    proxy_values,
    refuse_rounded,
)
from training.data.embeddings import find_pieces, read_modalities
from training.data.file_facts import FileFacts
from training.data.parts import Table, read_table
from training.data.schema import Description, read_description
from training.data.storage import MEMORY, Storage
from training.data.titles import read_titles


@dataclass(frozen=True, kw_only=True)
class Items:
    """The validated items of a dataset folder.

    embedding (I, D) float32, all modalities in order, zeros where absent; modality_mask (I, M). The
    item attributes are the last modality; item_codings say how they became numbers. proxies (I, P)
    current values, NaN where unknown. shown: what people see of the items (I,).
    """

    path: Path
    description: Description
    item_ids: list[str]
    shown: list[ItemTitle]
    modalities: tuple[Modality, ...]
    embedding: Floats
    modality_mask: Flags
    proxies: Floats
    item_codings: tuple[Coding, ...] = ()

    @property
    def titles(self) -> list[str]:
        """The titles of the items (I,)."""
        return [item.title for item in self.shown]

    @property
    def proxy_fields(self) -> tuple[Proxy, ...]:
        """The proxies in the order of the columns of ``proxies``."""
        return self.description.proxies


def open_items(folder: Path, item_codings: tuple[Coding, ...]) -> Items:
    """Read the items of ``folder``; users and impressions may be missing.

    ``item_codings`` are those of a model's training. Raises DatasetError naming file, column and
    first bad row.
    """
    facts = FileFacts(None)
    items, _, _ = read_items(folder, read_description(folder), item_codings, facts, MEMORY)
    facts.check_unchanged()
    return items


def read_items(
    folder: Path,
    description: Description,
    codings: tuple[Coding, ...],
    facts: FileFacts,
    storage: Storage,
) -> tuple[Items, Table, list[Path]]:
    """Return the items, their table and the files of their vectors; raises DatasetError.

    For other attributes than those of ``codings``, codings are learned anew.
    """
    table = read_table(folder / description.items, description, facts)
    with table.placed():
        item_ids = checked_ids(table.rows, table.path, "item_id")
        proxies = proxy_values(table.rows, table.path, description, required=True)
        numeric = numeric_proxies(description, table.rows.columns)
        refuse_rounded(table.rows, table.path, numeric)
        if tuple(coding.name for coding in codings) != description.item_attributes:
            codings = learn_codings(table.rows, table.path, description.item_attributes)
        attributes = item_modality(table.rows, table.path, codings) if codings else None
        shown = read_titles(table.rows, table.path, description, item_ids)
    pieces = find_pieces(folder, description)
    vectors = [file for found in pieces.values() for piece in found for file in piece.files]
    for file in vectors:
        facts.digest(file)
    ids = item_ids.to_list()
    modalities, embedding, mask = read_modalities(pieces, description, ids, storage, attributes)
    items = Items(
        path=folder,
        description=description,
        item_ids=ids,
        shown=shown,
        modalities=modalities,
        embedding=embedding,
        modality_mask=mask,
        proxies=proxies,
        item_codings=codings,
    )
    return items, table, vectors
