"""Measures the service beyond its capacity.

``python -m tests.bench.overload`` finds the capacity, then offers multiples of it: Poisson arrivals
over keep-alive connections, before and after them a lighter load. Writes ``overload.json`` and
``overload.md``. The server runs alone on one core; client, Redis and probes on another.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import redis

from tests.bench.common import ROOT, bind, last_core, log
from tests.bench.hotpath.agreement import Cases
from tests.bench.hotpath.load import closed_loop, poisson, wire
from tests.bench.hotpath.measure import Budget, Ground, run
from tests.bench.hotpath.servers import Server
from tests.bench.hotpath.variants import VARIANTS
from tests.bench.hotpath.world import MODELS, fill, open_world
from tests.bench.overload.flood import Answers, flood, probed
from training.demo.local_redis import private_redis

_CASES = 200
_CONCURRENCY = 32  # of the closed loop
_STEPS = np.arange(0.6, 1.15, 0.05)  # of the closed loop's rate, in search of the capacity
_SERVED = 0.999  # share of 200 at the capacity
_LIGHT = 0.6  # of the capacity, before and after a flood
_LIGHT_S = 5.0
_WARM_S = 1.0
# So that idle connections of the client stay open.
_PATIENT = {"RANK_KEEP_ALIVE_S": "600", "RANK_RECEIVE_TIMEOUT_S": "600"}
_RECOVERED = 1.2  # times the p99 before the flood


@dataclass(frozen=True)
class Row:
    """Figures of a flood of ``offered`` requests per second; ``times`` the capacity.

    ``late_p99_ms`` is the delay of the client itself. ``recovery_s`` is the time from the end of
    the flood until p99 is at most ``_RECOVERED`` times what it was before.
    """

    n: int
    times: float
    capacity: float
    offered: float
    goodput: float
    p50_ms: float
    p99_ms: float
    refused_p50_ms: float
    refused_p99_ms: float
    late_p99_ms: float
    statuses: dict[int, int]
    livez_ms: float
    metrics_ms: float
    recovery_s: float | None


def _capacity(server: Server, requests: Sequence[bytes], seconds: float, rng: Any) -> float:
    """Return the highest rate of an open loop at which the service refuses hardly anything."""
    end = time.monotonic() + seconds
    closed = run(closed_loop(server.port, requests, _CONCURRENCY, lambda: time.monotonic() < end))
    log(f"closed loop: {closed.rps:,.0f} requests/s, p99 {closed.percentile_ms(99):.1f} ms")
    best = 0.0
    for step in _STEPS:
        answers = run(flood(server.port, requests, poisson(step * closed.rps, seconds, rng), 512))
        accepted = answers.accepted()
        rate = len(accepted.status) / (answers.intended_s[-1] + 1e-9)
        share = len(accepted.status) / len(answers.status)
        late_ms = np.percentile(answers.late_ms, 99)
        log(
            f"open loop of {step * closed.rps:,.0f}/s: {share:.1%} served, p99 "
            f"{accepted.percentile_ms(99):.1f} ms, the client {late_ms:.1f} ms late"
        )
        if share >= _SERVED:
            best = max(best, rate)
    if not best:
        raise SystemExit("no rate was served: the machine is too busy with other work")
    return best


def recovery_s(answers: Answers, flood_begin_s: float, flood_end_s: float) -> float | None:
    """Return when, after a flood, p99 of the next second is near to what it was before it.

    None if it never is.
    """
    before = answers.between(_WARM_S, flood_begin_s).accepted().percentile_ms(99)
    for second in np.arange(0.0, _LIGHT_S, 0.5):
        after = answers.between(flood_end_s + second, flood_end_s + second + 1).accepted()
        if len(after.status) and after.percentile_ms(99) <= _RECOVERED * before:
            return float(second)
    return None


def measure(
    server: Server, n: int, requests: Sequence[bytes], options: argparse.Namespace
) -> list[Row]:
    """Return a row for each multiple of the capacity."""
    rng = np.random.default_rng((5, n))
    capacity = _capacity(server, requests, options.step_s, rng)
    rows = []
    for times in options.times:
        phases = [
            poisson(_LIGHT * capacity, _LIGHT_S, rng),
            poisson(times * capacity, options.flood_s, rng),
            poisson(_LIGHT * capacity, _LIGHT_S, rng),
        ]
        answers, worst = probed(server.port, requests, phases, options.connections)
        begin_s = float(phases[0][-1])
        end_s = begin_s + float(phases[1][-1])
        during = answers.between(begin_s + _WARM_S, end_s)
        accepted = during.accepted()
        refused = during.latency_ms[during.status == HTTPStatus.SERVICE_UNAVAILABLE]
        seconds = end_s - begin_s - _WARM_S
        rows.append(
            Row(
                n=n,
                times=times,
                capacity=capacity,
                offered=len(during.status) / seconds,
                goodput=len(accepted.status) / seconds,
                p50_ms=accepted.percentile_ms(50),
                p99_ms=accepted.percentile_ms(99),
                refused_p50_ms=float(np.percentile(refused, 50)) if len(refused) else 0.0,
                refused_p99_ms=float(np.percentile(refused, 99)) if len(refused) else 0.0,
                late_p99_ms=float(np.percentile(during.late_ms, 99)),
                statuses=dict(Counter(during.status.tolist())),
                livez_ms=worst["/livez"],
                metrics_ms=worst["/metrics"],
                recovery_s=recovery_s(answers, begin_s, end_s),
            )
        )
        log(json.dumps(asdict(rows[-1])))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| N | times capacity | offered/s | goodput/s | share of capacity | p50 ms | p99 ms "
        "| refused p50, p99 ms | codes | worst /livez, /metrics ms | recovery s "
        "| client late p99 ms |",
        "|" + " --- |" * 12,
    ]
    for row in rows:
        recovery = f"over {_LIGHT_S:g}" if row.recovery_s is None else f"{row.recovery_s:g}"
        codes = ", ".join(f"{code}: {count:,}" for code, count in sorted(row.statuses.items()))
        lines.append(
            f"| {row.n:,} | {row.times:g} | {row.offered:,.0f} | {row.goodput:,.0f} "
            f"| {row.goodput / row.capacity:.2f} | {row.p50_ms:.1f} | {row.p99_ms:.1f} "
            f"| {row.refused_p50_ms:.1f}, {row.refused_p99_ms:.1f} | {codes} "
            f"| {row.livez_ms:.0f}, {row.metrics_ms:.0f} | {recovery} "
            f"| {row.late_p99_ms:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write results."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.overload", description=__doc__)
    parser.add_argument("--build", type=Path, default=ROOT / "build/bench", help="results go here")
    parser.add_argument("--ranker", choices=list(MODELS), default="mlp")
    parser.add_argument("--items", type=int, default=10_000, help="size of the catalogue")
    parser.add_argument("--candidates", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--times", type=float, nargs="+", default=[1.0, 2.0, 10.0])
    parser.add_argument("--connections", type=int, default=512)
    parser.add_argument("--flood-s", type=float, default=10.0, help="seconds of each flood")
    parser.add_argument(
        "--step-s", type=float, default=4.0, help="seconds of each step to capacity"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that servers are stopped
    build: Path = options.build.absolute()
    build.mkdir(parents=True, exist_ok=True)
    world = open_world(build, options.ranker)
    server_core = last_core()
    bind(min(os.sched_getaffinity(0)))  # also binds Redis, which this process starts
    cases = Cases(world, options.items)
    rows: list[Row] = []
    with private_redis() as url, redis.Redis.from_url(url) as client:
        fill(client, world, options.items)
        ground = Ground(build, world, url, server_core, Budget(1.0, 10.0, 1.0))
        for n in options.candidates:
            made = cases.make(n, _CASES)
            with ground.serve(VARIANTS[0], made[0].body, **_PATIENT) as server:
                rows += measure(server, n, [wire("/rank", case.body) for case in made], options)
            document = json.dumps([asdict(row) for row in rows], indent=2)
            (build / "overload.json").write_text(document, encoding="utf-8")
            (build / "overload.md").write_text(table(rows), encoding="utf-8")
    log(table(rows))


if __name__ == "__main__":
    main()
