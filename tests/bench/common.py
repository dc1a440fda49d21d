"""Shared by all benchmarks. Imports only the standard library: peers' interpreters run it too."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
)


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum over the repeats."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of ``values``."""
        return cls(median(values), min(values), max(values))

    def cell(self, form: str) -> str:
        """Return ``median (least to greatest)``, each number formatted with ``form``."""
        return f"{self.median:{form}} ({self.least:{form}} to {self.greatest:{form}})"


class Flat:
    """Base of dataclasses of plain values and spreads: rows of a table."""

    def flat(self) -> dict[str, Any]:
        """Return a flat row: a spread ``x`` becomes ``x`` (the median), ``x_min`` and ``x_max``."""
        row: dict[str, Any] = {}
        for name, value in asdict(self).items():  # type: ignore[call-overload]  # a dataclass
            if isinstance(value, dict):
                row |= {
                    name: value["median"],
                    f"{name}_min": value["least"],
                    f"{name}_max": value["greatest"],
                }
            else:
                row[name] = value
        return row


def interpreter(build: Path, name: str) -> Path:
    """Return the interpreter that the Makefile installs from ``requirements/<name>.txt``."""
    return build / f"{name}-venv/bin/python"


def last_core() -> int:
    """Return the core to measure on. Other processes use the last one least."""
    return max(os.sched_getaffinity(0))


def bind(core: int) -> None:
    """Bind this process and its future children to one core."""
    os.sched_setaffinity(0, {core})


@contextlib.contextmanager
def bound(core: int) -> Iterator[None]:
    """Bind processes started within the block to one core."""
    before = os.sched_getaffinity(0)
    bind(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def log(line: str) -> None:
    """Write a line of progress to stderr."""
    sys.stderr.write(line + "\n")
