"""What a run has so far, in one file, replaced as a whole."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch

from training.errors import TrainingError
from training.fitting import distributed


class Checkpoint:
    """A file of tensors, numbers, strings and lists of them.

    Of several processes each loads what the first one reads, and the first alone writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, Any] | None:
        """Return what was saved last, None if nothing was; raises TrainingError if it is cut."""
        path = self.path
        saved = distributed.from_first(lambda: path.read_bytes() if path.exists() else None)
        if saved is None:
            return None
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(saved), weights_only=True)
        except Exception as error:  # a cut file raises whatever its damage happens to break
            raise TrainingError(
                f"{path}: the checkpoint cannot be read; remove it to train anew"
            ) from error
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Write ``state`` under another name, sync it, and move it into place."""
        if not distributed.is_first():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
