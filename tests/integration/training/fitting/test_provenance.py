from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from training.fitting import provenance


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Let each test find out anew."""
    provenance.git_commit.cache_clear()
    yield
    provenance.git_commit.cache_clear()


def test_an_image_tells_what_it_was_built_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARETORANK_COMMIT", "abc123")
    assert provenance.git_commit() == provenance.code_version() == "abc123"


def test_a_checkout_is_asked_where_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PARETORANK_COMMIT", "")  # as an image built without a revision has it
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert provenance.git_commit() is None
    assert provenance.code_version() == version("paretorank")

    git = shutil.which("git")
    assert git is not None
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for words in (("init", "-q"), (*author, "commit", "-q", "--allow-empty", "-m", "x")):
        subprocess.run([git, "-C", str(tmp_path), *words], check=True)
    provenance.git_commit.cache_clear()
    commit = provenance.git_commit()
    assert commit is not None
    assert len(commit) == 40
