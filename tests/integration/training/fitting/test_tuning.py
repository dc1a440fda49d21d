"""``train --tune``: a search on validation rows that resumes, and is never worse there."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from tests.datasets import make_dataset
from training.config import Config, load_config, stated_keys, value_of
from training.data.split import split_rows
from training.errors import ConfigError, TrainingError
from training.fitting import tuning
from training.fitting.checkpoint import Checkpoint
from training.fitting.runs import RunStore
from training.fitting.train_net import Checkpoints, train_net
from training.fitting.tuning import Space, search_space, tune

SPACE: Space = {
    "train.lr": FloatDistribution(0.003, 0.3, log=True),
    "net.dim": CategoricalDistribution((2, 4)),
}
CONFIG = load_config(
    "cp2rec",
    overrides=(
        "train.epochs=2",
        "train.epoch_steps=4",
        "split.validation=0.3",
        "net.dim=4",
        "net.exposure_weight=[0, 1]",
    ),
)
DATASET = make_dataset()


class Landscape:
    """Replaces a training: the value of ``lr`` is the greater the closer it is to .1."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.trained: list[float] = []

    def __call__(self, _: object, config: Config, __: object) -> SimpleNamespace:
        lr = config.train.lr
        self.trained.append(lr)
        if self.fails and lr != CONFIG.train.lr:
            raise TrainingError("the loss became nan; lower train.lr")
        return SimpleNamespace(fit=SimpleNamespace(best=-abs(math.log(lr / 0.1))))


@pytest.fixture
def landscape(monkeypatch: pytest.MonkeyPatch) -> Landscape:
    replaced = Landscape()
    monkeypatch.setattr(tuning, "settle", lambda _, config, __: config)
    monkeypatch.setattr(tuning, "train_net", replaced)
    return replaced


@pytest.fixture
def runs(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def _tuned(runs: RunStore, trials: int = 12) -> Config:
    return tune(DATASET, CONFIG, SPACE, trials, runs)


def _with_lr(lr: float) -> Config:
    return CONFIG.model_copy(update={"train": CONFIG.train.model_copy(update={"lr": lr})})


def test_an_interrupted_search_ends_like_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = RunStore(tmp_path / "whole"), RunStore(tmp_path / "parts")
    expected = tune(DATASET, CONFIG, SPACE, 4, whole)
    saves: list[Path] = []
    save = Checkpoint.save

    def interrupted(checkpoint: Checkpoint, state: dict[str, object]) -> None:
        save(checkpoint, state)
        saves.append(checkpoint.path)
        if len(set(saves)) == 4 and saves.count(checkpoint.path) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):  # in the second trial: two pilots came first
            tune(DATASET, CONFIG, SPACE, 4, parts)
    resumed = tune(DATASET, CONFIG, SPACE, 4, parts)

    assert resumed == expected
    assert resumed.tuning is not None
    assert resumed.tuning.trials == 4
    fitted = [train_net(DATASET, resumed, runs).fit for runs in (whole, parts)]
    assert fitted[0] == fitted[1]
    assert fitted[0].best == resumed.tuning.best


def test_labels_of_test_rows_are_not_read_and_one_checkpoint_stays(
    runs: RunStore, tmp_path: Path
) -> None:
    shares = CONFIG.split
    split = split_rows(DATASET, validation=shares.validation, test=shares.test, seed=CONFIG.seed)
    label = DATASET.impressions.label.copy()
    tested = np.r_[split.test, split.unbiased]
    label[tested] = 1 - label[tested]
    other = replace(DATASET, impressions=replace(DATASET.impressions, label=label))

    chosen = tune(DATASET, CONFIG, SPACE, 3, runs)

    assert tune(other, CONFIG, SPACE, 3, RunStore(tmp_path / "other")) == chosen
    kept = Checkpoints.of(DATASET, chosen, runs).training  # spares a last training
    assert list(runs.folder.glob("*-checkpoint.pt")) == [kept]


def test_the_best_trial_is_chosen(runs: RunStore, landscape: Landscape) -> None:
    chosen = _tuned(runs)

    assert chosen.tuning is not None
    assert landscape.trained[0] == CONFIG.train.lr
    assert chosen.train.lr == min(landscape.trained, key=lambda lr: abs(math.log(lr / 0.1)))
    assert chosen.tuning.best > chosen.tuning.untuned
    assert (chosen.tuning.failed, chosen.tuning.searched) == (0, tuple(SPACE))


def test_options_that_are_best_untuned_stay(runs: RunStore, landscape: Landscape) -> None:
    chosen = tune(DATASET, _with_lr(0.1), SPACE, 5, runs)

    assert len(set(landscape.trained)) == 5
    assert chosen.model_copy(update={"tuning": None}) == _with_lr(0.1)


def test_more_trials_train_the_further_ones_alone(runs: RunStore, landscape: Landscape) -> None:
    _tuned(runs, 4)
    first = list(landscape.trained)

    _tuned(runs, 6)

    assert landscape.trained[:4] == first
    assert len(landscape.trained) == 6


def test_another_seed_searches_elsewhere(runs: RunStore, landscape: Landscape) -> None:
    for seed in (0, 1):
        tune(DATASET, CONFIG.model_copy(update={"seed": seed}), SPACE, 3, runs)

    first, second = landscape.trained[:3], landscape.trained[3:]
    assert first[0] == second[0]
    assert not set(first[1:]) & set(second[1:])


def test_a_failed_trial_leaves_the_search_going(
    runs: RunStore, landscape: Landscape, caplog: pytest.LogCaptureFixture
) -> None:
    landscape.fails = True

    chosen = _tuned(runs, 3)

    assert chosen.train.lr == CONFIG.train.lr
    assert chosen.tuning is not None
    assert chosen.tuning.failed == 2
    assert "trial 3 of 3 failed: the loss became nan; lower train.lr" in caplog.text


def test_options_that_fail_untuned_are_refused(runs: RunStore, landscape: Landscape) -> None:
    landscape.fails = True

    with pytest.raises(TrainingError, match="the loss became nan"):
        tune(DATASET, _with_lr(0.02), SPACE, 3, runs)


@pytest.mark.usefixtures("landscape")
def test_cost_and_progress_are_logged(runs: RunStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    _tuned(runs, 3)

    assert "searching train.lr, net.dim: 3 trials of about 0 core-seconds" in caplog.text
    assert "trial 1 of 3: -1.2040; best -1.2040 (trial 1), untuned -1.2040" in caplog.text
    assert "3 trials took 0.0 core-minutes" in caplog.text


def test_stated_options_are_not_searched(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[train]\nepochs = 7\n")
    overrides = ("net.dim=32", "train.lr=0.05")

    space = search_space(CONFIG, stated_keys(path, overrides))

    every = search_space(CONFIG, frozenset())
    assert set(every) - set(space) == {"train.epochs", "net.dim", "train.lr"}
    assert value_of(CONFIG, "net.dim") == 4


def test_a_search_of_nothing_is_refused() -> None:
    every = frozenset(search_space(CONFIG, frozenset()))

    with pytest.raises(ConfigError, match=r"--tune: --set and --config state train\.lr, .*; leave"):
        search_space(CONFIG, every)


def test_a_search_by_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    with pytest.raises(ConfigError, match="--tune runs in one process"):
        search_space(CONFIG, frozenset())
