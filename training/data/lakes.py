"""Tables of Delta Lake and Iceberg: polars reads them where the extra of that name is installed."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from training.errors import DatasetError

_DELTA_LOG = "_delta_log"
_METADATA = "*.metadata.json"  # of Iceberg: v3.metadata.json or 00003-<uuid>.metadata.json


def is_lake(folder: Path) -> bool:
    """Return whether ``folder`` is a Delta Lake or an Iceberg table."""
    return folder.is_dir() and (
        (folder / _DELTA_LOG).is_dir() or any((folder / "metadata").glob(_METADATA))
    )


def scan_lake(folder: Path) -> pl.LazyFrame:
    """Return the newest version of a table; raises DatasetError where it cannot be read."""
    with _named(folder):
        if (folder / _DELTA_LOG).is_dir():
            table = pl.scan_delta(str(folder.absolute()))
        else:
            table = pl.scan_iceberg(str(_newest(folder).absolute()))
        table.collect_schema()  # else the errors come later
        return table


def lake_version(folder: Path) -> str:
    """Return what changes with every change of a table: a digest of its newest metadata.

    Both formats write a new metadata file for each version, and change none.
    """
    newest = _newest(folder)
    return hashlib.sha256(newest.name.encode() + b"\0" + newest.read_bytes()).hexdigest()


def _newest(folder: Path) -> Path:
    """Return the file of a table's newest version; raises DatasetError where there is none."""
    delta = list((folder / _DELTA_LOG).glob("*.json"))
    files = delta or list((folder / "metadata").glob(_METADATA))
    if not files:
        raise DatasetError(folder, "is a table without a version")
    return max(files, key=_number)


def _number(metadata: Path) -> int:
    digits = metadata.name.removeprefix("v").partition(".")[0].partition("-")[0]
    return int(digits) if digits.isdecimal() else -1


@contextlib.contextmanager
def _named(folder: Path) -> Iterator[None]:
    kind = "delta" if (folder / _DELTA_LOG).is_dir() else "iceberg"
    try:
        yield
    except ImportError as error:
        problem = f"needs a package to be read: pip install 'paretorank[{kind}]'"
        raise DatasetError(folder, problem) from error
    except Exception as error:  # each library raises errors of its own
        raise DatasetError(folder, f"is not a {kind} table: {error}") from error
