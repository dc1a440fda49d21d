"""Measures what opening a dataset of many parts costs, by what changed since the last opening.

Run it with ``python -m tests.bench.opening``. Openings take turns; times are those of one process.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from service.contract.manifest import Proxy
from tests.bench.common import Spread, log
from training.data.dataset import open_dataset
from training.data.writer import write_dataset

USERS, ITEMS, DIM, DAY_S = 100_000, 20_000, 32, 86_400
SETTLED_S = 2.5  # a file is known once it is older than the tick of a clock


@dataclass(frozen=True)
class Sizes:
    """The dataset to open: ``parts`` days of ``rows`` impressions each."""

    parts: int
    rows: int


def day_of_log(day: int, rows: int, seed: int) -> pl.DataFrame:
    """Return the impressions of one day."""
    rng = np.random.default_rng([day, seed])
    return pl.DataFrame(
        {
            "user_id": rng.integers(USERS, size=rows),
            "item_id": rng.integers(ITEMS, size=rows),
            "label": rng.integers(2, size=rows).astype(np.int8),
            "timestamp": 1_760_000_000 + DAY_S * day + np.sort(rng.integers(DAY_S, size=rows)),
            "exposure": np.where(rng.random(rows) < 0.9, "logged", "uniform"),
            "position": rng.integers(20, size=rows),
            "clicks": rng.poisson(3, size=rows),
        }
    )


def part_of(folder: Path, day: int) -> Path:
    """Return the file of a day."""
    return folder / f"impressions.parquet/day={day:04d}/part.parquet"


def write(folder: Path, parts: int, rows: int) -> None:
    """Write a dataset of ``parts`` days."""
    rng = np.random.default_rng(0)
    items = np.arange(ITEMS)
    write_dataset(
        folder,
        name="parts",
        impressions=day_of_log(0, rows, seed=0),
        items=pl.DataFrame({"item_id": items, "clicks": rng.poisson(9, ITEMS)}),
        users=pl.DataFrame({"user_id": np.arange(USERS)}),
        embeddings={
            "image": (rng.normal(size=(ITEMS, DIM)).astype(np.float32), [f"{i}" for i in items])
        },
        proxies=(Proxy(name="clicks"),),
    )
    (folder / "impressions.parquet").unlink()
    for day in range(parts):
        write_day(folder, day, rows, seed=0)


def write_day(folder: Path, day: int, rows: int, seed: int) -> None:
    """Write or replace one part."""
    part = part_of(folder, day)
    part.parent.mkdir(parents=True, exist_ok=True)
    day_of_log(day, rows, seed).write_parquet(part)


def opening_s(folder: Path, cache: Path | None) -> float:
    """Return the seconds that one opening takes."""
    start = time.perf_counter()
    open_dataset(folder, cache=cache)
    return time.perf_counter() - start


def cold_s(folder: Path, cache: Path) -> float:
    """Return the seconds of an opening for which nothing is kept."""
    shutil.rmtree(cache, ignore_errors=True)
    return opening_s(folder, cache)


def changed_s(folder: Path, cache: Path, change: Callable[[], None]) -> float:
    """Return the seconds of the opening after ``change``; what is kept is up to date before."""
    opening_s(folder, cache)
    change()
    return opening_s(folder, cache)


def measure(sizes: Sizes, repeats: int, root: Path) -> dict[str, Spread]:
    """Return the seconds of each kind of opening."""
    one, many, cache = root / "one", root / "many", root / "cache"
    write(one, 1, sizes.rows)
    write(many, sizes.parts, sizes.rows)
    log(f"wrote {sizes.parts} parts of {sizes.rows:,} rows")
    time.sleep(SETTLED_S)
    opening_s(one, None)  # imports
    middle = sizes.parts // 2
    seconds: dict[str, list[float]] = {}
    for turn in range(1, repeats + 1):
        write_day(many, middle, sizes.rows, seed=0)  # the turn before has left it shorter
        rewrite = partial(write_day, many, middle, sizes.rows, seed=turn)
        shorten = partial(write_day, many, middle, sizes.rows - turn, seed=turn)
        add = partial(write_day, many, sizes.parts + turn, sizes.rows, seed=turn)
        kinds = {
            "one part alone, nothing kept": partial(cold_s, one, root / "cache-one"),
            f"{sizes.parts} parts, nothing kept": partial(cold_s, many, cache),
            "unchanged": partial(opening_s, many, cache),
            "one part changed": partial(changed_s, many, cache, rewrite),
            "one part added at the end": partial(changed_s, many, cache, add),
            "one part shorter, in the middle": partial(changed_s, many, cache, shorten),
        }
        for name, run in kinds.items():
            seconds.setdefault(name, []).append(run())
            log(f"{name}: {seconds[name][-1]:.2f} s")
    return {name: Spread.of(values) for name, values in seconds.items()}


def markdown(seconds: dict[str, Spread], sizes: Sizes) -> str:
    """Return a table, with each opening as a multiple of the first."""
    lines = [
        f"Seconds to open {sizes.parts} parts of {sizes.rows:,} rows: median (least to greatest).",
        "",
        "| opening | seconds | as a multiple of one part alone |",
        "| --- | --- | --- |",
    ]
    alone = next(iter(seconds.values())).median
    for name, spread in seconds.items():
        lines.append(f"| {name} | {spread.cell('.2f')} | {spread.median / alone:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.opening", description=__doc__)
    parser.add_argument("--parts", type=int, default=100)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of each part")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="folder to write in; default: the system's")
    options = parser.parse_args()
    sizes = Sizes(options.parts, options.rows)
    with tempfile.TemporaryDirectory(dir=options.scratch) as root:
        sys.stdout.write(markdown(measure(sizes, options.repeats, Path(root)), sizes))


if __name__ == "__main__":
    main()
