"""``paretorank``, installed from the wheel into an environment that does not see the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT
from tests.integration.service.api.process import serving
from tests.integration.service.api.wire import connected, get

PACKAGES = ("service", "training")
# Data files of a package that are not of the wheel.
NOT_INSTALLED = ("service/api/explorer/web/",)
HEAVY = {"matplotlib", "numpy", "onnxruntime", "polars", "pydantic", "redis", "scipy", "torch"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment with the project's wheel, and the packages of this one."""
    folder = tmp_path_factory.mktemp("installed")
    source, environment = folder / "source", folder / "venv"
    source.mkdir()
    for package in PACKAGES:
        leave = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(ROOT / package, source / package, ignore=leave)
    for name in ("pyproject.toml", "README.md", "LICENSE", "paretorank.py"):
        shutil.copy(ROOT / name, source)
    venv.create(environment)
    # A .pth file in a folder that another one names is not read: the checkout stays out.
    (_site(environment) / "these.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install"]
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--no-compile"]
    done = _run(*pip, *options, "--disable-pip-version-check", f"{source}[training]", cwd=folder)
    assert done.returncode == 0, done.stderr
    return environment


def _site(environment: Path) -> Path:
    names = {"base": str(environment), "platbase": str(environment)}
    return Path(sysconfig.get_path("purelib", "venv", names))


def _run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_wheel_has_all_files_of_the_packages_and_no_others(environment: Path) -> None:
    def files(root: Path) -> set[str]:
        return {
            str(path.relative_to(root))
            for package in PACKAGES
            for path in (root / package).rglob("*")
            if path.is_file() and not {"__pycache__", "node_modules"} & set(path.parts)
        }

    wanted = {name for name in files(ROOT) if not name.startswith(NOT_INSTALLED)}
    assert files(_site(environment)) == wanted
    top = {path.name for path in _site(environment).iterdir() if path.suffix != ".dist-info"}
    assert top == {*PACKAGES, "paretorank.py", "these.pth"}


def test_version_and_help(environment: Path, tmp_path: Path) -> None:
    command = environment / "bin" / "paretorank"
    version = _run(command, "--version", cwd=tmp_path)
    listed = _run(command, "--help", cwd=tmp_path, COLUMNS="200")
    of_train = _run(command, "train", "--help", cwd=tmp_path, COLUMNS="200")

    (info,) = _site(environment).glob("paretorank-*.dist-info")
    assert version.stdout == f"paretorank {info.stem.removeprefix('paretorank-')}\n"
    for name in ("prepare", "train", "evaluate", "publish", "serve", "keys"):
        assert f" {name} " in listed.stdout
    assert "Usage: paretorank train [OPTIONS]" in of_train.stdout
    assert "one of: cp2rec, " in of_train.stdout  # the packaged configurations


def test_the_service_answers(environment: Path, tmp_path: Path) -> None:
    program = [str(environment / "bin" / "paretorank"), "serve"]
    with (
        serving(tmp_path, program=program, PYTHONPATH="") as service,
        connected(service.port) as wire,
    ):
        assert wire.ask(get("/v2/health/live")).status == 200
        assert b"<title>" in wire.ask(get("/")).body  # the explorer


def test_bash_completes_commands_and_options(environment: Path, tmp_path: Path) -> None:
    script = """
        paretorank --install-completion > /dev/null && source ~/.bashrc
        words() { COMP_CWORD=$1; shift; COMP_WORDS=("$@"); _paretorank_completion paretorank
            echo "${COMPREPLY[@]}"; }
        words 1 paretorank pr
        words 1 paretorank se
        words 2 paretorank train --tu
    """
    path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"

    done = _run("bash", "-c", script, cwd=tmp_path, HOME=str(tmp_path), PATH=path)

    assert done.stdout.splitlines() == ["prepare prepare-log promote prune", "serve", "--tune"]


def test_help_imports_nothing_heavy(environment: Path, tmp_path: Path) -> None:
    program = "import sys, training.cli.app; print(*sys.modules)"

    done = _run(environment / "bin" / "python", "-c", program, cwd=tmp_path)

    assert not HEAVY & set(done.stdout.split())
    assert "training.cli.train" in done.stdout
