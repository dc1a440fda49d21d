"""Task, rows, clocks and answer of a training on a device. Every variant's interpreter runs this.

A variant is a module with an interpreter of its own. Its only argument is a ``Task`` as JSON. The
last line of its output is its ``Answer`` as JSON.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from statistics import mean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

SLATE = 16
CONTENT_DIM = 64
WARM_UP = 10  # steps before the clock starts


@dataclass(frozen=True)
class Task:
    """One training: its tables, its batches and the sizes that all variants share."""

    device: str
    scratch: str
    model: str
    precision: str
    users: int
    items: int
    rows: int
    batch_rows: int
    steps: int
    dim: int
    hidden: int
    cross_layers: int
    lr: float
    seed: int

    def to_json(self) -> str:
        """Return the task as an argument for the command line."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Answer:
    """Speed, and the device's peak memory and mean utilisation, None where unknown."""

    library: str
    rows_per_s: float
    memory_mb: float | None
    utilisation: float | None  # percent


def read_task() -> Task:
    """Return the task of this process."""
    return Task(**json.loads(sys.argv[1]))


def columns(task: Task) -> dict[str, NDArray[Any]]:
    """Return the columns (R,) of rows in slates: users, items and labels at random."""
    rng = np.random.default_rng(task.seed)
    slates = task.rows // SLATE
    rows = slates * SLATE
    return {
        "user": np.sort(rng.integers(0, task.users, slates)).repeat(SLATE),
        "item": rng.integers(0, task.items, rows),
        "label": (rng.random(rows) < 0.3).astype(np.float32),
        "position": np.tile(np.arange(SLATE), slates),
        "popularity": rng.lognormal(size=rows).astype(np.float32),
        "age_days": rng.random(rows).astype(np.float32),
    }


def content(task: Task) -> NDArray[np.float32]:
    """Return the content (I, 64) of all items."""
    shape = (task.items, CONTENT_DIM)
    return np.random.default_rng(task.seed).standard_normal(shape, np.float32)


class Meter:
    """Measures the steps after the first ``WARM_UP``."""

    def __init__(self, task: Task) -> None:
        self._task, self._cuda = task, task.device == "cuda"
        self._step, self._rows, self._started = 0, 0, 0.0
        self._watch: subprocess.Popen[str] | None = None
        self._rows_per_s, self._utilisation = 0.0, list[float]()

    def done(self, rows: int) -> bool:
        """Note a step of ``rows``; return whether all steps are measured."""
        self._step += 1
        self._rows += rows
        if self._step == WARM_UP:
            self._start()
        if self._step == WARM_UP + self._task.steps:
            self._stop()
            return True
        return False

    def answer(self, package: str) -> None:
        """Print the answer of library ``package``."""
        memory = torch.cuda.max_memory_allocated() / 2**20 if self._cuda else None
        utilisation = mean(self._utilisation) if self._utilisation else None
        library = f"{package} {version(package)}"
        answer = Answer(library, self._rows_per_s, memory, utilisation)
        sys.stdout.write("\n" + json.dumps(asdict(answer)) + "\n")

    def _start(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()
            if command := shutil.which("nvidia-smi"):
                query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", "0"]
                self._watch = subprocess.Popen(
                    [command, *query, "-lms", "200"], stdout=subprocess.PIPE, text=True
                )
        self._rows, self._started = 0, time.perf_counter()

    def _stop(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()
        self._rows_per_s = self._rows / (time.perf_counter() - self._started)
        if self._watch is not None:
            self._watch.terminate()
            lines = self._watch.communicate()[0].split()
            self._utilisation = [float(line) for line in lines if line.isdigit()]
