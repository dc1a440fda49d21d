"""Exceptions of the training package. The command line prints their messages and exits with 2."""

from __future__ import annotations

from pathlib import Path


class TrainingError(Exception):
    """Base of all errors that a user can mend."""


class DatasetError(TrainingError):
    """Bad data. The message names the file, the column, the first bad row and the mend."""

    def __init__(
        self, file: Path, problem: str, *, column: str | None = None, row: int | None = None
    ) -> None:
        place = str(file)
        if column is not None:
            place += f", column {column!r}"
        if row is not None:
            place += f", row {row}"
        super().__init__(f"{place}: {problem}")
        self.file, self.column, self.row, self.problem = file, column, row, problem


class ConfigError(TrainingError):
    """A bad configuration, or an option that it or the dataset does not allow."""


class ExportError(TrainingError):
    """An artifact whose graphs do not give the trained net's scores."""


class PublishError(TrainingError):
    """Records that could not be written to Redis."""
