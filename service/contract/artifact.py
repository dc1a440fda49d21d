"""An artifact: the immutable folder of one model version, verified when it is opened."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from service.contract.card import CARD, CARD_PAGE
from service.contract.files import sha256
from service.contract.manifest import Manifest

MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
BIAS_REFERENCE = "bias_reference.npz"  # optional
REQUIRED = (GOLDEN, "front.json")

Array = NDArray[np.float32]


class ArtifactError(Exception):
    """An artifact is invalid: ``file`` is the file at fault, ``reason`` its fault."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file
        self.reason = reason


@dataclass(frozen=True)
class Golden:
    """Golden inputs, and the outputs that training computed from them.

    Shapes: embedding (N, D), modality_mask (N, M), proxies (N, P), user (1, U), tradeoffs (T,);
    the ranker's logits (T, N). ``history`` (L,) int64 are rows of the golden items; ``cold_user``
    (1, U) is the user encoder's vector of that history. Where known users move, ``record`` (1, V)
    is a user's, and ``moved_user`` (1, U) the vector after engagements with that history.
    """

    embedding: Array
    modality_mask: Array
    proxies: Array
    user: Array
    tradeoffs: Array
    logits: Array
    history: NDArray[np.int64]
    cold_user: Array
    record: Array | None = None
    moved_user: Array | None = None

    def save(self, path: Path) -> None:
        """Write the arrays to ``path`` as ``.npz`` without pickle."""
        arrays = {name: array for name, array in vars(self).items() if array is not None}
        np.savez(path, **arrays)


@dataclass(frozen=True)
class BiasReference:
    """Exposure bias of a model, measured offline; the exposure monitor compares traffic with it.

    Measured on the first ``TOP`` places of rankings of the whole catalogue. Shapes:
    click_percentile (I,) in (0, 100), each item's percentile by training clicks; tradeoffs (T,);
    score_deciles (T, 9), the inner deciles of the calibrated scores; exposure_gini (T,), the
    expected Gini coefficient of ``WINDOW`` places.
    """

    WINDOW = 1000
    TOP = 10

    item_ids: list[str]
    click_percentile: Array
    tradeoffs: Array
    score_deciles: Array
    exposure_gini: Array

    def save(self, path: Path) -> None:
        """Write the arrays to ``path`` as ``.npz`` without pickle; newlines separate the ids."""
        joined = np.frombuffer("\n".join(self.item_ids).encode(), np.uint8)
        np.savez_compressed(path, **{**vars(self), "item_ids": joined})


@dataclass(frozen=True)
class CardFiles:
    """An artifact's card as bytes: ``document`` is JSON, ``page`` Markdown."""

    document: bytes
    page: bytes


@dataclass(frozen=True)
class Artifact:
    """A verified artifact: its manifest is valid, and so is the hash of every file."""

    path: Path
    manifest: Manifest

    @property
    def version(self) -> int:
        """The model version, which is the folder's name."""
        return int(self.path.name)

    @property
    def label(self) -> str:
        """``name@version``, as requests and responses spell it."""
        return f"{self.manifest.name}@{self.path.name}"

    def graph(self, name: str) -> Path:
        """Return the path of one ONNX graph."""
        return self.path / f"{name}.onnx"

    def golden(self) -> Golden:
        """Read the golden inputs; raises ArtifactError if the arrays are not the expected ones."""
        names = {f.name for f in fields(Golden)}
        if not self.manifest.moves_users:
            names -= {"record", "moved_user"}
        return Golden(**_arrays(self.path / GOLDEN, names))

    def card(self) -> CardFiles | None:
        """Read the card, None if there is none; raises ArtifactError if it cannot be read."""
        if not {CARD, CARD_PAGE} <= self.manifest.files.keys():
            return None
        path = self.path / CARD
        try:
            return CardFiles(path.read_bytes(), path.with_name(CARD_PAGE).read_bytes())
        except OSError as error:
            raise ArtifactError(path, f"cannot be read: {error}") from error

    def bias_reference(self) -> BiasReference | None:
        """Read the bias reference, None if there is none; raises ArtifactError if it is invalid."""
        if BIAS_REFERENCE not in self.manifest.files:
            return None
        path = self.path / BIAS_REFERENCE
        arrays = _arrays(path, {f.name for f in fields(BiasReference)})
        try:
            ids = arrays.pop("item_ids").tobytes().decode()
        except UnicodeDecodeError as error:
            raise ArtifactError(path, f"item_ids: {error}") from error
        reference = BiasReference(item_ids=ids.split("\n") if ids else [], **arrays)
        points = reference.tradeoffs.size
        for name, expected in (
            ("tradeoffs", (points,)),
            ("click_percentile", (len(reference.item_ids),)),
            ("score_deciles", (points, 9)),
            ("exposure_gini", (points,)),
        ):
            if (shape := getattr(reference, name).shape) != expected:
                raise ArtifactError(path, f"{name}: shape is {shape}, not {expected}")
        return reference


def _arrays(path: Path, names: set[str]) -> dict[str, Any]:
    """Return the arrays of an ``.npz`` file; raises ArtifactError unless they are ``names``."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as npz:
            arrays = dict(npz)
    except Exception as error:  # NumPy, zipfile and zlib raise errors of many classes
        raise ArtifactError(path, f"cannot be read: {error}") from error
    actual = {name for name, array in arrays.items() if isinstance(array, np.ndarray)}
    if actual != names:  # NumPy reads a file of the archive that is no array as bytes
        reason = f"cannot be read: its arrays are {sorted(actual)}, not {sorted(names)}"
        raise ArtifactError(path, reason)
    return arrays


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
        field = ".".join(map(str, first["loc"])) or "the document"
        raise ArtifactError(manifest_path, f"{field}: {first['msg']}") from error
    graphs = (f"{graph}.onnx" for graph in manifest.graphs)
    for name in (*REQUIRED, *graphs):
        if name not in manifest.files:
            raise ArtifactError(manifest_path, f"files: {name} is not listed")
    for name, expected in manifest.files.items():
        if Path(name).name != name:
            raise ArtifactError(manifest_path, f"files: {name!r} is not a plain file name")
        file = path / name
        if not file.is_file():
            raise ArtifactError(file, "is missing")
        try:
            actual = sha256(file)
        except OSError as error:
            raise ArtifactError(file, f"cannot be read: {error.strerror}") from error
        if actual != expected:
            raise ArtifactError(file, f"SHA-256 is {actual}, not {expected} as in the manifest")
    if manifest.name != path.parent.name:
        raise ArtifactError(manifest_path, f"name {manifest.name!r} is not the name of its folder")
    return Artifact(path, manifest)
