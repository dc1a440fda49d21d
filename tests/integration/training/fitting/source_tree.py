"""A copy of the packages, without git, that the run store takes for the code that runs."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from training.fitting.provenance import source_digest

ROOT = Path(__file__).parents[4]
PACKAGES = ("training", "service")


@dataclass(frozen=True)
class SourceTree:
    """Files under ``folder`` that tests may change."""

    folder: Path

    @classmethod
    def copied_to(cls, folder: Path) -> SourceTree:
        """Copy the packages and the README."""
        for package in PACKAGES:
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / package, folder / package, ignore=ignore)
        shutil.copy(ROOT / "README.md", folder)
        return cls(folder)

    @contextmanager
    def new_process(self) -> Iterator[None]:
        """Make ``source_digest`` read the copy and compute again, as a new process would."""
        find_spec = importlib.util.find_spec

        def find_copy(name: str, package: str | None = None) -> ModuleSpec | None:
            spec = find_spec(name, package)
            if spec is None or spec.origin is None or name.partition(".")[0] not in PACKAGES:
                return spec
            copy = self.folder / Path(spec.origin).relative_to(ROOT)
            return ModuleSpec(name, spec.loader, origin=str(copy))

        source_digest.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(importlib.util, "find_spec", find_copy)
            yield
        source_digest.cache_clear()

    def digest(self, module: str = "training.fitting.train_net") -> str:
        """Return the digest of ``module``."""
        with self.new_process():
            return source_digest(module)

    @contextmanager
    def changed(self, name: str) -> Iterator[None]:
        """Add a comment to the file ``name``, which is restored in the end."""
        path = self.folder / name
        content = path.read_bytes()
        path.write_bytes(content + b"\n# changed\n")
        try:
            yield
        finally:
            path.write_bytes(content)
