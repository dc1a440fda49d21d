"""Compares training on a GPU with FuxiCTR and a plain PyTorch loop, by the number of users.

Each variant is a module with an interpreter of its own; the variants take turns on one card. Rows
are drawn in memory, since their values do not matter to speed. Writes ``gpu.json`` and ``gpu.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch

from tests.bench.common import ONE_THREAD, ROOT, Flat, Spread, interpreter, log
from tests.bench.gpu.protocol import Answer, Task
from tests.bench.training_speed.config import bench_config

REFERENCE = "fuxictr"


@dataclass(frozen=True)
class Variant:
    """One training: ``python`` runs ``module``."""

    name: str
    module: str
    trains_on: str
    model: str = ""
    precision: str = "float32"


CONTENT = "ids, two numbers, content"
OURS = f"{CONTENT}, position, histories"
VARIANTS = (
    Variant("ours-dcn", "ours", OURS, "dcn"),
    Variant("ours-dcn-bfloat16", "ours", OURS, "dcn", "bfloat16"),
    Variant("ours-default", "ours", OURS, "cp2rec"),
    Variant("ours-default-bfloat16", "ours", OURS, "cp2rec", "bfloat16"),
    Variant("plain", "plain", CONTENT),
    Variant(REFERENCE, "fuxictr_dcn", "ids, two numbers"),
)


@dataclass(frozen=True)
class Row(Flat):
    """A variant at a number of users, over its repeats."""

    variant: str
    library: str
    trains_on: str
    users: int
    rows_per_s: Spread
    memory_mb: float | None
    utilisation: float | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write results; exit with 2 where there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__)
    parser.add_argument("--build", type=Path, default=ROOT / "build/bench")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--users", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--batch-rows", type=int, default=65_536)
    parser.add_argument("--steps", type=int, default=100, help="measured steps of a turn")
    parser.add_argument("--repeats", type=int, default=3, help="turns of every variant")
    parser.add_argument("--only", nargs="*", choices=[variant.name for variant in VARIANTS])
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write(
            f"error: PyTorch {torch.__version__} finds no GPU here; measure on a machine with one, "
            "or try the benchmark with --device cpu\n"
        )
        sys.exit(2)
    task = _task(options)
    chosen = [each for each in VARIANTS if not options.only or each.name in options.only]
    rows = [
        row
        for users in options.users
        for row in _measure(chosen, replace(task, users=users), options.build, options.repeats)
    ]
    text = markdown(rows, task, options.repeats)
    sys.stdout.write(text)
    options.build.mkdir(parents=True, exist_ok=True)
    (options.build / "gpu.md").write_text(text, encoding="utf-8")
    (options.build / "gpu.json").write_text(json.dumps([row.flat() for row in rows], indent=2))


def _task(options: argparse.Namespace) -> Task:
    config, net = bench_config()
    return Task(
        device=options.device,
        scratch="",
        model="",
        precision="float32",
        users=0,
        items=options.items,
        rows=options.rows,
        batch_rows=options.batch_rows,
        steps=options.steps,
        dim=net.dim,
        hidden=net.hidden,
        cross_layers=net.cross_layers,
        lr=config.train.lr,
        seed=0,
    )


def _measure(chosen: Sequence[Variant], task: Task, build: Path, repeats: int) -> list[Row]:
    """Run the variants in turns, so that a warmer card is warmer for all."""
    answers: dict[str, list[Answer]] = {variant.name: [] for variant in chosen}
    for seed in range(repeats):
        for variant in chosen:
            answer = _run(variant, replace(task, seed=seed), build)
            answers[variant.name].append(answer)
            log(f"{variant.name}, {task.users:,} users: {answer.rows_per_s:,.0f} rows/s")
    return [_row(variant, task.users, answers[variant.name]) for variant in chosen]


def _row(variant: Variant, users: int, answers: Sequence[Answer]) -> Row:
    shares = [each.utilisation for each in answers if each.utilisation is not None]
    return Row(
        variant=variant.name,
        library=answers[0].library,
        trains_on=variant.trains_on,
        users=users,
        rows_per_s=Spread.of([answer.rows_per_s for answer in answers]),
        memory_mb=answers[0].memory_mb,
        utilisation=median(shares) if shares else None,
    )


def _run(variant: Variant, task: Task, build: Path) -> Answer:
    """Run a variant in a process of its own and return its answer."""
    environment = os.environ | (ONE_THREAD if task.device == "cpu" else {})
    python = interpreter(build, "fuxictr") if variant.name == REFERENCE else Path(sys.executable)
    with tempfile.TemporaryDirectory() as scratch:
        task = replace(task, scratch=scratch, model=variant.model, precision=variant.precision)
        done = subprocess.run(
            [str(python), "-m", f"{__package__}.{variant.module}", task.to_json()],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{variant.name} failed:\n{done.stderr[-4000:]}")
    return Answer(**json.loads(done.stdout.splitlines()[-1]))


def markdown(rows: Sequence[Row], task: Task, repeats: int) -> str:
    """Return the table with its caption."""
    card = torch.cuda.get_device_name() if task.device == "cuda" else "the CPU: no measurement"
    reference = {row.users: row.rows_per_s.median for row in rows if row.variant == REFERENCE}
    lines = [
        f"Training on {card}: {task.steps} steps after a warm-up, batches of {task.batch_rows:,}",
        f"rows of {task.rows:,}, {task.items:,} items, embeddings of {task.dim} (`ours-default`:",
        f"its own), two hidden layers of {task.hidden}, {task.cross_layers} cross layers. Median",
        f"(least to greatest) of {repeats} alternating turns. Ratio: speed over FuxiCTR's. Memory:",
        "the peak that PyTorch allocated. Utilisation: as nvidia-smi has it.",
        "",
        "| variant | library | trains on | users | rows/s | ratio | memory MB | utilisation % |",
        "|" + " --- |" * 8,
        *(_line(row, reference.get(row.users)) for row in rows),
        "",
    ]
    return "\n".join(lines)


def _line(row: Row, reference: float | None) -> str:
    ratio = f"{row.rows_per_s.median / reference:.1f}" if reference else ""
    memory, share = ("" if x is None else f"{x:,.0f}" for x in (row.memory_mb, row.utilisation))
    cells = [row.variant, row.library, row.trains_on, f"{row.users:,}"]
    return "| " + " | ".join([*cells, row.rows_per_s.cell(",.0f"), ratio, memory, share]) + " |"


if __name__ == "__main__":
    main()
