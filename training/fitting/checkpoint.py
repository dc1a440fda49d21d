"""The state of an unfinished run, in one file that is replaced atomically."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from service.contract.files import write_atomically
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
        path = self.path
        content = distributed.from_first(lambda: path.read_bytes() if path.exists() else None)
        if content is None:
            return None
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
        except Exception as error:  # torch raises many types, depending on the damage
            raise TrainingError(
                f"{path}: the checkpoint cannot be read; remove it to train anew"
            ) from error
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file by ``state``; one that cannot be written leaves the last one."""
        if not distributed.is_first():
            return
        content = io.BytesIO()  # torch hides a full disk behind an error of its own
        torch.save(state, content)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, content.getbuffer())
