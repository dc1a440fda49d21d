"""The preparation on this machine: polars, streaming."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl

from service.contract.files import named, staged_folder, sync
from training.data import parquet
from training.data.parts import find_parts
from training.data.raw_log.engine import Engine, Frame
from training.data.writer import refuse_existing
from training.errors import DatasetError

PART_ROWS = 2**24


class PolarsEngine(Engine):
    """Polars on local files."""

    @contextmanager
    def staged(self, out: str) -> Iterator[str]:
        folder = Path(out)
        refuse_existing(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with staged_folder(folder.parent, ".dataset-") as staged:
            staged.chmod(0o755)
            yield str(staged)
            for path in [*staged.rglob("*"), staged]:
                sync(path)
            if folder.exists():
                folder.rmdir()
            staged.rename(folder)

    def scan(self, path: str) -> Frame:
        if not Path(path).exists():
            raise DatasetError(Path(path), "is missing; name a Parquet file or a folder of them")
        parts = [part.path for part in find_parts(Path(path))]
        for part in parts:
            parquet.read(part, parquet.scan(part).head(0))  # names the part that is no table
        return nw.from_native(parquet.scan(*parts))

    def write_parts(self, table: Frame, folder: str) -> None:
        parquet.write_parts(table.to_native(), Path(folder), PART_ROWS)

    def write_file(self, table: Frame, path: str) -> None:
        parquet.write(table.to_native(), Path(path))

    def write_text(self, text: str, path: str) -> None:
        Path(path).write_text(text, encoding="utf-8")

    def copy(self, source: str, path: str) -> None:
        Path(path).parent.mkdir(exist_ok=True)
        with named(Path(path)):
            shutil.copyfile(source, path)

    def remove(self, folder: str) -> None:
        shutil.rmtree(folder)

    def first_row(self, table: Frame) -> dict[str, Any] | None:
        rows = table.head(1).to_native().collect(engine="streaming").rows(named=True)
        return rows[0] if rows else None

    def micros(self, table: Frame, column: str) -> Frame:
        native: pl.LazyFrame = table.to_native()
        time = pl.col(column).cast(pl.Datetime("us")).to_physical()
        return nw.from_native(native.with_columns(time))

    def datetimes(self, table: Frame, column: str) -> Frame:
        native: pl.LazyFrame = table.to_native()
        return nw.from_native(
            native.with_columns(pl.from_epoch(column, "us").dt.replace_time_zone("UTC"))
        )
