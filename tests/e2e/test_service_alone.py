"""The service as it is deployed: its own dependencies, no torch anywhere."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import Settings, describe
from tests.conftest import World
from tests.e2e.conftest import ROOT

ALONE = ROOT / ".venv-service" / "bin" / "python"


def _run(
    python: str | Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_service_imports_where_torch_is_not_installed() -> None:
    assert ALONE.exists(), "make test sets up .venv-service"
    absent = _run(ALONE, "-c", "import torch")
    assert "No module named 'torch'" in absent.stderr
    program = "import service.app, sys; assert 'torch' not in sys.modules"
    done = _run(ALONE, "-c", program)
    assert done.returncode == 0, done.stderr


def test_importing_the_service_here_does_not_import_torch_either() -> None:
    program = "import service.app, sys; assert not {'torch', 'training'} & set(sys.modules)"
    done = _run(sys.executable, "-c", program)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", [("service",), ("paretorank", "serve")], ids=" ".join)
def test_the_service_alone_replays_an_artifact(world: World, program: tuple[str, ...]) -> None:
    done = _run(ALONE, "-m", *program, "--check", str(world.artifact.path))
    assert (done.returncode, done.stdout.strip()) == (
        0,
        "toy@1: all files and golden logits are valid",
    )


def test_what_the_service_alone_lacks_is_named_with_its_mend() -> None:
    mend = "need the packages of training: pip install 'paretorank[training]'\n"
    listed = _run(ALONE, "-m", "paretorank", "--help")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "  serve   Serve rankings over HTTP.\n" in listed.stdout
    assert listed.stdout.endswith(mend)
    for arguments in (("train", "--help"), ("--install-completion",)):
        refused = _run(ALONE, "-m", "paretorank", *arguments)
        start = f"error: paretorank {arguments[0]}: all commands but serve and keys "
        assert (refused.returncode, refused.stderr) == (2, start + mend)


def test_help_lists_every_setting_with_default_and_bounds() -> None:
    text = _run(sys.executable, "-m", "service", "--help").stdout
    for variable, default, bounds, description in describe():
        assert description
        block = text[text.index(f"  {variable} ") :].splitlines()[:2]
        assert description in block[0]
        assert f"default {default or 'none'}" in block[1]
        assert bounds in block[1]
    assert len(list(describe())) == len(Settings.model_fields)
    assert ">= 0, <= 65535" in text


@pytest.mark.parametrize(
    ("variable", "value"), [("RANK_PORT", "70000"), ("RANK_ORT_THREADS", "many")]
)
def test_a_bad_setting_is_named(variable: str, value: str) -> None:
    done = _run(sys.executable, "-m", "service", **{variable: value})
    assert done.returncode == 2
    assert done.stderr.startswith(f"{variable}: Input should be")


def test_a_taken_port_is_named_with_its_mend() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = _run(sys.executable, "-m", "service", RANK_PORT=str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "set RANK_HOST or RANK_PORT" in done.stderr
