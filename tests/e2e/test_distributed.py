"""Two processes under torchrun train as one does, and survive the death of one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from service.contract.repository import Repository
from tests.e2e.two_processes import EVALUATIONS, EXACT, SETTINGS, Run, one_process, unbroken_run
from training.fitting.fitted_net import FittedNet
from training.metrics.auc import auc


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return unbroken_run(tmp_path_factory)


def ends(fitted: FittedNet) -> list[float]:
    """Return AUC on logged rows at w = 1 and on uniformly exposed rows at w = 0."""
    impressions = fitted.dataset.impressions
    uniform = np.flatnonzero(impressions.uniform)
    return [
        auc(impressions.label[rows], fitted.score_rows(rows, np.array([w]))[0])
        for rows, w in ((fitted.split.test, 1.0), (uniform, 0.0))
    ]


def test_metrics_are_those_of_one_process_within_seed_noise(unbroken: Run, tmp_path: Path) -> None:
    result = ends(unbroken.trained(SETTINGS))

    seeds = [
        one_process(unbroken.dataset, tmp_path, *SETTINGS, f"seed={seed}") for seed in range(3)
    ]
    expected = np.mean([ends(fitted) for fitted in seeds], axis=0)
    # Standard deviations over 8 seeds; 3 of the difference to a mean of three.
    noise = 3 * np.array([0.003, 0.0025]) * (1 + 1 / 3) ** 0.5
    assert (np.abs(result - expected) < noise).all(), (result, expected)
    assert min(result) > 0.6


def test_without_noise_two_processes_learn_the_same_as_one(unbroken: Run, tmp_path: Path) -> None:
    result = unbroken.trained(EXACT)

    expected = one_process(unbroken.dataset, tmp_path, *EXACT)
    # Sums run in another order, and Adam enlarges the difference.
    assert result.fit.history == pytest.approx(expected.fit.history, abs=5e-4)
    assert ends(result) == pytest.approx(ends(expected), abs=5e-4)


def test_killed_workers_change_nothing(unbroken: Run, tmp_path: Path) -> None:
    data = unbroken.dataset
    run = Run(tmp_path / "killed", data, unbroken.small)
    command = ["-m", "training", "train", "--model", "cp2rec", "--data", str(data.path)]
    command += [part for setting in SETTINGS for part in ("--set", setting)]
    with run.started(*command, restarts=1) as process:
        assert run.kill_worker(rank=0) == 0
        assert run.kill_worker(rank=1) >= 1  # of the processes that torchrun started anew
        process.communicate(timeout=120)  # the other process does not wait for ever
        assert process.returncode != 0
        assert run.processes() == []
    assert 2 <= run.evaluations() < EVALUATIONS
    assert not (run.folder / "models").exists()

    with run.started(*command) as process:
        output, errors = run.finish(process)

    # The first process alone prints.
    assert output.count("added cp2rec@1 in models/cp2rec/1") == 1
    assert output.count(f"best of {EVALUATIONS} evaluations") == 1
    assert errors.count("measuring the front") == 1
    assert errors.count("train:   0%") == 1
    assert "Warning" not in errors
    repository = Repository(run.folder / "models")
    assert repository.versions("cp2rec") == [1]
    expected = unbroken.trained(SETTINGS)
    assert f"validation: {expected.fit.best:.4f}" in output
    artifact = repository.resolve("cp2rec@1")
    users = pl.read_parquet(artifact / "users.parquet", glob=False)["vector"].to_numpy()
    items = pl.read_parquet(artifact / "items.parquet", glob=False)["learned"].to_numpy()
    with torch.inference_mode():
        np.testing.assert_array_equal(users, expected.net.user_records())
        np.testing.assert_array_equal(items, expected.net.learned_items()[expected.warm])
