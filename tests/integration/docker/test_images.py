"""Dockerfiles: linted, without root, built from locked dependencies and listed files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.docker.conftest import DOCKER, ROOT

HADOLINT = Path(sys.executable).parent / "hadolint"
FILES = sorted([*DOCKER.glob("*/Dockerfile"), *(ROOT / "tests" / "stack").glob("*/Dockerfile")])


def _name(path: Path) -> str:
    return path.parent.name


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_hadolint_reports_nothing(path: Path) -> None:
    done = subprocess.run([HADOLINT, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_bases_are_arguments_and_no_user_is_root(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert not lines[0].lower().startswith("# syntax=")  # the engine would pull it
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert set(bases) <= {"${BASE}", "scratch"}
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users in (["10001:10001"], ["99:99"])


def test_the_service_installs_only_its_lock() -> None:
    text = (DOCKER / "service" / "Dockerfile").read_text()
    assert "--require-hashes -r requirements-service.lock" in text
    assert "torch" not in (ROOT / "requirements-service.lock").read_text()
    assert "COPY training" not in text


def test_the_build_context_lists_every_copied_file() -> None:
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    assert patterns[1] == "*"
    for name in ("models", "build", "data", "results", "tests", ".git"):
        assert not any(pattern.startswith(f"!{name}") for pattern in patterns)
    for path in FILES:
        if path.parent.name in {"models", "haproxy"}:  # built from other contexts
            continue
        copies = [
            line.split()[1:-1]
            for line in path.read_text().splitlines()
            if line.startswith("COPY ") and "--from" not in line
        ]
        for source in [source for copy in copies for source in copy]:
            folder = source.rsplit("/", 1)[0]
            assert {f"!{source}", f"!{source}/**", f"!{folder}/**"} & set(patterns), source
