"""The state of an unfinished run, in one file that is replaced atomically."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from service.contract.files import replaced
from training.errors import TrainingError
from training.fitting import distributed


class Checkpoint:
    """A file of tensors, numbers, strings and lists of them.

    With several processes, the first one reads for all, and the first one alone writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, Any] | None:
        """Return the last saved state, None if there is none.

        Raises TrainingError if the file is damaged.
        """
        path, source = self.path, self._source()
        if source is None:
            return None
        try:
            # A mapped file is read once, to where its values go.
            mapped = isinstance(source, str)
            state: dict[str, Any] = torch.load(source, "cpu", weights_only=True, mmap=mapped)
        except Exception as error:  # torch raises many types, depending on the damage
            raise TrainingError(
                f"{path}: the checkpoint cannot be read; remove it to train anew"
            ) from error
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file by ``state``; one that cannot be written leaves the last one."""
        if not distributed.is_first():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(self.path) as file:
            target = _Target(file)
            try:
                torch.save(state, cast(BinaryIO, target))
            except RuntimeError:
                if target.error is None:
                    raise
                raise target.error from None

    def _source(self) -> str | io.BytesIO | None:
        """Return what to load: the file, or with several processes its content."""
        path = self.path
        if distributed.world_size() == 1:
            return str(path) if path.exists() else None
        content = distributed.from_first(lambda: path.read_bytes() if path.exists() else None)
        return None if content is None else io.BytesIO(content)


class _Target:
    """A file that remembers why a write failed: torch raises an error of its own instead."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()
