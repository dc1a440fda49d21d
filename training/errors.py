"""Exceptions of the training package. The command line prints their message and exits with 2."""

from __future__ import annotations

from pathlib import Path


class TrainingError(Exception):
    """Base of everything a user can mend."""


class DatasetError(TrainingError):
    """Bad data: names the file, the column and the first bad row, and says how to mend it."""

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
    """A training configuration that does not hold."""


class ExportError(TrainingError):
    """An artifact whose graphs do not compute what the trained network computes."""


class PublishError(TrainingError):
    """Records that could not be written to Redis."""
