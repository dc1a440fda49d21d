"""Measures the cost of the exposure monitor: ``python -m tests.bench.exposure [--items N]``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from service.contract.artifact import Artifact, BiasReference
from service.exposure.monitor import ExposureMonitor
from service.telemetry import Telemetry

RANKINGS = 20_000
REPEATS = 5
SHOWN = 50  # items of a ranking


def main(arguments: Sequence[str] | None = None) -> None:
    """Print CPU microseconds per ranking, and milliseconds per scrape with all windows full."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.exposure", description=__doc__)
    parser.add_argument("--items", type=int, default=100_000, help="size of the catalogue")
    count = parser.parse_args(arguments).items
    rng = np.random.default_rng(0)
    ids = [f"item-{number:08d}" for number in range(count)]
    monitor = ExposureMonitor(_artifact(_reference(ids, rng)), Telemetry())
    rankings = [_ranking(ids, rng) for _ in range(RANKINGS)]
    tradeoffs = rng.random(RANKINGS).tolist()
    ranking_us, scrape_ms = [], []
    for _ in range(REPEATS):
        start = time.process_time()
        for tradeoff, columns in zip(tradeoffs, rankings, strict=True):
            monitor.add(tradeoff, True, columns)
        ranking_us.append(1e6 * (time.process_time() - start) / RANKINGS)
        start = time.process_time()
        monitor.report(count)
        scrape_ms.append(1e3 * (time.process_time() - start))
    print(  # noqa: T201  # its output is the measurement
        f"{count} items: {min(ranking_us):.1f} us per ranking, {min(scrape_ms):.1f} ms per scrape"
    )


def _reference(ids: list[str], rng: np.random.Generator) -> BiasReference:
    return BiasReference(
        item_ids=ids,
        click_percentile=rng.random(len(ids), np.float32) * 100,
        tradeoffs=np.linspace(0, 1, 11, dtype=np.float32),
        score_deciles=np.sort(rng.random((11, 9), np.float32), axis=1),
        exposure_gini=np.full(11, 0.5, np.float32),
    )


def _artifact(reference: BiasReference) -> Artifact:
    """Return a stand-in with the attributes that the monitor reads."""
    point = SimpleNamespace(tradeoff=0.5, logged={}, unbiased={}, shown={})
    manifest = SimpleNamespace(front=SimpleNamespace(points=[point]))
    stand_in = SimpleNamespace(
        path=Path(), label="bench@1", manifest=manifest, bias_reference=lambda: reference
    )
    return cast(Artifact, stand_in)


def _ranking(ids: list[str], rng: np.random.Generator) -> dict[str, Any]:
    """Return the columns of a ranking of random items."""
    return {
        "item_ids": [ids[number] for number in rng.integers(len(ids), size=SHOWN)],
        "scores": rng.random(SHOWN).tolist(),
        "status": ["ok"] * SHOWN,
    }


if __name__ == "__main__":
    main()
