"""The model repository on disk: ``models/<name>/<version>/`` and ``aliases.json`` beside them.

An artifact is immutable: it is written under a temporary name, synced, and renamed into place.
Versions are 1, 2, 3, ...; an alias such as ``champion`` names one of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from service.contract.manifest import Manifest, Name

MANIFEST = "manifest.json"
GRAPHS = ("item_encoder", "user_encoder", "ranker")
GOLDEN = "golden.npz"
SERVED = "served.npz"  # optional: artifacts made before there was one have none
REQUIRED = (*(f"{graph}.onnx" for graph in GRAPHS), GOLDEN, "front.json")
ALIASES = "aliases.json"
CHAMPION = "champion"
_NAMES = "lower-case letters, digits, - and _, a letter or digit first, at most 64"

_VERSION = re.compile(r"[1-9][0-9]{0,17}")  # str.isdigit accepts what int() does not

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
class ServedReference:
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

    def served(self) -> ServedReference | None:
        """Read what the model shows, None where the artifact does not tell."""
        if SERVED not in self.manifest.files:
            return None
        path = self.path / SERVED
        arrays = _arrays(path, {f.name for f in fields(ServedReference)})
        ids = arrays.pop("item_ids").tobytes().decode()
        found = ServedReference(item_ids=ids.split("\n") if ids else [], **arrays)
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


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Repository:
    """The folder ``models/``: finds versions, adds one, moves aliases."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Return the model names that have at least one version, sorted."""
        if not self.root.is_dir():
            return []
        folders = (path.name for path in self.root.iterdir() if path.is_dir())
        return sorted(name for name in folders if _is_name(name) and self.versions(name))

    def versions(self, name: str) -> list[int]:
        """Return the versions of ``name``, oldest first."""
        folder = self.root / name
        if not folder.is_dir():
            return []
        found = (path for path in folder.iterdir() if _VERSION.fullmatch(path.name))
        return sorted(int(path.name) for path in found if path.is_dir())

    def path(self, name: str, version: int) -> Path:
        """Return the folder of one version."""
        return self.root / name / str(version)

    def aliases(self, name: str) -> dict[str, int]:
        """Return alias -> version of ``name``; empty where none was ever set."""
        path = self.root / name / ALIASES
        try:
            aliases = TypeAdapter(dict[Name, int]).validate_json(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as error:
            raise ArtifactError(path, f"is not a table of alias to version: {error}") from error
        for alias in aliases:
            self.check_alias(name, alias)
        return aliases

    def check_name(self, name: str) -> None:
        """Raise ArtifactError unless ``name`` may name a model."""
        if not _is_name(name):
            raise ArtifactError(self.root / name, f"{name!r} is no name: {_NAMES}")

    def check_alias(self, name: str, alias: str) -> None:
        """Raise ArtifactError unless ``alias`` may name a version; a number would hide one."""
        if not _is_name(alias) or _VERSION.fullmatch(alias):
            reason = f"{alias!r} is no alias: {_NAMES}, and no number"
            raise ArtifactError(self.root / name / ALIASES, reason)

    def resolve(self, reference: str, alias: str = CHAMPION) -> Path:
        """Return the folder that ``name``, ``name@version`` or ``name@alias`` stands for.

        A bare name stands for its ``alias`` if set, else for its newest version. Raises
        ArtifactError if there is no such version.
        """
        name, _, wanted = reference.partition("@")
        if name not in (names := self.names()):  # a name never leads out of the repository
            known = ", ".join(names) or "none"
            raise ArtifactError(self.root / name, f"no such model (there are: {known})")
        versions, aliases = self.versions(name), self.aliases(name)
        if _VERSION.fullmatch(wanted):
            version = int(wanted)
        elif wanted or alias in aliases:
            if (wanted or alias) not in aliases:
                known = ", ".join(sorted(aliases)) or "none"
                raise ArtifactError(self.root / name, f"no alias {wanted!r} (there are: {known})")
            version = aliases[wanted or alias]
        else:
            version = versions[-1]
        if version not in versions:
            raise ArtifactError(self.path(name, version), "no such version")
        return self.path(name, version)

    def promote(self, name: str, version: int, alias: str = CHAMPION) -> int | None:
        """Point ``alias`` at ``version`` atomically; return the version it left, if any."""
        self.check_alias(name, alias)
        open_artifact(self.path(name, version))
        aliases = self.aliases(name)
        previous = aliases.get(alias)
        aliases[alias] = version
        write_atomically(
            self.root / name / ALIASES, json.dumps(aliases, indent=2, sort_keys=True).encode()
        )
        return previous

    @contextlib.contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """Yield an empty folder beside the versions; it is removed unless added."""
        self.check_name(name)
        parent = self.root / name
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".staging-", dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add(self, name: str, staged: Path) -> Artifact:
        """Verify and sync the staged folder, then rename it to the next free version."""
        manifest = open_artifact(staged).manifest
        folder_mode = 0o755  # mkdtemp made it private; another user may run the service
        staged.chmod(folder_mode)
        for file in staged.iterdir():
            sync(file)
        sync(staged)
        version = max(self.versions(name), default=0) + 1
        while True:
            try:
                staged.rename(self.path(name, version))
                break
            except OSError:  # another training run took this number
                if not self.path(name, version).exists():
                    raise
                version += 1
        sync(self.root / name)
        return Artifact(self.path(name, version), manifest)


def _is_name(text: str) -> bool:
    try:
        TypeAdapter(Name).validate_python(text)
    except ValidationError:
        return False
    return True


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``: a reader sees the old bytes or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Force a file or a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
