"""A mistake of a user is answered by one line and exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import training
from training.cli.app import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data", "x", "--set", "train.epochs=0"], "configuration: train.epochs: Input"),
        (["train", "--data", "x", "--name", "Bad Name"], "models/Bad Name: 'Bad Name' is no name"),
        (
            ["publish", "cp2rec", "--data", "x", "--alias", "Prod"],
            "aliases.json: 'Prod' is no alias",
        ),
        (["publish", "cp2rec", "--data", "x"], "models/cp2rec: no such model"),
    ],
)
def test_a_mistake_exits_with_2_and_a_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    model = ["--model", "cp2rec"] if arguments[0] == "train" else []
    monkeypatch.setattr(sys, "argv", ["training", *arguments, *model])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_a_mistake_of_the_command_line_leaves_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"^error: nowhere/dataset.toml: is missing"):
        training("train", "--model", "cp2rec", "--data", "nowhere", cwd=tmp_path)
