"""Compares daily warm starts with full trainings: ``python -m tests.bench.warm_start --data DIR``.

A net is trained in full on the first rows of the log, then continues once a day, each time with the
log so far. A second net is trained in full on the whole log. Both are measured on its last rows.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from training.config import Config, continued, load_config
from training.data.dataset import Dataset, open_dataset
from training.evaluation.measure import measure_front
from training.fitting.fitted_net import FittedNet
from training.fitting.runs import RunStore
from training.fitting.train_net import settle, train_net
from training.fitting.warm_start import WarmStart, training_state

_MEASURES = ("logged AUC, w = 1", "unbiased AUC, w = 0", "hypervolume")


@dataclass(frozen=True)
class Outcome:
    """The measures of one net, and the CPU seconds of its training."""

    values: tuple[float, ...]
    cpu_s: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of both ways over the seeds, with the paired difference."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.warm_start", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="dataset folder whose rows have times"
    )
    parser.add_argument("--model", default="cp2rec")
    parser.add_argument("--set", action="append", default=[], help="section.key=value")
    parser.add_argument("--days", type=int, default=1, help="warm starts in a row")
    parser.add_argument("--day", type=float, default=0.05, help="share of the logged rows in a day")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args(arguments)
    dataset = open_dataset(options.data)
    pairs = []
    for seed in range(options.seeds):
        config = load_config(options.model, None, (*options.set, f"seed={seed}"))
        pair = compare(dataset, config, options.days, options.day)
        print(seed, *pair, flush=True)  # noqa: T201  # its output is the measurement
        pairs.append(pair)
    print(table(pairs))  # noqa: T201


def compare(dataset: Dataset, config: Config, days: int, day: float) -> tuple[Outcome, Outcome]:
    """Return the outcomes of a full training on the whole log, and of the last warm start."""
    with TemporaryDirectory() as folder:
        runs = RunStore(Path(folder))
        first = _until(dataset, 1 - days * day)
        # The choice of options is the first training's, as in artifacts.
        config = settle(first, config, runs)
        fitted, cpu_s = _trained(first, config, runs)
        start = None
        for left in reversed(range(days)):
            start = WarmStart("bench@1", str(left), training_state(fitted, start))
            log = _until(dataset, 1 - left * day)
            fitted, cpu_s = _trained(log, continued(config), runs, start)
        warm = Outcome(_values(fitted, config), cpu_s)
        full, cpu_s = _trained(dataset, config, runs)
        return Outcome(_values(full, config), cpu_s), warm


def table(pairs: Sequence[tuple[Outcome, Outcome]]) -> str:
    """Return the means over seeds, and the mean difference with its standard error."""
    values = np.array([[outcome.values for outcome in pair] for pair in pairs])  # (seeds, 2, 3)
    cpu_s = np.array([[outcome.cpu_s for outcome in pair] for pair in pairs])
    difference = values[:, 1] - values[:, 0]
    error = difference.std(axis=0, ddof=1) / np.sqrt(len(pairs))
    lines = ["| measure | full | warm start | difference |", "| --- | --- | --- | --- |"]
    for index, name in enumerate(_MEASURES):
        full, warm = values[:, :, index].mean(axis=0)
        gap = f"{difference[:, index].mean():+.4f} ± {error[index]:.4f}"
        lines.append(f"| {name} | {full:.4f} | {warm:.4f} | {gap} |")
    full, warm = cpu_s.mean(axis=0)
    lines.append(f"| CPU seconds | {full:.1f} | {warm:.1f} | {warm / full:.2f} of it |")
    return "\n".join(lines)


def _until(dataset: Dataset, share: float) -> Dataset:
    """Return the dataset with the first ``share`` of the logged rows, and all uniform ones."""
    impressions = dataset.impressions
    if share == 1:
        return dataset
    end = np.quantile(impressions.timestamp[~impressions.uniform], share)
    rows = np.flatnonzero((impressions.timestamp < end) | impressions.uniform)
    columns: dict[str, Any] = {
        name: None if column is None else column[rows] for name, column in vars(impressions).items()
    }
    name = hashlib.sha256(f"{dataset.fingerprint} {share}".encode()).hexdigest()
    return replace(dataset, impressions=replace(impressions, **columns), fingerprint=name)


def _values(fitted: FittedNet, config: Config) -> tuple[float, ...]:
    front = measure_front(fitted, config.front, config.seed)
    debiased, logged = front.points[0], front.points[-1]
    hypervolume = front.hypervolume.mean
    return logged.logged["auc"].mean, debiased.unbiased["auc"].mean, hypervolume


def _trained(
    dataset: Dataset, config: Config, runs: RunStore, start: WarmStart | None = None
) -> tuple[FittedNet, float]:
    """Return a fitted net, and the CPU seconds of its training."""
    begin = time.process_time()
    return train_net(dataset, config, runs, start=start), time.process_time() - begin


if __name__ == "__main__":
    main()
