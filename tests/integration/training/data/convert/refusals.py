"""A refused source: the error and the untouched output folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from training.errors import DatasetError


def assert_refused(
    prepare: Callable[[Path, Path], object],
    source: Path,
    name: str,
    problem: str,
    *,
    column: str | None = None,
    row: int | None = None,
) -> None:
    """Assert that the error names the file, column and row, and that nothing is written."""
    out = source.parent / "out"
    with pytest.raises(DatasetError, match=problem) as caught:
        prepare(source, out)
    error = caught.value
    assert (error.file, error.column, error.row) == (source / name, column, row)
    assert not out.exists()
