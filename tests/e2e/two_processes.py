"""Trainings under torchrun on two processes, and one of them that the whole run shares."""

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

import pytest
import torch

from tests.e2e.conftest import processes_that_know
from tests.sharing import shared
from training.config import load_config
from training.data.dataset import Dataset, open_dataset
from training.data.simulate.simulate import simulate
from training.fitting.fitted_net import FittedNet
from training.fitting.runs import RunStore
from training.fitting.train_net import train_net

# Batches of 33 do not halve; short slates make the halves uneven, and the last batch is short.
SETTINGS = (
    "net.exposure_weight=1",
    *("train.epochs=2", "train.evaluations=3", "train.patience=99", "train.batch_slates=33"),
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
EVALUATIONS = 6

SHORT = ("net.exposure_weight=1", "train.epochs=1", "train.evaluations=1", "train.batch_slates=33")

TRAIN_ONLY = """
import sys
from pathlib import Path

import torch

from training.config import load_config
from training.data.dataset import open_dataset
from training.fitting.distributed import processes, rank, world_size
from training.fitting.runs import RunStore
from training.fitting.train_net import train_net

with processes():
    assert world_size() == 2
    for data, settings in zip(sys.argv[1::2], sys.argv[2::2]):
        config = load_config("cp2rec", overrides=tuple(settings.split()))
        fitted = train_net(open_dataset(Path(data)), config, RunStore(Path("build/training")))
    torch.save(fitted.net.state_dict(), f"weights-{rank()}.pt")
"""


@dataclass(frozen=True)
class Run:
    """A folder in which processes train ``dataset``; ``unbroken`` also trains ``small``."""

    folder: Path
    dataset: Dataset
    small: Dataset

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
        checkpoint = self.checkpoint()
        return 0 if checkpoint is None else len(torch.load(checkpoint)["history"])

    def checkpoint(self) -> Path | None:
        """Return the file of the training that runs."""
        return next(self.folder.glob("build/training/*.pt"), None)

    def kill_worker(self, rank: int) -> int:
        """Kill a process after the next evaluation; return the number of evaluations before it."""

        def written() -> int:
            checkpoint = self.checkpoint()
            return 0 if checkpoint is None else checkpoint.stat().st_mtime_ns

        # Each evaluation replaces the checkpoint.
        before, last, deadline = self.evaluations(), written(), time.monotonic() + 240
        while written() == last:
            assert time.monotonic() < deadline
            time.sleep(0.05)
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


def unbroken_run(factory: pytest.TempPathFactory) -> Run:
    """Train without measuring or exporting: ``dataset`` with SETTINGS and EXACT, then ``small``.

    ``small``, with SHORT, leaves the weights of each process in ``weights-RANK.pt``.
    """
    return shared(factory, "two-processes", _train)


def _train(folder: Path) -> Run:
    datasets = []
    for impressions in (20_000, 3000):
        data = folder / f"data-{impressions}"
        simulate(data, seed=3, impressions=impressions)
        datasets.append(open_dataset(data))
    run = Run(folder / "unbroken", *datasets)
    program = folder / "program.py"
    program.write_text(TRAIN_ONLY)
    trainings = zip((*datasets[:1], *datasets), (SETTINGS, EXACT, SHORT), strict=True)
    words = [word for data, settings in trainings for word in (str(data.path), " ".join(settings))]
    with run.started(str(program), *words) as process:
        run.finish(process)
    return run


def one_process(dataset: Dataset, folder: Path, *settings: str) -> FittedNet:
    return train_net(dataset, load_config("cp2rec", overrides=settings), RunStore(folder))
