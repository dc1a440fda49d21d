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
                allocate(file.fileno(), size)
                return np.ndarray(shape, dtype, mmap.mmap(file.fileno(), size))
        except OSError as error:
            raise no_room(self.folder, size, error) from error


MEMORY = Storage()


def allocate(descriptor: int, size: int) -> None:
    """Give a file its size and its room on disk; raises OSError where there is none."""
    if hasattr(os, "posix_fallocate"):  # else a full disk kills the process at a write
        os.posix_fallocate(descriptor, 0, size)
    os.ftruncate(descriptor, size)


def no_room(folder: Path, size: int, error: OSError) -> TrainingError:
    """Return the error for a file of ``size`` bytes that could not be made in ``folder``."""
    return TrainingError(
        f"{folder}: cannot make a file of {size / 2**20:,.0f} MiB: {error.strerror}; "
        "make room there or name another folder"
    )


def expect_scattered_reads(array: NDArray[Any]) -> None:
    """Turn off read-ahead in an array of a ``Storage``: each scattered row would read megabytes."""
    if isinstance(array.base, mmap.mmap):
        array.base.madvise(mmap.MADV_RANDOM)


def spans(rows: int, most: int | None = None) -> Iterator[slice]:
    """Yield consecutive slices of up to ``most`` rows, or ``CHUNK_ROWS``, that cover ``rows``."""
    size = CHUNK_ROWS if most is None else most
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
