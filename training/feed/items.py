"""The items of a prepared dataset: those of another dataset folder, or of one Parquet file."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from training.data import parquet
from training.data.columns import id_column
from training.data.embeddings import find_pieces
from training.data.file_facts import FileFacts
from training.data.parts import read_table
from training.data.schema import DESCRIPTION, Description, Embedding, read_description
from training.errors import DatasetError

_SHOWN = ("title", "picture", "link")


@dataclass(frozen=True)
class ItemTables:
    """Items without proxies, and users' attributes; ``description`` names the columns."""

    path: Path
    description: Description
    table: pl.DataFrame  # item_id, what people see, attributes
    users: pl.DataFrame | None  # user_id, attributes
    vectors: pl.DataFrame | None = None  # item_id, a list column for each modality

    def with_attributes(self, users: pl.DataFrame) -> pl.DataFrame:
        """Return the ids of ``users`` with their attributes, null for users without any."""
        if self.users is None:
            return users
        return users.join(self.users, on="user_id", how="left", maintain_order="left")

    def link_embeddings(self, folder: Path) -> dict[str, Embedding]:
        """Bring the embeddings into a dataset folder: as links where the disk allows it."""
        embeddings = {}
        for name in self.description.embeddings:
            place = folder / "embeddings" / name
            place.mkdir(parents=True)
            embeddings[name] = Embedding(values=f"embeddings/{name}")
            if self.vectors is not None:
                table = self.vectors.select("item_id", vector=name).drop_nulls()
                parquet.write(table, place / f"0000{parquet.SUFFIX}")
                continue
            for number, piece in enumerate(find_pieces(self.path, self.description)[name]):
                if piece.path.is_dir():
                    values, ids = piece.read(self.description)
                    table = pl.DataFrame({"item_id": ids, "vector": values})
                    parquet.write(table, place / f"{number:04}{parquet.SUFFIX}")
                    continue
                _link(piece.path, place / f"{number:04}{piece.path.suffix}")
                if piece.ids_path != piece.path:
                    _link(piece.ids_path, place / f"{number:04}.ids.txt")
        return embeddings


def read_item_tables(path: Path) -> ItemTables:
    """Read the items of a dataset folder, or of a Parquet file; raises DatasetError.

    In a file, columns of lists are modalities; other columns but ``item_id``, ``title``,
    ``picture`` and ``link`` are attributes.
    """
    if path.is_dir() and (path / DESCRIPTION).exists():
        description = read_description(path)
        tables = []
        for key, place in (("item_id", description.items), ("user_id", description.users)):
            file = path / place
            attributes = description.item_attributes + description.shown_columns
            names = attributes if key == "item_id" else description.user_attributes
            rows = read_table(file, description, FileFacts(None)).rows
            _check(rows, file, names)
            tables.append(rows.select(id_column(rows, file, key).alias(key), *names))
        return ItemTables(path, description, *tables)
    if not path.is_file():
        raise DatasetError(path, f"is neither a Parquet file nor a folder with {DESCRIPTION}")
    rows = parquet.read(path)
    lists = [name for name, dtype in rows.schema.items() if dtype in (pl.List, pl.Array)]
    if not lists:
        raise DatasetError(path, "has no column of lists of floats: a modality of the items")
    attributes = tuple(name for name in rows.columns if name not in (*lists, *_SHOWN, "item_id"))
    ids = id_column(rows, path, "item_id").alias("item_id")
    description = Description(
        name="items",
        item_attributes=attributes,
        embeddings={name: Embedding(values=f"embeddings/{name}") for name in lists},
        **{name: name for name in _SHOWN if name in rows.columns},
    )
    table = rows.select(ids, *(name for name in rows.columns if name not in (*lists, "item_id")))
    return ItemTables(path, description, table, None, rows.select(ids, *lists))


def _check(rows: pl.DataFrame, file: Path, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in rows.columns:
            raise DatasetError(file, "is missing; add it", column=name)


def _link(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except FileNotFoundError as error:
        raise DatasetError(source, parquet.MISSING) from error
    except OSError:  # on another file system
        shutil.copyfile(source, place)
