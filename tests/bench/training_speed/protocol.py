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
from pathlib import Path
from typing import Protocol

from tests.bench.common import bind


@dataclass(frozen=True)
class Task:
    """One training: its folders, core and seed, and the sizes that all variants share."""

    data: str
    scratch: str
    core: int
    epochs: int
    batch_rows: int
    dim: int
    hidden: int
    cross_layers: int
    lr: float
    seed: int
    content: bool  # whether peers get item content
    impressions: int
    users: int | None = None  # of a random log; None: the log is simulated

    def to_json(self) -> str:
        """Return the task as an argument for the command line."""
        return json.dumps(asdict(self))


class DcnTask(Protocol):
    """What a peer's DCN reads of a task; ``tests.bench.gpu`` has tasks of its own."""

    @property
    def scratch(self) -> str:
        """A folder for its files."""

    @property
    def dim(self) -> int:
        """The width of embeddings."""

    @property
    def hidden(self) -> int:
        """The width of hidden layers."""

    @property
    def cross_layers(self) -> int:
        """The number of cross layers."""

    @property
    def lr(self) -> float:
        """The learning rate."""


@dataclass(frozen=True)
class Answer:
    """Times and memory of one training.

    ``loop_s`` and ``loop_cpu_s`` have one value per epoch, for the training rows alone. The peak is
    of the whole process to the end of the last loop: with preparation, without scoring test rows.
    """

    library: str
    rows: int
    prepare_s: float
    loop_s: list[float]
    loop_cpu_s: list[float]
    imported_rss_mb: float
    peak_rss_mb: float
    auc: float


def read_task() -> Task:
    """Return the task of this process, and bind the process to its core."""
    task = Task(**json.loads(sys.argv[1]))
    bind(task.core)
    return task


class Meter:
    """Measures this process; create it after the imports, before data is prepared."""

    def __init__(self) -> None:
        self._imported_rss_mb = _peak_rss_mb()
        self._began = time.perf_counter()
        self._prepare_s = 0.0
        self._started = (0.0, 0.0)
        self._loop_s: list[float] = []
        self._loop_cpu_s: list[float] = []
        self._peak_rss_mb = 0.0

    def prepared(self) -> None:
        """Note that the training rows are ready."""
        self._prepare_s = time.perf_counter() - self._began

    def start_epoch(self) -> None:
        """Start the clocks of an epoch's loop."""
        self._started = time.perf_counter(), time.process_time()

    def end_epoch(self) -> None:
        """Stop the clocks of the epoch's loop."""
        wall, cpu = self._started
        self._loop_s.append(time.perf_counter() - wall)
        self._loop_cpu_s.append(time.process_time() - cpu)
        self._peak_rss_mb = _peak_rss_mb()

    def epochs(self) -> int:
        """Return how many epochs have ended."""
        return len(self._loop_s)

    def answer(self, package: str, rows: int, auc: float) -> None:
        """Print the answer: library ``package``, rows per epoch, AUC of the logged test rows."""
        answer = Answer(
            library=f"{package} {version(package)}",
            rows=rows,
            prepare_s=self._prepare_s,
            loop_s=self._loop_s,
            loop_cpu_s=self._loop_cpu_s,
            imported_rss_mb=self._imported_rss_mb,
            peak_rss_mb=self._peak_rss_mb,
            auc=auc,
        )
        sys.stdout.write(json.dumps(asdict(answer)) + "\n")


def _peak_rss_mb() -> float:
    """Return the peak of this process alone; getrusage includes its parent before exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak,) = (line for line in status if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024
