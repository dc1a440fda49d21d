"""From a text to the input of a net: the ids of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.errors import ConfigError
from training.media.description import Text

Ids = NDArray[np.int64]


class TextInput:
    """Tokenizes texts for one encoder; raises ConfigError for a file that is no tokenizer."""

    def __init__(self, options: Text, path: Path) -> None:
        try:
            self._tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            problem = "is missing; put the tokenizer there or name another in [text]"
            raise ConfigError(f"{path}: {problem}") from error
        except Exception as error:  # the library raises no other class
            raise ConfigError(
                f"{path}: is not a file of the tokenizers library: {error}"
            ) from error
        self._tokenizer.enable_truncation(options.max_length)
        padding = self._tokenizer.padding or {}
        self._tokenizer.no_padding()
        self._pad_id = int(padding.get("pad_id", 0))

    def __call__(self, content: bytes) -> Ids:
        """Return the ids (L,) of a text's tokens."""
        ids: Ids = np.array(self._tokenizer.encode(content.decode()).ids, np.int64)
        return ids

    def pad(self, texts: Sequence[Ids], length: int | None) -> dict[str, Ids]:
        """Return the inputs (B, L) that a net may name; L is ``length`` or the longest text's.

        ``attention_mask`` is 1 for tokens and 0 for padding.
        """
        longest = max(map(len, texts)) if length is None else length
        ids = np.full((len(texts), longest), self._pad_id, np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(texts):
            text = text[:longest]
            ids[row, : len(text)], mask[row, : len(text)] = text, 1
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
