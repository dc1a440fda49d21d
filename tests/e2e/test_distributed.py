"""Two processes under torchrun train as one does, and survive the death of one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from service.contract.repository import Repository
from tests.e2e.conftest import processes_that_know
from training.config import load_config
from training.data.dataset import Dataset, open_dataset
from training.data.simulate.simulate import simulate
from training.fitting.fitted_net import FittedNet
from training.fitting.runs import RunStore
from training.fitting.train_net import train_net
from training.metrics.auc import auc

# Batches of 33 do not halve; short slates make the halves uneven, and the last batch is short.
SETTINGS = (
    "net.exposure_weight=1",
    *("train.epochs=4", "train.evaluations=3", "train.patience=99", "train.batch_slates=33"),
    *("front.bootstrap=20", "front.points=3"),
)
# Without noise and with means over rows alone: the net leaves weights of the exposure term unused.
EXACT = (
    *SETTINGS,
    "net.exposure_weight=0",
    "net.uncertainty_weight=0",
    "net.proxy_dropout=0",
    "net.new_share=0",
)
EVALUATIONS = 12

TRAIN_ONLY = """
import sys
from pathlib import Path
from training.config import load_config
from training.data.dataset import open_dataset
from training.fitting.distributed import processes
from training.fitting.runs import RunStore
from training.fitting.train_net import train_net

with processes():
    dataset = open_dataset(Path(sys.argv[1]))
    for settings in sys.argv[2:]:
        config = load_config("cp2rec", overrides=tuple(settings.split()))
        train_net(dataset, config, RunStore(Path("build/training")))
"""


@dataclass(frozen=True)
class Run:
    """A folder in which the command trains ``dataset``."""

    folder: Path
    dataset: Dataset

    @contextmanager
    def started(self, *arguments: str, restarts: int = 0) -> Iterator[subprocess.Popen[str]]:
        """Run Python with ``arguments`` on two processes, which end with the block."""
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--local-addr", "127.0.0.1", "--nproc-per-node", "2"]
        command += ["--max-restarts", str(restarts), *arguments]
        self.folder.mkdir(exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        environment["TEST_FOLDER"] = str(self.folder)
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)
            process.communicate()

    def processes(self) -> list[int]:
        return processes_that_know(f"TEST_FOLDER={self.folder}\0")

    def finish(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        """Wait for a run that must end well; return its output and its errors."""
        output, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors[-4000:]
        return output, errors

    def evaluations(self) -> int:
        """Return the number of evaluations in the checkpoint."""
        checkpoint = next(self.folder.glob("build/training/*.pt"), None)
        return 0 if checkpoint is None else len(torch.load(checkpoint)["history"])

    def kill_worker(self, rank: int) -> int:
        """Kill a process after the next evaluation; return the number of evaluations before it."""
        before, deadline = self.evaluations(), time.monotonic() + 240
        while self.evaluations() == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for pid in self.processes():
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if f"RANK={rank}".encode() in environment:
                os.kill(pid, signal.SIGKILL)
                return before
        raise AssertionError("no such worker")

    def trained(self, settings: tuple[str, ...]) -> FittedNet:
        """Return the net of a finished training, read from its checkpoint."""
        folder = self.folder / "build" / "training"
        before = set(folder.iterdir())
        trained = one_process(self.dataset, folder, *settings)
        assert set(folder.iterdir()) == before  # nothing was trained
        assert trained.fit.evaluations == EVALUATIONS
        return trained


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("feed") / "data"
    simulate(folder, seed=3, impressions=20_000)
    return open_dataset(folder)


@pytest.fixture(scope="module")
def unbroken(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Train with SETTINGS and with EXACT on two processes, without measuring or exporting."""
    run = Run(tmp_path_factory.mktemp("unbroken"), dataset)
    script = run.folder / "script.py"
    script.write_text(TRAIN_ONLY)
    settings = (" ".join(SETTINGS), " ".join(EXACT))
    with run.started(str(script), str(dataset.path), *settings) as process:
        run.finish(process)
    return run


def one_process(dataset: Dataset, folder: Path, *settings: str) -> FittedNet:
    return train_net(dataset, load_config("cp2rec", overrides=settings), RunStore(folder))


def ends(fitted: FittedNet) -> list[float]:
    """Return AUC on logged rows at w = 1 and on uniformly exposed rows at w = 0."""
    impressions = fitted.dataset.impressions
    uniform = np.flatnonzero(impressions.uniform)
    return [
        auc(impressions.label[rows], fitted.score_rows(rows, np.array([w]))[0])
        for rows, w in ((fitted.split.test, 1.0), (uniform, 0.0))
    ]


def test_metrics_are_those_of_one_process_within_seed_noise(
    unbroken: Run, dataset: Dataset, tmp_path: Path
) -> None:
    result = ends(unbroken.trained(SETTINGS))

    seeds = [one_process(dataset, tmp_path, *SETTINGS, f"seed={seed}") for seed in range(3)]
    expected = np.mean([ends(fitted) for fitted in seeds], axis=0)
    # Standard deviations over 8 seeds; 3 of the difference to a mean of three.
    noise = 3 * np.array([0.009, 0.004]) * (1 + 1 / 3) ** 0.5
    assert (np.abs(result - expected) < noise).all(), (result, expected)
    assert min(result) > 0.6


def test_without_noise_two_processes_learn_the_same_as_one(
    unbroken: Run, dataset: Dataset, tmp_path: Path
) -> None:
    result = unbroken.trained(EXACT)

    expected = one_process(dataset, tmp_path, *EXACT)
    # Sums run in another order, and Adam enlarges the difference.
    assert result.fit.history == pytest.approx(expected.fit.history, abs=5e-4)
    assert ends(result) == pytest.approx(ends(expected), abs=5e-4)


def test_killed_workers_change_nothing(unbroken: Run, dataset: Dataset, tmp_path: Path) -> None:
    run = Run(tmp_path / "killed", dataset)
    command = ["-m", "training", "train", "--model", "cp2rec", "--data", str(dataset.path)]
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
    assert output.count("best of 12 evaluations") == 1
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
        np.testing.assert_array_equal(users, expected.net.user_vectors())
        np.testing.assert_array_equal(items, expected.net.learned_items()[expected.warm])
