"""The TypeScript client is up to date, type-checked, and calls a live service."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from service.access.keys import add
from tests.conftest import World
from tests.integration.conftest import deploy

CLIENT = Path(__file__).parents[3] / "clients" / "typescript"

pytestmark = pytest.mark.skipif(
    shutil.which("npm") is None or not (CLIENT / "node_modules").is_dir(),
    reason="make test-clients sets up clients/typescript/node_modules",
)


def _npm(script: str, **environment: str) -> None:
    done = subprocess.run(
        ["npm", "run", "--silent", script],
        cwd=CLIENT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_types_are_those_of_the_document_and_the_client_fits_them() -> None:
    _npm("check")


def test_the_client_calls_a_live_service(world: World, redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = add(path, "page", frozenset({"rank", "feedback", "admin"}))
    deployment = deploy(world, redis_url, tmp_path / "models", access="keys", keys_file=path)
    with deployment.serve() as service:
        _npm("test", PARETORANK_URL=str(service.client.base_url), PARETORANK_KEY=key)
