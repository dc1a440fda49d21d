"""The command line, run in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.training.data.small_dataset import write
from training.cli.app import main

Refusal = Callable[..., str]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a dataset ``data`` and a ``file``."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data")
    (tmp_path / "file").write_text("mine")
    return tmp_path


@pytest.fixture
def refusal(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refusal:
    """Return ``refusal(*arguments)``: the one line of a command that exits with 2."""

    def run(*arguments: str) -> str:
        before = sorted(place.rglob("*"))
        monkeypatch.setattr(sys, "argv", ["training", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        error = capsys.readouterr().err
        assert stopped.value.code == 2, error
        assert sorted(place.rglob("*")) == before  # nothing half-written
        *log, line = error.splitlines()
        assert not any(text.startswith(("error:", "Traceback")) for text in log)
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return run
