"""``--scratch``: the folder for arrays on disk reaches the dataset."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from training.cli.app import app
from training.data.dataset import Dataset
from training.errors import TrainingError


@pytest.mark.parametrize("command", [["train", "--model", "cp2rec"], ["evaluate", "x"]])
def test_commands_take_the_folder_to_work_in(
    toy_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    opened = []

    def refuse(*folders: Path) -> None:
        opened.append(folders)
        raise TrainingError("enough")

    monkeypatch.setattr(f"training.cli.{command[0]}.open_dataset", refuse)
    for options in ([], ["--scratch", "fast/disk"]):
        CliRunner().invoke(app, [*command, "--data", str(toy_dataset.path), *options])

    assert opened == [
        (toy_dataset.path, None),
        (toy_dataset.path, Path("fast/disk")),
    ]
