"""``train --tune N``: the chosen options reach the artifact's training and the screen."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.integration.training.cli.conftest import Refusal
from training.cli.app import main
from training.config import Config, load_config, value_of
from training.data.simulate.simulate import simulate

PINNED = ("train.epochs=1", "train.epoch_steps=8", "net.dim=8")
TRAIN = ("train", "--model", "cp2rec", "--data", "data")


def test_the_chosen_options_are_trained_with_and_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    simulate(tmp_path / "data", seed=3, impressions=3000)
    configs: list[Config] = []

    def trained(_: object, config: Config, *__: object) -> tuple[SimpleNamespace, SimpleNamespace]:
        configs.append(config)
        manifest = SimpleNamespace(
            front=None, calibration=SimpleNamespace(meaning=""), default_tradeoff=1.0
        )
        fit = SimpleNamespace(evaluations=1, best=0.5)
        artifact = SimpleNamespace(
            manifest=manifest, label="cp2rec@1", path=Path("models/cp2rec/1")
        )
        return artifact, SimpleNamespace(fit=fit)

    monkeypatch.setattr("training.pipeline.train", trained)
    monkeypatch.setattr("training.evaluation.report.tables.front_table", lambda _: "")
    overrides = [word for override in PINNED for word in ("--set", override)]
    monkeypatch.setattr(sys, "argv", ["training", *TRAIN, "--tune", "3", *overrides])

    with pytest.raises(SystemExit) as stopped:
        main()

    assert not stopped.value.code
    (config,) = configs
    assert config.tuning is not None
    assert (config.train.epochs, value_of(config, "net.dim")) == (1, 8)
    assert not {"train.epochs", "net.dim"} & set(config.tuning.searched)
    assert config.tuning.best >= config.tuning.untuned
    line = next(line for line in capsys.readouterr().out.splitlines() if "of 3 trials" in line)
    assert f"{config.tuning.best:.4f}, untuned {config.tuning.untuned:.4f}" in line
    # Untuned, it is a list to choose from.
    assert f"--set net.exposure_weight={value_of(config, 'net.exposure_weight')}" in line
    changed = config.train.lr != load_config("cp2rec").train.lr
    assert (f"--set train.lr={config.train.lr}" in line) is changed
    assert "train.epochs" not in line


def test_a_search_of_one_trial_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["training", *TRAIN, "--tune", "1"])

    with pytest.raises(SystemExit) as stopped:
        main()

    assert stopped.value.code == 2
    assert "greater than or equal to 2" in capsys.readouterr().err


def test_a_search_under_torchrun_is_refused(
    refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    assert refusal(*TRAIN, "--tune", "5").startswith("--tune runs in one process")
