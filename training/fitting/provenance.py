"""The code of a run: its commit, and a digest of the sources that a module imports."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import os
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("training", "service")
_LIBRARIES = ("numpy", "scikit-learn", "scipy", "torch")  # their versions may change figures


@dataclass(frozen=True)
class Commit:
    """A git commit; ``dirty`` if tracked files differ from it."""

    sha: str
    dirty: bool


@functools.cache
def commit() -> Commit | None:
    """Return the commit of this code's image or checkout; None if it has none."""
    description = os.environ.get("PARETORANK_COMMIT") or _describe()
    if not description:
        return None
    sha = description.removesuffix("-dirty")
    return Commit(sha, dirty=sha != description)


def _describe() -> str:
    """Return the commit of the checkout, with ``-dirty`` if tracked files differ from it."""
    folder = str(Path(__file__).parent)
    command = ["git", "-C", folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # fixed words
    except FileNotFoundError:
        return ""
    return process.stdout.strip()


@functools.cache
def source_digest(module: str) -> str:
    """Return the SHA-256, as hex, of all code that a run in ``module`` depends on.

    It covers the project's modules that ``module`` imports, directly or not, with their packages;
    the packaged configurations; and the versions of the computing libraries. It covers no other
    file, so a changed README leaves results valid.
    """
    digest = hashlib.sha256()
    for name, path in sorted(_reachable(module).items()):
        digest.update(f"{name}\n".encode() + path.read_bytes())
    for path in sorted(_source("training.configs").parent.glob("*.toml")):
        digest.update(path.name.encode() + path.read_bytes())
    for library in _LIBRARIES:
        digest.update(f"{library} {version(library)}\n".encode())
    return digest.hexdigest()


def _reachable(module: str) -> dict[str, Path]:
    """Return the project's modules that ``module`` imports, including itself, with their files."""
    reached: dict[str, Path] = {}
    pending = [module]
    while pending:
        name = pending.pop()
        if name in reached or not _is_module(name):
            continue
        reached[name] = _source(name)
        pending += [name.rpartition(".")[0], *_imports(reached[name].read_bytes())]
    return reached


@functools.cache  # most modules of a command reach the same files
def _imports(source: bytes) -> tuple[str, ...]:
    """Return the dotted names that a source imports: modules, and names that may be modules."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


@functools.cache
def _is_module(name: str) -> bool:
    if name.partition(".")[0] not in _PACKAGES:
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a name inside a module
        return False


def _source(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None  # noqa: S101  # by ``_is_module``
    assert spec.origin is not None  # noqa: S101  # every package has an __init__.py
    return Path(spec.origin)
