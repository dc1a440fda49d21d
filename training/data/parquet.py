"""Reading and writing Parquet: a path is a path, never a pattern.

Polars expands ``*``, ``[1]`` and ``~`` in paths, and hides the system's errors in texts.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from training.data.schema import DESCRIPTION
from training.errors import DatasetError

MISSING = f"is missing; add it or change {DESCRIPTION}"
SUFFIX = ".parquet"

Schema = Mapping[str, pl.DataType | type[pl.DataType]]


def scan(*paths: Path, schema: Schema | None = None) -> pl.LazyFrame:
    """Return a lazy table of files with equal columns, in order; ``read`` collects it.

    With a ``schema``, files may lack columns of it, which are null there, and have others, which
    are left out.
    """
    files = [path.absolute() for path in paths]
    if schema is None:
        return pl.scan_parquet(files, glob=False, hive_partitioning=False)
    return pl.scan_parquet(
        files,
        glob=False,
        hive_partitioning=False,
        schema=schema,
        missing_columns="insert",
        extra_columns="ignore",
    )


def read(path: Path, query: pl.LazyFrame | None = None) -> pl.DataFrame:
    """Read one file, or the result of ``query``, a scan of it.

    Raises DatasetError where the file is missing or is not a Parquet table, and OSError where the
    system does not let it be read.
    """
    with reading(path):
        return (scan(path) if query is None else query).collect()


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise the errors of ``read`` for what polars raises while it reads ``path``."""
    try:
        with _system_errors(path):
            yield
    except FileNotFoundError as error:
        raise DatasetError(path, MISSING) from error
    except pl.exceptions.PolarsError as error:
        raise DatasetError(path, f"is not a Parquet table: {error}") from error


def write(table: pl.DataFrame | pl.LazyFrame, path: Path, row_group: int | None = None) -> None:
    """Write one file; a lazy table is streamed and may be larger than memory.

    ``row_group`` rows share a row group. By default polars chooses; for a lazy table the groups,
    hence the bytes, then depend on the files that the rows come from. Raises OSError.
    """
    with _system_errors(path):
        if isinstance(table, pl.LazyFrame):
            table.sink_parquet(path.absolute(), row_group_size=row_group, engine="streaming")
        else:
            table.write_parquet(path.absolute(), row_group_size=row_group)


def write_parts(table: pl.LazyFrame, folder: Path, part_rows: int) -> None:
    """Stream ``table`` into a new folder of files of ``part_rows`` rows, in order of their names.

    Raises OSError.
    """
    folder.mkdir()
    parts = pl.PartitionBy(
        folder.absolute(),
        max_rows_per_file=part_rows,
        file_path_provider=lambda part: f"part-{part.index_in_partition:05}{SUFFIX}",
    )
    with _system_errors(folder):
        table.sink_parquet(parts, engine="streaming")


@contextlib.contextmanager
def _system_errors(path: Path) -> Iterator[None]:
    """Raise the OSError, naming ``path``, that an error of polars merely quotes."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        quoted = re.search(r"\(os error (\d+)\)", str(error))
        if quoted is None or getattr(error, "errno", None) is not None:
            raise
        number = int(quoted[1])
        raise OSError(number, os.strerror(number), str(path)) from error
