"""What a contestant is told and what it answers; the standard library alone.

A contestant is a module run by an interpreter of its own, with a ``Task`` as JSON in its only
argument. The last line that it prints is its ``Answer`` as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version

from tests.bench.common import bind


@dataclass(frozen=True)
class Task:
    """One training: where its data and its scratch folder lie, and the sizes that both share.

    ``recbole``: the folder with the positives of ``data`` in RecBole's format.
    """

    data: str
    recbole: str
    scratch: str
    core: int
    seed: int
    dim: int
    layers: int
    batch_rows: int

    def to_json(self) -> str:
        """Return the task as an argument for the command line."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Answer:
    """What one training took, and recall@20 on validation after each of its epochs.

    ``prepare_cpu_s``: whatever comes before the first epoch, once the positives are read.
    Validating is not in the times of epochs.
    """

    library: str
    prepare_cpu_s: float
    epoch_s: list[float]
    epoch_cpu_s: list[float]
    recall: list[float]


def read_task() -> Task:
    """Return the task of this process, bound to the task's core from here on."""
    task = Task(**json.loads(sys.argv[1]))
    bind(task.core)
    return task


class Meter:
    """Measures this process; made when the positives are read."""

    def __init__(self) -> None:
        self._began = time.process_time()
        self._prepare_cpu_s = 0.0
        self._started = (0.0, 0.0)
        self._epoch_s: list[float] = []
        self._epoch_cpu_s: list[float] = []

    def start_epoch(self) -> None:
        """Start the clocks of an epoch."""
        self._started = time.perf_counter(), time.process_time()
        if not self._epoch_s:
            self._prepare_cpu_s = self._started[1] - self._began

    def end_epoch(self) -> None:
        """Stop them."""
        wall, cpu = self._started
        self._epoch_s.append(time.perf_counter() - wall)
        self._epoch_cpu_s.append(time.process_time() - cpu)

    def answer(self, package: str, recall: list[float]) -> None:
        """Print the answer: whose training it was, recall on validation after each epoch."""
        answer = Answer(
            library=f"{package} {version(package)}",
            prepare_cpu_s=self._prepare_cpu_s,
            epoch_s=self._epoch_s,
            epoch_cpu_s=self._epoch_cpu_s,
            recall=recall,
        )
        sys.stdout.write(json.dumps(asdict(answer)) + "\n")
