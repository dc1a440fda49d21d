"""The model repository on disk: ``models/<name>/<version>/`` and ``aliases.json`` beside them.

An artifact is immutable: it is written under a temporary name, synced, and renamed into place.
Versions are 1, 2, 3, ...; an alias such as ``champion`` names one of them.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from service.contract.files import sha256
from service.contract.manifest import Manifest

MANIFEST = "manifest.json"
GRAPHS = ("item_encoder", "user_encoder", "ranker")
GOLDEN = "golden.npz"
BIAS_REFERENCE = "bias_reference.npz"  # optional: artifacts made before there was one have none
REQUIRED = (*(f"{graph}.onnx" for graph in GRAPHS), GOLDEN, "front.json")


Array = NDArray[np.float32]


class ArtifactError(Exception):
    """An artifact that must not serve: ``file`` is the culprit, ``reason`` what is wrong."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file
        self.reason = reason


@dataclass(frozen=True)
class Golden:
    """Raw inputs and the logits that training computed for them.

    Shapes: embedding (N, D), modality_mask (N, M), proxies (N, P), user (1, U), tradeoffs (T,),
    logits (T, N); history (L,) int64 rows of the golden items and cold_user (1, U), the vector
    that the user encoder must give for them.
    """

    embedding: Array
    modality_mask: Array
    proxies: Array
    user: Array
    tradeoffs: Array
    logits: Array
    history: NDArray[np.int64]
    cold_user: Array

    def save(self, path: Path) -> None:
        """Write the arrays to ``path`` as ``.npz`` without pickle."""
        np.savez(path, **vars(self))


@dataclass(frozen=True)
class BiasReference:
    """What the model shows, measured on the top 10 of the whole catalogue, to hold traffic against.

    Shapes: click_percentile (I,) in (0, 100), where each of ``item_ids`` stands by its training
    clicks; tradeoffs (T,); score_deciles (T, 9), the inner deciles of the calibrated scores shown;
    exposure_gini (T,), expected of ``WINDOW`` places.
    """

    WINDOW = 1000
    TOP = 10

    item_ids: list[str]
    click_percentile: Array
    tradeoffs: Array
    score_deciles: Array
    exposure_gini: Array

    def save(self, path: Path) -> None:
        """Write the arrays to ``path`` as ``.npz`` without pickle; ids joined by newlines."""
        joined = np.frombuffer("\n".join(self.item_ids).encode(), np.uint8)
        np.savez_compressed(path, **{**vars(self), "item_ids": joined})


@dataclass(frozen=True)
class Artifact:
    """A verified artifact: its manifest is valid and every file has the hash it names."""

    path: Path
    manifest: Manifest

    @property
    def version(self) -> int:
        """The number of the folder."""
        return int(self.path.name)

    @property
    def label(self) -> str:
        """``name@version``, as requests and responses spell it."""
        return f"{self.manifest.name}@{self.path.name}"

    def graph(self, name: str) -> Path:
        """Return the path of one ONNX graph."""
        return self.path / f"{name}.onnx"

    def golden(self) -> Golden:
        """Read the golden inputs; raises ArtifactError if they are incomplete."""
        return Golden(**_arrays(self.path / GOLDEN, {f.name for f in fields(Golden)}))

    def bias_reference(self) -> BiasReference | None:
        """Read what the model shows, None where the artifact does not tell."""
        if BIAS_REFERENCE not in self.manifest.files:
            return None
        path = self.path / BIAS_REFERENCE
        arrays = _arrays(path, {f.name for f in fields(BiasReference)})
        ids = arrays.pop("item_ids").tobytes().decode()
        found = BiasReference(item_ids=ids.split("\n") if ids else [], **arrays)
        points = len(found.tradeoffs)
        for name, shape in (
            ("click_percentile", (len(found.item_ids),)),
            ("score_deciles", (points, 9)),
            ("exposure_gini", (points,)),
        ):
            if (given := getattr(found, name).shape) != shape:
                raise ArtifactError(path, f"{name}: shape is {given}, not {shape}")
        return found


def _arrays(path: Path, names: set[str]) -> dict[str, Any]:
    """Return the arrays of an ``.npz`` file, which must be ``names``."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = dict(arrays)
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise ArtifactError(path, f"cannot be read: {error}") from error
    if found.keys() != names:
        raise ArtifactError(path, f"cannot be read: holds {sorted(found)}, not {sorted(names)}")
    return found


def open_artifact(path: Path) -> Artifact:
    """Return the verified artifact in ``path``; raises ArtifactError naming file and reason."""
    manifest_path = path / MANIFEST
    try:
        manifest = Manifest.model_validate_json(manifest_path.read_bytes())
    except FileNotFoundError as error:
        raise ArtifactError(manifest_path, "is missing") from error
    except OSError as error:
        raise ArtifactError(manifest_path, f"cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise ArtifactError(manifest_path, f"{where}: {first['msg']}") from error
    for name in REQUIRED:
        if name not in manifest.files:
            raise ArtifactError(manifest_path, f"files: {name} is not listed")
    for name, expected in manifest.files.items():
        if Path(name).name != name:
            raise ArtifactError(manifest_path, f"files: {name!r} is not a plain file name")
        file = path / name
        if not file.is_file():
            raise ArtifactError(file, "is missing")
        if (actual := sha256(file)) != expected:
            raise ArtifactError(file, f"SHA-256 is {actual}, the manifest says {expected}")
    if manifest.name != path.parent.name:
        raise ArtifactError(manifest_path, f"name {manifest.name!r} is not its folder's name")
    return Artifact(path, manifest)
