from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from training.fitting import provenance
from training.fitting.provenance import Commit, commit


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    commit.cache_clear()
    yield
    commit.cache_clear()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder without git that the code seems to run from, outside of any image."""
    monkeypatch.setenv("PARETORANK_COMMIT", "")  # as an image built without a revision has it
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.setattr(provenance, "__file__", str(folder / "provenance.py"))
    return folder


def git(folder: Path, *words: str) -> str:
    program = shutil.which("git")
    assert program is not None
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    command = [program, "-C", str(folder), *author, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def committed(folder: Path) -> str:
    """Commit one file, and return the SHA of the commit."""
    (folder / "module.py").write_text("x = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", "module.py")
    git(folder, "commit", "-q", "-m", "x")
    return git(folder, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("described", "expected"),
    [("abc123", Commit("abc123", dirty=False)), ("abc-dirty", Commit("abc", dirty=True))],
)
def test_an_image_names_its_commit(
    monkeypatch: pytest.MonkeyPatch, described: str, expected: Commit
) -> None:
    monkeypatch.setenv("PARETORANK_COMMIT", described)

    assert commit() == expected


def test_without_git_there_is_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commit() is None  # no repository
    committed(checkout)
    commit.cache_clear()
    monkeypatch.setenv("PATH", "")

    assert commit() is None  # no program


def test_a_clean_checkout_names_its_commit(checkout: Path) -> None:
    sha = committed(checkout)

    assert commit() == Commit(sha, dirty=False)
    assert len(sha) == 40


def test_a_tag_does_not_replace_the_commit(checkout: Path) -> None:
    sha = committed(checkout)
    git(checkout, "tag", "-a", "v1", "-m", "first")

    assert commit() == Commit(sha, dirty=False)


def test_a_changed_file_makes_a_checkout_dirty(checkout: Path) -> None:
    sha = committed(checkout)
    (checkout / "module.py").write_text("x = 2\n")

    assert commit() == Commit(sha, dirty=True)
