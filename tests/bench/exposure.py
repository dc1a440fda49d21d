"""What counting served bias adds to a ranking: ``python -m tests.bench.exposure [--items N]``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from service.contract.artifact import Artifact, BiasReference
from service.exposure.monitor import ExposureMonitor
from service.telemetry import Telemetry

RANKINGS = 20_000
REPEATS = 5


def main() -> None:
    """Print CPU microseconds a ranking, and milliseconds a scrape with all windows full."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=100_000)
    count = parser.parse_args().items
    rng = np.random.default_rng(0)
    ids = [f"item-{number:08d}" for number in range(count)]
    reference = BiasReference(
        item_ids=ids,
        click_percentile=rng.random(count, np.float32) * 100,
        tradeoffs=np.linspace(0, 1, 11, dtype=np.float32),
        score_deciles=np.sort(rng.random((11, 9), np.float32), axis=1),
        exposure_gini=np.full(11, 0.5, np.float32),
    )
    point = SimpleNamespace(tradeoff=0.5, logged={}, unbiased={}, shown={})
    manifest = SimpleNamespace(front=SimpleNamespace(points=[point]))
    stand_in = SimpleNamespace(
        path=Path(), label="bench@1", manifest=manifest, bias_reference=lambda: reference
    )
    served = ExposureMonitor(cast(Artifact, stand_in), Telemetry())
    columns: list[dict[str, Any]] = [
        {
            "item_ids": [ids[n] for n in rng.integers(count, size=50)],
            "scores": rng.random(50).tolist(),
            "status": ["ok"] * 50,
        }
        for _ in range(RANKINGS)
    ]
    tradeoffs = rng.random(RANKINGS).tolist()
    costs, scrapes = [], []
    for _ in range(REPEATS):
        begun = time.process_time()
        for tradeoff, shown in zip(tradeoffs, columns, strict=True):
            served.add(tradeoff, True, shown)
        costs.append(1e6 * (time.process_time() - begun) / RANKINGS)
        begun = time.process_time()
        served.report(count)
        scrapes.append(1e3 * (time.process_time() - begun))
    print(f"{count} items: {min(costs):.1f} us a ranking, {min(scrapes):.1f} ms a scrape")  # noqa: T201


if __name__ == "__main__":
    main()
