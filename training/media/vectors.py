"""Vectors of one modality on disk: those of an earlier output, and a journal of the present run.

A vector is known by the digest of its content, so that a changed content has none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.files import replaced, sha256, write_atomically
from training.data.columns import Floats
from training.errors import DatasetError

_DIGEST_BYTES = 16
_CHUNK_ROWS = 2**14
_HEADER_BYTES = 8  # of a journal: D


def digest(content: bytes) -> bytes:
    """Return the digest of a content."""
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


@dataclass(frozen=True)
class Norms:
    """Number and dimension of vectors; the least, mean and greatest length of one."""

    vectors: int
    dim: int
    least: float
    mean: float
    greatest: float


class Vectors:
    """``<name>.npy`` and ``<name>.ids.txt`` in a folder, with hidden files for later runs.

    ``.<name>.embedded`` holds the array's SHA-256, the encoder's key and the digest of each row's
    content, one per line. ``.<name>.<key>.journal`` holds D and then, for each vector that the
    array lacks, the content's digest and the vector. One process at a time may use a name.
    """

    def __init__(self, folder: Path, name: str, key: str) -> None:
        """Find the vectors that the encoder with this ``key`` made earlier.

        Raises DatasetError where there is an array that something else made.
        """
        self.array, self.ids = folder / f"{name}.npy", folder / f"{name}.ids.txt"
        self._record = folder / f".{name}.embedded"
        self._journal = folder / f".{name}.{key[:16]}.journal"
        self._journals = sorted(p for p in folder.iterdir() if _is_journal(p, name))
        self._key = key
        self._before = self._made_of()
        self._digests: list[bytes] = []  # of the array's rows, then of the journal's
        self._earlier = self._read_array()
        for value in self._read_journal()["digest"]:
            self._digests.append(value.tobytes())
        self._row_of = {value: row for row, value in enumerate(self._digests)}

    def __contains__(self, value: bytes) -> bool:
        """Return whether the vector of the content with this digest is known."""
        return value in self._row_of

    def append(self, digests: Sequence[bytes], vectors: Floats) -> None:
        """Add the vectors (n, D) of n contents to the journal, which outlives an interrupt."""
        records = np.empty(len(vectors), _record_type(vectors.shape[1]))
        records["digest"] = np.frombuffer(b"".join(digests), f"V{_DIGEST_BYTES}")
        records["vector"] = vectors
        with self._journal.open("ab") as file:
            if file.tell() == 0:
                file.write(vectors.shape[1].to_bytes(_HEADER_BYTES, "little"))
            file.write(records.tobytes())
            file.flush()
            os.fsync(file.fileno())
        for value in digests:
            self._row_of[value] = len(self._digests)
            self._digests.append(value)

    def write(self, item_ids: Sequence[str], digests: Sequence[bytes]) -> Norms:
        """Write the array (n, D) and its n ids from known vectors; files that are right stay.

        The ids are away while the array is replaced: nobody reads one with the ids of the other.
        """
        made_of = "\n".join([self._key, *(value.hex() for value in digests)])
        ids = ("\n".join(item_ids) + "\n").encode()
        if self._before != made_of or not self.ids.exists() or self.ids.read_bytes() != ids:
            self.ids.unlink(missing_ok=True)
            self._write_array(digests)
            write_atomically(self.ids, ids)
            write_atomically(self._record, f"{sha256(self.array)}\n{made_of}".encode())
        for journal in {*self._journals, self._journal}:
            journal.unlink(missing_ok=True)
        return _norms(np.load(self.array, mmap_mode="r"))

    def _write_array(self, digests: Sequence[bytes]) -> None:
        rows = np.array([self._row_of[value] for value in digests])
        late = self._read_journal()["vector"]
        early = late[:0] if self._earlier is None else self._earlier
        header = {"descr": "<f4", "fortran_order": False}
        with replaced(self.array) as file:
            shape = (len(rows), (late if self._earlier is None else early).shape[1])
            np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
            for chunk in _chunks(rows):
                is_late = chunk >= len(early)
                values = np.empty((len(chunk), shape[1]), "<f4")
                values[~is_late] = early[chunk[~is_late]]
                if is_late.any():
                    values[is_late] = late[chunk[is_late] - len(early)]
                file.write(values.tobytes())

    def _made_of(self) -> str | None:
        """Return what the array was made of; None without one, or where it has changed since."""
        try:
            array_digest, _, made_of = self._record.read_text().partition("\n")
            return made_of if array_digest == sha256(self.array) else None
        except FileNotFoundError:
            return None

    def _read_array(self) -> Floats | None:
        """Note the digests of the array's rows and return it; None for another encoder's."""
        if self._before is None:
            if self.array.exists() and not self._journals:
                problem = "was not written by this command; name another --name or move it away"
                raise DatasetError(self.array, problem)
            return None
        key, *digests = self._before.split("\n")
        if key != self._key:
            return None
        self._digests = [bytes.fromhex(value) for value in digests]
        array: Floats = np.load(self.array, mmap_mode="r")
        return array

    def _read_journal(self) -> NDArray[Any]:
        """Return the journal's records, and cut off one that an interrupt left half-written."""
        size = self._journal.stat().st_size if self._journal.exists() else 0
        if size < _HEADER_BYTES:
            self._journal.unlink(missing_ok=True)
            return np.empty(0, _record_type(0))
        with self._journal.open("r+b") as file:
            record_type = _record_type(int.from_bytes(file.read(_HEADER_BYTES), "little"))
            count = (size - _HEADER_BYTES) // record_type.itemsize
            file.truncate(_HEADER_BYTES + count * record_type.itemsize)
        if not count:
            return np.empty(0, record_type)
        return np.memmap(self._journal, record_type, "r", _HEADER_BYTES, (count,))


def _is_journal(path: Path, name: str) -> bool:
    before, _, key = path.name.removesuffix(".journal").rpartition(".")
    return path.suffix == ".journal" and before == f".{name}" and len(key) == 16


def _record_type(dim: int) -> np.dtype[np.void]:
    return np.dtype([("digest", f"V{_DIGEST_BYTES}"), ("vector", "<f4", (dim,))])


def _chunks(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(rows), _CHUNK_ROWS):
        yield rows[start : start + _CHUNK_ROWS]


def _norms(vectors: Floats) -> Norms:
    length = np.concatenate([np.linalg.norm(chunk, axis=1) for chunk in _chunks(vectors)])
    least, mean, greatest = float(length.min()), float(length.mean()), float(length.max())
    return Norms(len(vectors), vectors.shape[1], least, mean, greatest)
