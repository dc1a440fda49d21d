"""Task and answer of a variant; imports only the standard library.

A variant is a module with an interpreter of its own. Its only argument is a ``Task`` as JSON. The
last line of its output is its ``Answer`` as JSON.
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
    """One training: its folders, core and seed, and the sizes that both variants share.

    ``data`` is the dataset folder; ``recbole`` holds its positives in RecBole's format.
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
    """Times of one training, and recall@20 on validation after each epoch.

    ``prepare_cpu_s``: CPU time from the end of reading the positives to the first epoch. Times of
    epochs exclude validation.
    """

    library: str
    prepare_cpu_s: float
    epoch_s: list[float]
    epoch_cpu_s: list[float]
    recall: list[float]


def read_task() -> Task:
    """Return the task of this process, and bind the process to its core."""
    task = Task(**json.loads(sys.argv[1]))
    bind(task.core)
    return task


class Meter:
    """Measures this process; create it once the positives are read."""

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
        """Stop the clocks of the epoch."""
        wall, cpu = self._started
        self._epoch_s.append(time.perf_counter() - wall)
        self._epoch_cpu_s.append(time.process_time() - cpu)

    def answer(self, package: str, recall: list[float]) -> None:
        """Print the answer: library ``package``, validation ``recall`` after each epoch."""
        answer = Answer(
            library=f"{package} {version(package)}",
            prepare_cpu_s=self._prepare_cpu_s,
            epoch_s=self._epoch_s,
            epoch_cpu_s=self._epoch_cpu_s,
            recall=recall,
        )
        sys.stdout.write(json.dumps(asdict(answer)) + "\n")
