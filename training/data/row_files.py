"""Columns over impressions in files that later openings take up: only changed parts are read."""

from __future__ import annotations

import fcntl
import math
import mmap
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from service.contract.files import write_atomically
from training.data.storage import allocate, no_room, spans

INDEX = "rows.json"
_SUFFIX = ".rows"
_COPY_BYTES = 2**24

Arrays = dict[str, NDArray[Any]]
Columns = dict[str, tuple[tuple[int, ...], DTypeLike]]  # name -> (shape of a row, type)
Fill = Callable[[int, Arrays], dict[str, Any]]  # number of a segment, its rows -> facts of it


class Kept(BaseModel):
    """Consecutive rows of the files; ``facts`` are what ``Fill`` returned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    start: int
    rows: int
    facts: dict[str, Any]


class _Index(BaseModel):
    """What the files hold; ``key``: of what the rows depend on besides the segments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: dict[str, Any]
    segments: tuple[Kept, ...]


class RowFiles:
    """A folder with a file for each column; ``locked(folder / INDEX)`` is for the caller to hold.

    Rows stand in the order of their segments. An array of ``fill`` holds a shared lock of its file
    as long as it lives: a file that another process uses is never changed but replaced.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def key(self) -> dict[str, Any] | None:
        """Return the key of what the files hold; None without any."""
        index = self._index()
        return None if index is None else index.key

    def fill(
        self,
        key: dict[str, Any],
        segments: list[tuple[str, int]],
        columns: Columns,
        fill: Fill,
        *,
        reuse: bool,
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        """Return arrays of all ``segments`` (id, rows), and the facts of each.

        ``fill`` writes the rows of segments that the files lack; ``reuse`` says whether those that
        they hold may be taken. Raises what ``fill`` raises: the rows of the other segments stay.
        """
        index = self._index() if reuse else None
        held = {kept.id: kept for kept in index.segments} if index is not None else {}
        if any(self._size(name) < _bytes(columns, name, _end(held.values())) for name in columns):
            held = {}
        wanted, start = [], 0
        for id_, rows in segments:
            facts = held[id_].facts if id_ in held else {}
            wanted.append(Kept(id=id_, start=start, rows=rows, facts=facts))
            start += rows
        if index is None or (key, tuple(wanted)) != (index.key, index.segments):
            wanted = self._update(key, wanted, held, columns, start, fill)
        arrays = {name: self._mapped(name, columns, start) for name in columns}
        return arrays, [kept.facts for kept in wanted]

    def _update(
        self,
        key: dict[str, Any],
        wanted: list[Kept],
        held: dict[str, Kept],
        columns: Columns,
        rows: int,
        fill: Fill,
    ) -> list[Kept]:
        """Write the files anew, or into those that nobody uses if no held row moves."""
        staying = [kept for kept in wanted if kept.id in held and kept.start == held[kept.id].start]
        moving = [kept for kept in wanted if kept.id in held and kept.start != held[kept.id].start]
        descriptors = {} if moving or not held else self._exclusive(columns)
        in_place = bool(descriptors)
        try:
            if in_place:  # a killed process leaves the index of the rows that no write touches
                self._save(key, staying)
            else:
                for name in columns:
                    descriptors[name] = os.open(
                        self._new(name), os.O_RDWR | os.O_CREAT | os.O_TRUNC
                    )
            arrays = {
                name: self._writable(name, descriptors[name], columns, rows) for name in columns
            }
            if not in_place and held:
                self._copy([*staying, *moving], held, columns, descriptors)
            filled = []
            for number, kept in enumerate(wanted):
                if kept.id not in held:
                    span = slice(kept.start, kept.start + kept.rows)
                    facts = fill(number, {name: array[span] for name, array in arrays.items()})
                    kept = kept.model_copy(update={"facts": facts})
                filled.append(kept)
            for name, array in arrays.items():
                array.base.flush()  # type: ignore[union-attr]  # a mapping
                os.fsync(descriptors[name])
            if not in_place:
                self._save(key, [])
                for file in self._folder.glob(f"*{_SUFFIX}"):
                    file.unlink()
                for name in columns:
                    self._new(name).replace(self._file(name))
            self._save(key, filled)
            return filled
        finally:
            for name, descriptor in descriptors.items():
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # a mapping may outlive an error
                os.close(descriptor)
                self._new(name).unlink(missing_ok=True)

    def _copy(
        self,
        kept: Iterable[Kept],
        held: dict[str, Kept],
        columns: Columns,
        descriptors: dict[str, int],
    ) -> None:
        """Copy rows from the old files by reads and writes: a mapping would fault at each page."""
        for name, target in descriptors.items():
            source = os.open(self._file(name), os.O_RDONLY)
            try:
                for segment in kept:
                    before = _bytes(columns, name, held[segment.id].start)
                    after = _bytes(columns, name, segment.start)
                    for span in spans(_bytes(columns, name, segment.rows), _COPY_BYTES):
                        block = os.pread(source, span.stop - span.start, before + span.start)
                        os.pwrite(target, block, after + span.start)
            finally:
                os.close(source)

    def _exclusive(self, columns: Columns) -> dict[str, int]:
        """Return descriptors of all files, locked for this process alone; {} where one is used."""
        descriptors = {}
        try:
            for name in columns:
                descriptors[name] = os.open(self._file(name), os.O_RDWR)
                fcntl.flock(descriptors[name], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            for descriptor in descriptors.values():
                os.close(descriptor)
            return {}
        return descriptors

    def _writable(self, name: str, descriptor: int, columns: Columns, rows: int) -> NDArray[Any]:
        shape, dtype = columns[name]
        size = max(1, _bytes(columns, name, rows))
        try:
            allocate(descriptor, size)
        except OSError as error:
            raise no_room(self._folder, size, error) from error
        return np.ndarray((rows, *shape), dtype, mmap.mmap(descriptor, size))

    def _mapped(self, name: str, columns: Columns, rows: int) -> NDArray[Any]:
        """Return a column whose changes stay in memory; its mapping keeps the lock of its file."""
        shape, dtype = columns[name]
        descriptor = os.open(self._file(name), os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            size = max(1, _bytes(columns, name, rows))
            mapping = mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)
            return np.ndarray((rows, *shape), dtype, mapping)
        finally:
            os.close(descriptor)

    def _index(self) -> _Index | None:
        try:
            return _Index.model_validate_json((self._folder / INDEX).read_bytes())
        except (FileNotFoundError, ValidationError):  # none yet, or of another version
            return None

    def _save(self, key: dict[str, Any], segments: Iterable[Kept]) -> None:
        index = _Index(key=key, segments=tuple(segments))
        write_atomically(self._folder / INDEX, index.model_dump_json().encode())

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}{_SUFFIX}"

    def _new(self, name: str) -> Path:
        return self._folder / f"{name}.new"

    def _size(self, name: str) -> int:
        file = self._file(name)
        return file.stat().st_size if file.exists() else -1


def _end(kept: Iterable[Kept]) -> int:
    return max((segment.start + segment.rows for segment in kept), default=0)


def _bytes(columns: Columns, name: str, rows: int) -> int:
    shape, dtype = columns[name]
    return rows * math.prod(shape) * np.dtype(dtype).itemsize
