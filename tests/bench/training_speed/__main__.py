"""Compares training speed with peers, and measures our memory by size.

Each variant is a module with an interpreter of its own. The variants take turns on one core. Writes
``training.json``, ``training-memory.json``, ``training.md`` and ``training.png``. With ``--users``
it compares speed alone, on random logs of so many users and of equally many rows, and writes
``training-users.json`` and ``training-users.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from tests.bench.common import ONE_THREAD, ROOT, Spread, interpreter, last_core, log
from tests.bench.training_speed.config import bench_config
from tests.bench.training_speed.data import prepare
from tests.bench.training_speed.protocol import Answer, Task
from tests.bench.training_speed.report import Memory, Speed, by_users, markdown, plot

OURS = Path(sys.executable)


@dataclass(frozen=True)
class Variant:
    """One training: ``python`` runs ``module``; ``reference`` names the variant to compare with."""

    name: str
    module: str
    python: Path
    trains_on: str
    reference: str = "ours"
    content: bool = True


def variants(build: Path) -> tuple[Variant, ...]:
    """Return all variants; a further one is a line here and a module."""
    recbole, fuxictr = interpreter(build, "recbole"), interpreter(build, "fuxictr")
    ids, full = "ids, popularity, age", "ids, popularity, age, item content"
    ours = f"{full}, position, user histories"
    return (
        Variant("ours", "ours", OURS, ours),
        Variant("recbole", "recbole_dcn", recbole, full),
        Variant("fuxictr", "fuxictr_dcn", fuxictr, full),
        Variant("recbole-ids", "recbole_dcn", recbole, ids, content=False),
        Variant("fuxictr-ids", "fuxictr_dcn", fuxictr, ids, content=False),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write results."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.training_speed", description=__doc__
    )
    parser.add_argument(
        "--build", type=Path, default=ROOT / "build/bench", help="folder of all results"
    )
    parser.add_argument("--impressions", type=int, default=200_000, help="logged impressions")
    parser.add_argument(
        "--users", type=int, nargs="+", help="users of random logs to compare speed on"
    )
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="turns of every variant")
    parser.add_argument("--only", nargs="*", help="variants to measure; ours is always one")
    parser.add_argument(
        "--memory", type=int, nargs="*", default=[100_000, 400_000, 1_600_000],
        help="impressions at which to measure our memory; none skips it",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    build: Path = options.build.absolute()
    chosen = [
        variant
        for variant in variants(build)
        if variant.name == "ours" or not options.only or variant.name in options.only
    ]
    task = _task(options.epochs, options.impressions)
    if options.users:
        _compare_by_users(chosen, task, build, options.users, options.repeats)
        return
    speeds = _measure_speed(chosen, task, build, options.repeats)
    memory = _measure_memory(task, build, options.memory)
    _write(build / "training", markdown(speeds, memory, task, options.repeats), speeds)
    if memory:
        rows = [asdict(row) for row in memory]
        (build / "training-memory.json").write_text(json.dumps(rows, indent=2))
    plot(speeds, memory, build / "training.png")


def _compare_by_users(
    chosen: Sequence[Variant], task: Task, build: Path, users: Sequence[int], repeats: int
) -> None:
    speeds = {
        count: _measure_speed(chosen, replace(task, users=count), build, repeats) for count in users
    }
    text = by_users(speeds, task, repeats)
    _write(build / "training-users", text, [row for rows in speeds.values() for row in rows])


def _write(path: Path, text: str, speeds: Sequence[Speed]) -> None:
    sys.stdout.write(text)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps([row.flat() for row in speeds], indent=2))


def _task(epochs: int, impressions: int) -> Task:
    config, net = bench_config()
    return Task(
        data="",
        scratch="",
        core=last_core(),
        epochs=epochs,
        batch_rows=config.train.batch_slates * config.train.slate,
        dim=net.dim,
        hidden=net.hidden,
        cross_layers=net.cross_layers,
        lr=config.train.lr,
        seed=0,
        content=True,
        impressions=impressions,
    )


def _measure_speed(chosen: Sequence[Variant], task: Task, build: Path, repeats: int) -> list[Speed]:
    """Run the variants in turns, so that other load on the machine affects all alike."""
    name = f"{task.impressions}" if task.users is None else f"{task.impressions}-{task.users}"
    task = replace(task, data=str(build / "training-data" / name))
    prepare(task, for_peers=True)
    answers: dict[str, list[Answer]] = {variant.name: [] for variant in chosen}
    for seed in range(repeats):
        for variant in chosen:
            answer = _run(variant, replace(task, seed=seed))
            answers[variant.name].append(answer)
            log(f"{variant.name}: {_rows_per_s(answer):,.0f} rows/s")
    return [_speed(variant, task.users, answers) for variant in chosen]


def _speed(variant: Variant, users: int | None, answers: dict[str, list[Answer]]) -> Speed:
    measured, reference = answers[variant.name], answers[variant.reference]
    pairs = list(zip(reference, measured, strict=True))
    return Speed(
        variant=variant.name,
        users=users,
        library=measured[0].library,
        trains_on=variant.trains_on,
        reference=variant.reference,
        rows_per_s=Spread.of([_rows_per_s(answer) for answer in measured]),
        rows_per_cpu_s=Spread.of([_rows_per_cpu_s(answer) for answer in measured]),
        ratio=Spread.of([_rows_per_s(ref) / _rows_per_s(answer) for ref, answer in pairs]),
        cpu_ratio=Spread.of(
            [_rows_per_cpu_s(ref) / _rows_per_cpu_s(answer) for ref, answer in pairs]
        ),
        epoch_s=median(median(answer.loop_s) for answer in measured),
        prepare_s=median(answer.prepare_s for answer in measured),
        imported_rss_mb=max(answer.imported_rss_mb for answer in measured),
        peak_rss_mb=max(answer.peak_rss_mb for answer in measured),
        auc=median(answer.auc for answer in measured),
    )


def _measure_memory(task: Task, build: Path, sizes: Sequence[int]) -> list[Memory]:
    """Train ours for one epoch at each size."""
    ours = variants(build)[0]
    measured = []
    for impressions in sizes:
        folder = str(build / f"training-data/{impressions}-ours")
        task = replace(task, data=folder, impressions=impressions, epochs=1)
        prepare(task, for_peers=False)
        answer = _run(ours, task)
        measured.append(
            Memory(
                impressions=impressions,
                rows=answer.rows,
                imported_rss_mb=answer.imported_rss_mb,
                peak_rss_mb=answer.peak_rss_mb,
                rows_per_s=_rows_per_s(answer),
            )
        )
        log(f"{impressions:,} impressions: {answer.peak_rss_mb:,.0f} MB")
    return measured


def _run(variant: Variant, task: Task) -> Answer:
    """Run a variant in a process of its own and return its answer."""
    environment = os.environ | ONE_THREAD | {"CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as scratch:
        task = replace(task, scratch=scratch, content=variant.content)
        module = f"{__package__}.{variant.module}"
        done = subprocess.run(
            [str(variant.python), "-m", module, task.to_json()],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{variant.name} failed:\n{done.stderr[-4000:]}")
    return Answer(**json.loads(done.stdout.splitlines()[-1]))


def _rows_per_s(answer: Answer) -> float:
    return answer.rows / median(answer.loop_s)


def _rows_per_cpu_s(answer: Answer) -> float:
    return answer.rows / median(answer.loop_cpu_s)


if __name__ == "__main__":
    main()
