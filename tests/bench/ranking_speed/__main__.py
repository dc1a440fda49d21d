"""Compares the training time of PaInvRL with RecBole's LightGCN, by recall on the same rows.

Each variant is a module with an interpreter of its own. The variants take turns on one core. Writes
``ranking.json`` and ``ranking.md``. Without a dataset folder of clicks, it does nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.bench.common import ONE_THREAD, ROOT, interpreter, last_core, log
from tests.bench.ranking_speed.config import bench_batches, bench_config
from tests.bench.ranking_speed.data import write_recbole
from tests.bench.ranking_speed.protocol import Answer, Task
from tests.bench.ranking_speed.report import Speed, markdown
from training.data.dataset import open_dataset
from training.data.split import split_rows
from training.fitting.batches import SlateBatches
from training.metrics.full_ranking import RankingTask
from training.nets.painvrl.modules import PainvrlOptions


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write results."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.ranking_speed", description=__doc__
    )
    parser.add_argument(
        "--build", type=Path, default=ROOT / "build/bench", help="folder of all results"
    )
    parser.add_argument("--data", type=Path, default=ROOT / "data/tiktok", help="dataset folder")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each variant")
    options = parser.parse_args(arguments)
    build: Path = options.build.absolute()
    if not options.data.exists():
        log(f"{options.data} does not exist: skipping PaInvRL and LightGCN")
        return
    task, positives = _task(options.data.absolute(), build)
    modules = {
        "ours": ("ours", Path(sys.executable)),
        "recbole": ("recbole_lightgcn", interpreter(build, "recbole")),
    }
    answers: dict[str, list[Answer]] = {name: [] for name in modules}
    for seed in range(options.repeats):
        for name, (module, python) in modules.items():
            answer = _run(module, python, replace(task, seed=seed))
            answers[name].append(answer)
            log(f"{name}: recall {max(answer.recall):.4f} after {sum(answer.epoch_cpu_s):.1f} s")
    floor = min(max(answer.recall) for answer in answers["recbole"])
    ours, peer = (Speed.of(name, answers[name], floor) for name in modules)
    text = markdown(ours, peer, task, positives, floor)
    sys.stdout.write(text)
    (build / "ranking.md").write_text(text, encoding="utf-8")
    (build / "ranking.json").write_text(json.dumps([ours.flat(), peer.flat()], indent=2))


def _task(data: Path, build: Path) -> tuple[Task, int]:
    """Write the data of both; return a task with our sizes, and the number of positives."""
    config, dataset = bench_config(), open_dataset(data)
    if not isinstance(config.net, PainvrlOptions):
        raise TypeError("the packaged painvrl has another architecture")
    split = split_rows(
        dataset, validation=config.split.validation, test=config.split.test, seed=config.seed
    )
    folder = build / f"ranking-data/{dataset.fingerprint[:16]}"
    ranking = RankingTask.of(dataset, split)
    write_recbole(folder, dataset, ranking)
    batches = bench_batches(dataset, split, config, SlateBatches)
    return Task(
        data=str(data),
        recbole=str(folder),
        scratch="",
        core=last_core(),
        seed=0,
        dim=config.net.dim,
        layers=config.net.layers,
        batch_rows=batches.rows // len(batches),
    ), int(ranking.train_counts.sum())


def _run(module: str, python: Path, task: Task) -> Answer:
    """Run a variant in a process of its own and return its answer."""
    environment = os.environ | ONE_THREAD | {"CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as scratch:
        task = replace(task, scratch=scratch)
        done = subprocess.run(
            [str(python), "-m", f"{__package__}.{module}", task.to_json()],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stderr[-4000:]}")
    return Answer(**json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
