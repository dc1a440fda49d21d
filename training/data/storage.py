"""Arrays over impressions: in memory, or in files that may be larger than memory."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from training.errors import TrainingError

CHUNK_ROWS = 2**19  # rows that are read, counted or sorted at once: tens of MiB


@dataclass(frozen=True)
class Storage:
    """Makes arrays in memory or, with ``folder``, arrays mapped from files there.

    The files have no names: the system removes a file with the last array that maps it, however the
    process ends. None remains to be cleaned up.
    """

    folder: Path | None = None

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of undefined content; raises TrainingError where it does not fit."""
        if self.folder is None:
            return np.empty(shape, dtype)
        size = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as file:
                if hasattr(os, "posix_fallocate"):  # else a full disk kills the process at a write
                    os.posix_fallocate(file.fileno(), 0, size)
                file.truncate(size)
                return np.ndarray(shape, dtype, mmap.mmap(file.fileno(), size))
        except OSError as error:
            raise TrainingError(
                f"{self.folder}: cannot make a file of {size / 2**20:,.0f} MiB: {error.strerror}; "
                "make room there or name another folder"
            ) from error


MEMORY = Storage()


def expect_scattered_reads(array: NDArray[Any]) -> None:
    """Turn off read-ahead in an array of a ``Storage``: each scattered row would read megabytes."""
    if isinstance(array.base, mmap.mmap):
        array.base.madvise(mmap.MADV_RANDOM)


def spans(rows: int) -> Iterator[slice]:
    """Yield consecutive slices of up to ``CHUNK_ROWS`` that cover ``rows``."""
    for start in range(0, rows, CHUNK_ROWS):
        yield slice(start, min(start + CHUNK_ROWS, rows))
