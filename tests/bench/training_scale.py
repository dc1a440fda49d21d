"""Measures a step of training by the number of users: its cost must not grow with the tables.

    python -m tests.bench.training_scale [--users N ...] [--rows R] [--model NAME] [--turns T]

Each size trains in a process of its own, on one core, in turns, on a random log.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from tests.bench.common import ONE_THREAD, ROOT, last_core
from tests.bench.random_log import items_of, random_log


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.training_scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--users", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rows", type=int, default=600_000, help="training rows")
    parser.add_argument("--model", default="cp2rec")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one is not None:
        sys.stdout.write(json.dumps(_measure(options.one, options.rows, options.model)) + "\n")
        return
    answers: dict[int, list[dict[str, float]]] = {users: [] for users in options.users}
    for _ in range(options.turns):
        for users, measured in answers.items():
            measured.append(_in_a_process(users, options.rows, options.model))
    first = median(answer["rows_per_s"] for answer in answers[options.users[0]])
    lines = [
        "| users | items | rows/s | of the first | validation, s | checkpoint, s | peak, GB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for users, measured in answers.items():
        of = {name: median(answer[name] for answer in measured) for name in measured[0]}
        lines.append(
            f"| {users:,} | {items_of(users):,} | {of['rows_per_s']:,.0f} "
            f"| {of['rows_per_s'] / first:.2f} | {of['validation_s']:.2f} "
            f"| {of['checkpoint_s']:.2f} | {of['peak_gb']:.2f} |"
        )
    sys.stdout.write("\n".join(lines) + "\n")


def _in_a_process(users: int, rows: int, model: str) -> dict[str, float]:
    command = [sys.executable, "-m", __spec__.name, "--one", str(users)]
    command += ["--rows", str(rows), "--model", model]
    done = subprocess.run(
        ["taskset", "-c", str(last_core()), *command],
        cwd=ROOT, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{users} users failed:\n{done.stderr[-4000:]}")
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _measure(users: int, rows: int, model: str) -> dict[str, float]:
    """Train one epoch; return rows per second of CPU, of the steps alone, and the other costs."""
    import resource

    import torch

    from training.config import load_config
    from training.data.split import split_rows
    from training.fitting.batches import SlateBatches, warm_items
    from training.fitting.fitted_net import FittedNet
    from training.fitting.selection import selection_rule
    from training.fitting.trainer import fit
    from training.nets.registry import build_net

    torch.set_num_threads(1)
    clock = _Clock()
    config = load_config(model)
    dataset = random_log(users, rows)
    split = split_rows(dataset, validation=0.05, test=0.05, seed=0)
    batches = SlateBatches(
        dataset, split.train, slate=config.train.slate, batch_slates=config.train.batch_slates
    )
    deal = batches.deal

    def metered(generator: torch.Generator) -> Iterator[torch.Tensor]:
        clock.restart()
        yield from deal(generator)

    torch.manual_seed(0)
    net = build_net(config.net.alternatives()[-1], batches.tables)
    rule = selection_rule(FittedNet(net, dataset, split, warm_items(batches.tables)))
    batches.deal = metered  # type: ignore[method-assign]  # the clock starts with the steps

    def validate() -> float:
        clock.lap("steps")
        value = rule()
        clock.lap("validation")
        return value

    schedule = config.train.model_copy(update={"epochs": 1, "evaluations": 1})
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        fit(net, batches, validate, schedule, seed=0, checkpoint=Path(folder) / "checkpoint.pt")
    clock.lap("checkpoint")
    return {
        "rows_per_s": len(split.train) / clock.laps["steps"],
        "validation_s": clock.laps["validation"],
        "checkpoint_s": clock.laps["checkpoint"],
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


class _Clock:
    """Seconds of CPU time by lap."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.restart()

    def restart(self) -> None:
        self._started = time.process_time()

    def lap(self, name: str) -> None:
        self.laps[name] = time.process_time() - self._started
        self.restart()


if __name__ == "__main__":
    main()
