"""Encoders of other libraries, where they are installed and the model lies on this disk."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.contract.files import sha256
from training.data.columns import Floats
from training.errors import ConfigError
from training.media import Kind


class SentenceTransformer:
    """A model that ``sentence_transformers`` saved in a folder; for texts."""

    def __init__(self, folder: Path) -> None:
        """Load it; raises ConfigError without the library or the folder."""
        library = _library("sentence_transformers", "sentence-transformers")
        if not folder.is_dir():
            raise ConfigError(f"{folder}: is no folder of a model; name the folder it is saved in")
        self.label = f"sentence-transformers:{folder}"
        self.key = _digest(self.label, [path for path in folder.rglob("*") if path.is_file()])
        self._model = library.SentenceTransformer(str(folder), local_files_only=True)

    def prepare(self, content: bytes) -> str:
        """Return a text."""
        return content.decode()

    def encode(self, inputs: Sequence[str]) -> Floats:
        """Return the vectors (n, D) of n texts."""
        vectors = self._model.encode(
            list(inputs), batch_size=len(inputs), show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(vectors, np.float32)


class OpenClip:
    """A CLIP model of an architecture that ``open_clip`` knows; for pictures and texts."""

    def __init__(self, architecture: str, weights: Path, kind: Kind) -> None:
        """Load it; raises ConfigError without the library or the file of weights."""
        library = _library("open_clip", "open-clip-torch")
        self._torch: Any = importlib.import_module("torch")
        if not weights.is_file():
            raise ConfigError(f"{weights}: is no file of weights; name the model's checkpoint")
        self.label = f"open_clip:{architecture}:{weights}"
        self.key = _digest(f"{kind}:{self.label}", [weights])
        self._model, _, self._preprocess = library.create_model_and_transforms(
            architecture, pretrained=str(weights)
        )
        self._model.eval()
        self._kind, self._tokenizer = kind, library.get_tokenizer(architecture)

    def prepare(self, content: bytes) -> Any:
        """Return a picture or a text as a tensor without a batch; raises MediumError."""
        if self._kind == "text":
            return self._tokenizer([content.decode()])[0]
        from training.media.pictures import decode

        return self._preprocess(decode(content))

    def encode(self, inputs: Sequence[Any]) -> Floats:
        """Return the vectors (n, D) of n pictures or texts, each of length 1."""
        batch = self._torch.stack(list(inputs))
        method = self._model.encode_text if self._kind == "text" else self._model.encode_image
        with self._torch.inference_mode():
            vectors: Floats = method(batch, normalize=True).float().numpy()
        return vectors


def _library(name: str, package: str) -> Any:
    os.environ["HF_HUB_OFFLINE"] = "1"  # neither library may fetch what the disk lacks
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ConfigError(f"--encoder needs a package: pip install {package}") from error


def _digest(label: str, files: list[Path]) -> str:
    """Return a digest of a model's name and the bytes of its files."""
    parts = [label, *(f"{path.name} {sha256(path)}" for path in sorted(files))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
