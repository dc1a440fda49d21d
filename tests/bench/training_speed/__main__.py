"""Compares training speed with peers, and measures our memory by size.

Each variant is a module with an interpreter of its own. The variants take turns on one core. Writes
``training.json``, ``training-memory.json``, ``training.md`` and ``training.png``.
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
from tests.bench.training_speed.report import Memory, Speed, markdown, plot

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
    parser.add_argument(
        "--impressions", type=int, default=200_000, help="simulated logged impressions"
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
    task = _task(options.epochs)
    speeds = _measure_speed(chosen, task, build, options.impressions, options.repeats)
    memory = _measure_memory(task, build, options.memory)
    text = markdown(speeds, memory, options.impressions, task, options.repeats)
    sys.stdout.write(text)
    (build / "training.md").write_text(text, encoding="utf-8")
    (build / "training.json").write_text(json.dumps([row.flat() for row in speeds], indent=2))
    if memory:
        rows = [asdict(row) for row in memory]
        (build / "training-memory.json").write_text(json.dumps(rows, indent=2))
    plot(speeds, memory, build / "training.png")


def _task(epochs: int) -> Task:
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
    )


def _measure_speed(
    chosen: Sequence[Variant], task: Task, build: Path, impressions: int, repeats: int
) -> list[Speed]:
    """Run the variants in turns, so that other load on the machine affects all alike."""
    folder = build / f"training-data/{impressions}"
    prepare(folder, impressions, for_peers=True)
    answers: dict[str, list[Answer]] = {variant.name: [] for variant in chosen}
    for seed in range(repeats):
        for variant in chosen:
            answer = _run(variant, replace(task, data=str(folder), seed=seed))
            answers[variant.name].append(answer)
            log(f"{variant.name}: {_rows_per_s(answer):,.0f} rows/s")
    return [_speed(variant, answers) for variant in chosen]


def _speed(variant: Variant, answers: dict[str, list[Answer]]) -> Speed:
    measured, reference = answers[variant.name], answers[variant.reference]
    pairs = list(zip(reference, measured, strict=True))
    return Speed(
        variant=variant.name,
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
        folder = build / f"training-data/{impressions}-ours"
        prepare(folder, impressions, for_peers=False)
        answer = _run(ours, replace(task, data=str(folder), epochs=1))
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
