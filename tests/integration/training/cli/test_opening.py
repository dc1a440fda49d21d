"""How commands open a dataset: on disk, within a period, with what is kept of its parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from training.cli.app import app
from training.config import load_config
from training.data.dataset import Dataset
from training.data.period import Period
from training.errors import ConfigError, TrainingError

COMMANDS = [["train", "--model", "cp2rec"], ["evaluate", "x"], ["check"]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_options_of_opening_reach_the_dataset(
    toy_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    opened = []

    def refuse(folder: Path, scratch: Path | None, **options: Any) -> None:
        opened.append((folder, scratch, options["period"], options["cache"]))
        raise TrainingError("enough")

    monkeypatch.setattr("training.data.dataset.open_dataset", refuse)
    period = ["--since", "2026-11-01", "--until", "1e12"]
    for options in ([], ["--scratch", "fast/disk", "--build", "kept", *period]):
        CliRunner().invoke(app, [*command, "--data", str(toy_dataset.path), *options])

    assert opened == [
        (toy_dataset.path, None, Period(), Path("build/training")),
        (toy_dataset.path, Path("fast/disk"), Period("2026-11-01", "1e12"), Path("kept")),
    ]


@pytest.mark.parametrize(
    ("value", "text"), [("2026-11-01", "2026-11-01"), ('"5"', "5"), ("5", "5")]
)
def test_a_period_is_part_of_the_configuration(value: str, text: str) -> None:
    config = load_config("cp2rec", overrides=(f"since={value}",))

    assert (config.since, config.until) == (text, None)
    assert config.model_dump(mode="json")["since"] == text


def test_a_period_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="configuration: since: Input should be a valid string"):
        load_config("cp2rec", overrides=("since=[1]",))
