"""The parts of a table: its Parquet files in any nesting, with the values of their partitions."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from training.data import parquet
from training.data.file_facts import FileFacts
from training.data.lakes import is_lake, scan_lake
from training.data.period import unix_free
from training.data.schema import Description
from training.errors import DatasetError

_NULL = "__HIVE_DEFAULT_PARTITION__"  # how Hive and Spark name the partition of null


@dataclass(frozen=True)
class Part:
    """A Parquet file, or a whole table of Delta Lake or Iceberg.

    partition: the values that folders named ``column=value`` give to all rows of the file.
    """

    path: Path
    partition: Mapping[str, str | None] = field(default_factory=dict)

    def scan(self, description: Description) -> pl.LazyFrame:
        """Return the rows with the partition's columns; a column of the file itself goes first.

        Raises DatasetError where the file cannot be read, and for a partition's value that is no
        number or time where the description makes it one.
        """
        with parquet.reading(self.path):
            table = scan_lake(self.path) if self.path.is_dir() else parquet.scan(self.path)
            names = table.collect_schema().names()
        literals = self._literals(description)
        return table.with_columns(literals[name] for name in literals if name not in names)

    def read(self, query: pl.LazyFrame) -> pl.DataFrame:
        """Return the result of ``query``, a scan of this part; raises as ``parquet.read`` does."""
        return parquet.read(self.path, query)

    def partition_types(self, description: Description) -> dict[str, str]:
        """Return the type of each column of the partition by name; raises as ``scan`` does."""
        schema = pl.select(self._literals(description).values()).schema
        return {name: str(dtype) for name, dtype in schema.items()}

    def _literals(self, description: Description) -> dict[str, pl.Expr]:
        return {
            name: self._literal(name, text, description).alias(name)
            for name, text in self.partition.items()
        }

    def _literal(self, name: str, text: str | None, description: Description) -> pl.Expr:
        try:
            if name == description.time_column:
                return _time(text)
            if name in description.numbers:
                return pl.lit(None if text is None else float(text), pl.Float64)
        except ValueError as error:
            kind = "time" if name == description.time_column else "number"
            raise DatasetError(self.path, f"{text!r} is not a {kind}", column=name) from error
        return pl.lit(text, pl.String)


def _time(text: str | None) -> pl.Expr:
    """Return a partition's time: a number, or a date or datetime; raises ValueError."""
    with contextlib.suppress(ValueError):
        return pl.lit(None if text is None else float(text), pl.Float64)
    return pl.lit(unix_free(datetime.fromisoformat(str(text))), pl.Datetime("us"))


def find_parts(path: Path) -> list[Part]:
    """Return the parts of the table ``path``: the file itself, or the files in the folder.

    Those are the files ``*.parquet`` at any depth, sorted by path; names that begin with ``.`` or
    ``_`` do not count. Files that are added later are not in the list. Raises DatasetError for a
    folder without parts or with any other file.
    """
    if is_lake(path) or not path.is_dir():
        return [Part(path)]
    parts = list(_walk(path, {}))
    if not parts:
        raise DatasetError(path, f"is a folder without *{parquet.SUFFIX} files; add them")
    return parts


def _walk(folder: Path, partition: dict[str, str | None]) -> Iterator[Part]:
    for entry in sorted(entry for entry in folder.iterdir() if entry.name[0] not in "._"):
        if entry.is_dir():
            name, equals, value = entry.name.partition("=")
            text = None if value == _NULL else unquote(value)
            yield from _walk(entry, {**partition, unquote(name): text} if equals else partition)
        elif entry.suffix == parquet.SUFFIX:
            yield Part(entry, partition)
        else:
            problem = f"is no *{parquet.SUFFIX} file; a folder of parts holds nothing else"
            raise DatasetError(entry, f"{problem}: move it out")


def check_equal_columns(
    parts: list[Part], schema_of: Callable[[Part], Mapping[str, str]]
) -> Mapping[str, str]:
    """Return the types of the columns; raises DatasetError for the first part with others."""
    first = schema_of(parts[0])
    for part in parts[1:]:
        schema = schema_of(part)
        for name in {**first, **schema}:
            mine, other = schema.get(name), first.get(name)
            if mine != other:
                there = "has no such column" if other is None else f"has {other}"
                here = "is missing" if mine is None else f"is {mine}"
                named = parts[0].path.name
                problem = f"{here}, but {named} {there}; write the same in all parts"
                raise DatasetError(part.path, problem, column=name)
    return first


def schema_of(part: Part, description: Description) -> dict[str, str]:
    """Return the type of each column of a part by name."""
    schema = part.scan(description).collect_schema()
    return {name: str(dtype) for name, dtype in schema.items()}


@dataclass(frozen=True)
class Table:
    """A small table in memory, of one part or many. An error names the part and the row there."""

    path: Path
    rows: pl.DataFrame
    parts: list[Part]
    ends: list[int]  # the row after each part's last one

    @contextlib.contextmanager
    def placed(self) -> Iterator[None]:
        """Give an error in a row of this table the place of its part."""
        try:
            yield
        except DatasetError as error:
            if error.file != self.path or error.row is None:
                raise
            index = next(i for i, end in enumerate(self.ends) if error.row < end)
            row = error.row - ([0, *self.ends][index])
            path = self.parts[index].path
            raise DatasetError(path, error.problem, column=error.column, row=row) from error


def read_table(path: Path, description: Description, facts: FileFacts) -> Table:
    """Read all parts of a table of users or items, in the order of their paths."""
    parts = find_parts(path)
    for part in parts:
        facts.digest(part.path)  # before the reading: ``facts`` then sees a change meanwhile
    check_equal_columns(parts, lambda part: schema_of(part, description))
    frames = [part.read(part.scan(description)) for part in parts]
    ends = list(itertools.accumulate(map(len, frames)))
    return Table(path, pl.concat(frames), parts, ends)
