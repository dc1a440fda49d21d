"""What differs between engines: files, times and rows. The preparation itself is written once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any

import narwhals as nw

Frame = nw.LazyFrame[Any]


class Engine(ABC):
    """Reads and writes Parquet at paths of the engine's file systems.

    Errors that a user can mend are DatasetError, or OSError where the system refuses a place.
    """

    @abstractmethod
    def staged(self, out: str) -> AbstractContextManager[str]:
        """Yield an empty folder that becomes ``out`` at the end of the block, or vanishes."""

    @abstractmethod
    def scan(self, path: str) -> Frame:
        """Return the lazy table of a Parquet file or of a folder of them."""

    @abstractmethod
    def write_parts(self, table: Frame, folder: str) -> None:
        """Write ``table`` as Parquet parts whose names keep the order of rows."""

    @abstractmethod
    def write_file(self, table: Frame, path: str) -> None:
        """Write ``table`` as one Parquet file."""

    @abstractmethod
    def write_text(self, text: str, path: str) -> None:
        """Write ``text`` in UTF-8."""

    @abstractmethod
    def copy(self, source: str, path: str) -> None:
        """Copy a file."""

    @abstractmethod
    def remove(self, folder: str) -> None:
        """Remove a folder."""

    @abstractmethod
    def first_row(self, table: Frame) -> dict[str, Any] | None:
        """Return the first row of ``table``, None if it has none."""

    @abstractmethod
    def micros(self, table: Frame, column: str) -> Frame:
        """Replace a date or datetime by microseconds since 1970; without a zone it is UTC."""

    @abstractmethod
    def datetimes(self, table: Frame, column: str) -> Frame:
        """Replace microseconds since 1970 by a datetime in UTC."""
