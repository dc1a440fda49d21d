"""Dockerfiles: linted, without root, built from locked dependencies and listed files."""

from __future__ import annotations

import re
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
    assert "ARG LOCK=requirements-service.lock\n" in text
    assert '--require-hashes -r "${LOCK}"' in text
    assert "torch" not in (ROOT / "requirements-service.lock").read_text()
    assert "COPY training" not in text


def test_the_lock_with_tracing_adds_to_the_service_s() -> None:
    service, with_tracing = (
        set(re.findall(r"^[a-z].*==\S+", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements-service.lock", "requirements-service-otel.lock")
    )
    assert service < with_tracing, "run make lock"
    assert all(
        re.match("opentelemetry|googleapis|requests|certifi|charset|urllib3", pin)
        for pin in with_tracing - service
    )


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
