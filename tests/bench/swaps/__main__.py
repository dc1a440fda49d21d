"""Measures what swaps of models cost open requests.

``python -m tests.bench.swaps [--items N] [--swaps N] [--rate N] [--shadow SHARE] [--rollbacks]``
alternates an alias between two versions of one model, under an open loop of requests, in turn with
a second without a swap. An answer other than 200 ends the measurement.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import redis

from service.contract.alias_moves import roll_back, set_candidate
from service.contract.repository import Repository
from service.contract.rollout import Rollout
from tests.bench.common import ROOT, last_core, log
from tests.bench.hotpath.load import Load, open_loop, poisson, wire
from tests.bench.hotpath.servers import Command, Server, free_ports, running
from tests.bench.hotpath.world import NAMESPACE, World, fill, open_world
from training.demo.local_redis import private_redis

_CANDIDATES = 200
_CANDIDATE = 3  # the version of the alias candidate
_REQUESTS = 200
_SWAP_S = 60.0
_LOOK_S = 0.02
_SEGMENT_S = 1.0
_FOLLOWER_S = 1.5  # in which the follower of a dropped model ends


@dataclass
class Turns:
    """One value a swap: the load and longest stall without and with it, memory in MB after it."""

    quiet: list[Load] = field(default_factory=list)
    busy: list[Load] = field(default_factory=list)
    quiet_stall_ms: list[float] = field(default_factory=list)
    stall_ms: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print stalls, latencies before and during the swaps, followers and memory."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.swaps", description=__doc__)
    parser.add_argument("--items", type=int, default=10_000, help="size of the catalogue")
    parser.add_argument("--swaps", type=int, default=20, help="number of swaps")
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second")
    parser.add_argument(
        "--shadow", type=float, default=0.0, help="share that a candidate, a third version, repeats"
    )
    parser.add_argument(
        "--rollbacks", action="store_true", help="every second swap goes back by the history"
    )
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args(arguments)
    world = open_world(options.build, "decomposed")
    with private_redis() as url, tempfile.TemporaryDirectory() as folder:
        with redis.Redis.from_url(url) as client:
            fill(client, world, options.items)
        repository = _versions(world, Path(folder), options.shadow)
        (port,) = free_ports(1)
        environment = {
            "RANK_ACCESS": "open",
            "RANK_PORT": str(port),
            "RANK_MODELS_DIR": str(repository.root),
            "RANK_MODELS_POLL_S": "0.05",
            "RANK_REDIS_URL": url,
            "RANK_NAMESPACE": NAMESPACE,
            "RANK_STORE_TIMEOUT_MS": "5000",
        }
        command = Command(
            [sys.executable, "-m", "tests.bench.swaps.probed"], environment, "/readyz"
        )
        with running("swaps", command, port, last_core(), options.build, lambda: "") as server:
            _report(server, repository, _requests(world, options.items), options)


def _report(server: Server, repository: Repository, requests: list[bytes], options: Any) -> None:
    _await(server, [1, _CANDIDATE] if options.shadow else [1])
    rss_mb = server.rss_mb()
    turns = _take_turns(server, repository, requests, options)
    time.sleep(_FOLLOWER_S)
    followers, rss_mb_at_end = int(_probe(server)["followers"]), server.rss_mb()
    quiet, busy = _joined(turns.quiet), _joined(turns.busy)
    rows = (
        ("longest stall", _stalls("a second without a swap", turns.quiet_stall_ms)),
        ("", _stalls("a swap", turns.stall_ms)),
        ("latency without swaps", _latencies(quiet)),
        ("latency during swaps", _latencies(busy)),
        ("p99 during / without", f"{busy.percentile_ms(99) / quiet.percentile_ms(99):.2f}"),
        ("", f"{_median_p99(turns.busy) / _median_p99(turns.quiet):.2f} of the median second"),
        ("requests", f"{len(busy.latency_ms):,} during swaps, none lost"),
        ("living followers", f"{followers}"),
        ("memory", f"{rss_mb:.0f} MB at first, {rss_mb_at_end:.0f} MB after the last swap"),
        ("", f"{_slope(turns.rss_mb):+.2f} MB a swap, by a line through the second half"),
    )
    shadow = f", shadow {options.shadow:g}" if options.shadow else ""
    rollbacks = ", every second one a rollback" if options.rollbacks else ""
    head = f"{options.items:,} items, {options.swaps} swaps{rollbacks}, {options.rate:g} requests/s"
    print(f"{head}{shadow}")  # noqa: T201  # its output is the measurement
    for name, value in rows:
        print(f"{name:<22} {value}")  # noqa: T201  # its output is the measurement


def _take_turns(
    server: Server, repository: Repository, requests: list[bytes], options: Any
) -> Turns:
    """Send requests for a second without a swap, then while a thread swaps, and so on."""
    turns, rng = Turns(), np.random.default_rng(1)
    pool = ThreadPoolExecutor(max_workers=1)

    def segment() -> Load:
        # A segment at a time: the server closes connections that stay idle for 5 s.
        arrivals_s = poisson(options.rate, _SEGMENT_S, rng)
        return asyncio.run(open_loop(server.port, requests, arrivals_s))

    for number in range(options.swaps):
        _probe(server)
        turns.quiet.append(segment())
        turns.quiet_stall_ms.append(_probe(server)["stall_ms"])
        swapping = pool.submit(_swap, server, repository, 2 - number % 2, options)
        while not swapping.done():
            turns.busy.append(segment())
        swapping.result()
        turns.stall_ms.append(_probe(server)["stall_ms"])
        turns.rss_mb.append(server.rss_mb())
        log(f"swap {number + 1}: {turns.stall_ms[-1]:.1f} ms, {turns.rss_mb[-1]:.0f} MB")
    pool.shutdown()
    return turns


def _median_p99(loads: list[Load]) -> float:
    """Return the median of the seconds' p99: what else runs on the machine moves it less."""
    return median(load.percentile_ms(99) for load in loads)


