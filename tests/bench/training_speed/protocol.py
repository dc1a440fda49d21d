"""What a variant is told and what it answers; the standard library alone.

A variant is a module run by an interpreter of its own, with a ``Task`` as JSON in its only
argument. The last line that it prints is its ``Answer`` as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from tests.bench.common import bind


@dataclass(frozen=True)
class Task:
    """One training: where its data and its scratch folder lie, and the sizes all variants share."""

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
    content: bool  # whether peers are given the items' content

    def to_json(self) -> str:
        """Return the task as an argument for the command line."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Answer:
    """What one training took.

    Loops are over the training rows alone, one value an epoch; the peak is up to the end of the
    last: of the whole process, preparation included and the scoring of test rows left out.
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
    """Return the task of this process, bound to the task's core from here on."""
    task = Task(**json.loads(sys.argv[1]))
    bind(task.core)
    return task


class Meter:
    """Measures this process; made when imports are over and the preparation of data begins."""

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
        """Stop them."""
        wall, cpu = self._started
        self._loop_s.append(time.perf_counter() - wall)
        self._loop_cpu_s.append(time.process_time() - cpu)
        self._peak_rss_mb = _peak_rss_mb()

    def epochs(self) -> int:
        """Return how many epochs have ended."""
        return len(self._loop_s)

    def answer(self, package: str, rows: int, auc: float) -> None:
        """Print the answer: whose loop it was, rows an epoch, AUC of the logged test rows."""
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
    """Return the peak of this process alone; getrusage counts what its parent had before exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak,) = (line for line in status if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024
