"""What is known of files: a fact of a file that did not change is not computed again."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from service.contract.files import sha256, write_atomically
from training.data.lakes import is_lake, lake_version
from training.data.parquet import MISSING
from training.errors import DatasetError

# A file may change again within one tick of its file system's clock, of at most 2 s (FAT): what is
# known of a younger file is not kept.
_TICK_NS = 2 * 10**9
_MAGIC, _TAIL_BYTES = b"PAR1", 8  # a Parquet file ends with its footer, the footer's size and this

CHANGED = "changed while it was read; run the command again"

Identity = list[int | str]


@dataclass
class _Known:
    """The facts of a file, by name, while it has this identity."""

    identity: Identity
    facts: dict[str, Any] = field(default_factory=dict)
    settled: bool = True


_STORED = TypeAdapter(dict[str, _Known])


class FileFacts:
    """Facts of files, kept in the file ``path`` from one opening to the next; None keeps none.

    The identity of a file is its size, the times of its last change, its inode, and its footer if
    it is Parquet. The system sets the time of the last change of state (ctime), and no program can:
    a file that is rewritten has another identity, whatever its size and modification time.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._before: dict[str, _Known] = {}
        self._now: dict[str, _Known] = {}
        if path is not None and path.exists():
            try:
                self._before = _STORED.validate_json(path.read_bytes())
            except ValidationError:  # of another version, or damaged: nothing is known
                self._before = {}

    def get(self, file: Path, name: str, compute: Callable[[], Any]) -> Any:
        """Return the fact ``name`` of ``file``, a JSON value: known, or else ``compute()``."""
        facts = self._known(file).facts
        if name not in facts:
            facts[name] = compute()
        return facts[name]

    def knows(self, file: Path, name: str) -> bool:
        """Return whether the fact is known."""
        return name in self._known(file).facts

    def digest(self, file: Path) -> str:
        """Return the SHA-256 of a file, or of a lake's version; raises DatasetError."""

        def compute() -> str:
            return lake_version(file) if is_lake(file) else sha256(file)

        return str(self.get(file, "sha256", compute))

    def check_unchanged(self) -> None:
        """Raise DatasetError for a file that changed since its first fact was asked for."""
        for name, known in self._now.items():
            file = Path(name)
            if _stat(file) != known.identity[: len(_stat(file))]:
                raise DatasetError(file, CHANGED)

    def save(self) -> None:
        """Keep the facts of the files that this opening saw, except of those changed just now."""
        if self._path is not None:
            kept = {name: known for name, known in self._now.items() if known.settled}
            write_atomically(self._path, _STORED.dump_json(kept))

    def _known(self, file: Path) -> _Known:
        name = str(file.absolute())
        if name not in self._now:
            now = time.time_ns()
            identity = [*_stat(file), _footer(file)]
            before = self._before.get(name)
            facts = before.facts if before is not None and before.identity == identity else {}
            settled = now - _last_change_ns(file) > _TICK_NS
            self._now[name] = _Known(identity, facts, settled)
        return self._now[name]


def _stat(file: Path) -> Identity:
    try:
        if is_lake(file):
            return [lake_version(file)]
        stat = file.stat()
    except FileNotFoundError as error:
        raise DatasetError(file, MISSING) from error
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _last_change_ns(file: Path) -> int:
    stat = file.stat()
    return max(stat.st_mtime_ns, stat.st_ctime_ns)


def _footer(path: Path) -> str:
    """Return the digest of a Parquet file's footer, "" for a file of another kind."""
    if is_lake(path):
        return ""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read(_TAIL_BYTES)
        if len(tail) < _TAIL_BYTES or tail[4:] != _MAGIC:
            return ""
        length = min(int.from_bytes(tail[:4], "little"), size - _TAIL_BYTES)
        file.seek(size - _TAIL_BYTES - length)
        return hashlib.sha256(file.read(length)).hexdigest()
