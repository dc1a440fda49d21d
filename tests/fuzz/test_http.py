"""Schemathesis calls every operation of the OpenAPI document, alone and in sequences."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.conftest import EXAMPLES
from tests.integration.conftest import Running

CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = "tests.fuzz.schemathesis_hooks"
ROOT = Path(__file__).parents[2]


def test_every_answer_is_as_documented(
    service: Running, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """No 5xx, no undocumented status, type or field; valid input is taken, other is refused."""
    seed = pytestconfig.getoption("--hypothesis-seed")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", f"--config-file={CONFIG}", "run"),
            *(f"{service.client.base_url}/openapi.json", "--no-color", "--continue-on-failure"),
            f"--max-examples={EXAMPLES}",
            *(["--generation-deterministic"] if seed is None else [f"--seed={seed}"]),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": HOOKS},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, done.stderr)  # noqa: T201  # the requests that failed, and the seed
    assert done.returncode == 0
    assert "Stateful (not applicable)" not in done.stdout