def _joined(loads: list[Load]) -> Load:
    latency_ms = np.concatenate([load.latency_ms for load in loads])
    return Load(sum(load.seconds for load in loads), latency_ms, np.zeros(0))


def _stalls(span: str, stall_ms: list[float]) -> str:
    return f"{median(stall_ms):.1f} ms the median of {span}, {max(stall_ms):.1f} the worst"


def _swap(server: Server, repository: Repository, version: int, options: Any) -> None:
    """Move the alias to ``version`` and wait until it alone serves."""
    (name,) = repository.names()
    if options.rollbacks and version == 1:
        roll_back(repository, name)
    else:
        repository.promote(name, version)
    _await(server, [version, _CANDIDATE] if options.shadow else [version])


def _await(server: Server, versions: list[int]) -> None:
    """Wait until exactly these versions are loaded."""
    deadline = time.monotonic() + _SWAP_S
    while _served(server) != versions:
        if time.monotonic() > deadline:
            raise server.fail(f"versions {versions} do not serve after {_SWAP_S:.0f} s")
        time.sleep(_LOOK_S)


def _slope(rss_mb: Sequence[float]) -> float:
    """Return the growth of memory a swap over the second half: caches have filled by then."""
    late = np.array(rss_mb[len(rss_mb) // 2 :])
    return float(np.polyfit(np.arange(len(late)), late, 1)[0]) if len(late) > 1 else 0.0


def _served(server: Server) -> list[int]:
    models = json.loads(server.get("/models")[1])["models"]
    return [model["version"] for model in models]


def _probe(server: Server) -> dict[str, float]:
    probed: dict[str, float] = json.loads(server.get("/probe")[1])
    return probed


def _versions(world: World, folder: Path, shadow: float) -> Repository:
    """Return a repository with two versions of the world's model, and a candidate for a shadow."""
    repository, name = Repository(folder), world.artifact.manifest.name
    for version in (1, 2, _CANDIDATE) if shadow else (1, 2):
        shutil.copytree(world.artifact.path, repository.path(name, version))
    repository.promote(name, 1)
    if shadow:
        set_candidate(repository, name, Rollout(version=_CANDIDATE, shadow=shadow))
    return repository


def _requests(world: World, items: int) -> list[bytes]:
    user_ids, _ = world.users()
    rng = np.random.default_rng(3)
    bodies = (
        {
            "user_id": user_ids[number],
            "candidates": [f"i{n:07d}" for n in rng.choice(items, _CANDIDATES, replace=False)],
        }
        for number in range(_REQUESTS)
    )
    return [wire("/rank", json.dumps(body).encode()) for body in bodies]


def _latencies(load: Load) -> str:
    p50, p99, most = (load.percentile_ms(q) for q in (50, 99, 100))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {most:.1f} ms"


if __name__ == "__main__":
    main()
