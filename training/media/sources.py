"""The media of items: a folder of files whose names are item ids, or a table of texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import polars as pl

from service.contract.keys import MAX_ID_CHARS
from training.data import parquet
from training.data.columns import checked_ids, texts
from training.errors import ConfigError, DatasetError
from training.media import Kind

SEPARATORS = {".csv": ",", ".tsv": "\t"}  # of columns, by suffix
TEXT_COLUMNS = ("text", "title")  # the first that a table has, unless named
_ID = re.compile(rf"[^\x00-\x1f\x7f]{{1,{MAX_ID_CHARS}}}")


def suffixes(kind: Kind) -> frozenset[str]:
    """Return the suffixes, such as ``.png``, of files of a kind that lie in folders."""
    if kind == "audio":
        from training.media.sounds import SUFFIXES
    else:
        from training.media.pictures import SUFFIXES
    return SUFFIXES


class Source(Protocol):
    """Items and their contents.

    order: The rows of the items in the order in which they are best encoded.
    """

    item_ids: list[str]
    order: Sequence[int]

    def content(self, index: int) -> bytes:
        """Return an item's content: a file's bytes, or a text in UTF-8."""

    def refusal(self, index: int, problem: str) -> DatasetError:
        """Return the error that an item's content cannot be encoded, with its place."""


class Folder:
    """Files of one kind; a file's name without its suffix is the item's id."""

    def __init__(self, folder: Path, suffixes: Iterable[str]) -> None:
        """List ``folder`` in the order of ids; raises DatasetError for a bad or repeated one.

        Hidden files are ignored; ``others`` are the files with suffixes of another kind.
        """
        known = {suffix.lower() for suffix in suffixes}
        entries = [path for path in folder.iterdir() if path.name[0] != "." and path.is_file()]
        self.others = sorted(path.name for path in entries if path.suffix.lower() not in known)
        self._files = sorted(
            (path for path in entries if path.suffix.lower() in known), key=lambda p: (p.stem, p)
        )
        self.item_ids = [path.stem for path in self._files]
        self.order: Sequence[int] = range(len(self._files))
        if not self._files:
            raise DatasetError(folder, f"has no file *{', *'.join(sorted(known))}; add them")
        for before, path in zip([None, *self._files], self._files, strict=False):
            if not _ID.fullmatch(path.stem):
                rule = f"1 to {MAX_ID_CHARS} characters without control ones"
                raise DatasetError(path, f"its name is no item id of {rule}; rename it")
            if before is not None and before.stem == path.stem:
                problem = f"has the item id of {before.name}; rename or remove one of them"
                raise DatasetError(path, problem)

    def content(self, index: int) -> bytes:
        """Return a file's bytes."""
        return self._files[index].read_bytes()

    def refusal(self, index: int, problem: str) -> DatasetError:
        """Return the error that a file cannot be encoded."""
        return DatasetError(self._files[index], problem)


class Texts:
    """Rows of a table: CSV, TSV or Parquet."""

    def __init__(self, path: Path, id_column: str, columns: Sequence[str] = ()) -> None:
        """Read ``path``; several ``columns`` are joined by spaces.

        Raises DatasetError naming file, column and row for a table that cannot be read and for a
        bad id, ConfigError where no column is named and the table has none of the usual names.
        """
        self._path, self._columns = path, tuple(columns)
        table = _read(path)
        ids = checked_ids(table, path, id_column)
        if not columns:
            usual = [name for name in TEXT_COLUMNS if name in table.columns]
            if not usual:
                names = ", ".join(table.columns)
                raise ConfigError(f"--texts {path}: name the text by --column; it has {names}")
            self._columns = (usual[0],)
        parts = [texts(table, path, name).fill_null("") for name in self._columns]
        joined = pl.DataFrame({str(i): part for i, part in enumerate(parts)}).select(
            pl.concat_str(pl.all(), separator=" ").str.strip_chars()
        )
        self.item_ids: list[str] = ids.to_list()
        self._texts: list[str] = joined.to_series().to_list()
        # A batch takes the time of its longest text.
        self.order: Sequence[int] = sorted(
            range(len(self._texts)), key=lambda row: len(self._texts[row]), reverse=True
        )

    def content(self, index: int) -> bytes:
        """Return a text in UTF-8."""
        return self._texts[index].encode()

    def refusal(self, index: int, problem: str) -> DatasetError:
        """Return the error that a text cannot be encoded."""
        columns = ", ".join(self._columns)
        return DatasetError(self._path, problem, column=columns, row=index)


def _read(path: Path) -> pl.DataFrame:
    if path.suffix not in (*SEPARATORS, parquet.SUFFIX):
        known = ", ".join([*SEPARATORS, parquet.SUFFIX])
        raise DatasetError(path, f"is no table of texts; write one of {known}")
    if not path.is_file():
        raise DatasetError(path, "is missing; name another --texts")
    if path.suffix == parquet.SUFFIX:
        return parquet.read(path)
    try:  # ids such as 007 stay as they are
        return pl.scan_csv(
            path.absolute(), separator=SEPARATORS[path.suffix], infer_schema=False, glob=False
        ).collect()
    except pl.exceptions.PolarsError as error:
        problem = f"is not a {path.suffix[1:].upper()} table: {str(error).partition(chr(10))[0]}"
        raise DatasetError(path, problem) from error
