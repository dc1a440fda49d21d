"""Measures what swaps of models cost open requests.

``python -m tests.bench.swaps [--items N] [--swaps N] [--rate N]`` alternates an alias between two
versions of one model, under an open loop of requests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import redis

from service.contract.repository import Repository
from tests.bench.common import ROOT, last_core, log
from tests.bench.hotpath.load import Load, open_loop, poisson, wire
from tests.bench.hotpath.servers import Command, Server, free_ports, running
from tests.bench.hotpath.world import NAMESPACE, World, fill, open_world
from training.demo.local_redis import private_redis

_CANDIDATES = 200
_REQUESTS = 200
_SWAP_S = 60.0
_LOOK_S = 0.02
_SETTLE_S = 0.5
_SEGMENT_S = 2.0


@dataclass
class Swaps:
    """Stalls in ms, one a swap; followers and memory after the last one."""

    stall_ms: list[float]
    followers: int
    rss_mb: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Print stalls, latencies before and during the swaps, followers and memory."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.swaps", description=__doc__)
    parser.add_argument("--items", type=int, default=10_000, help="size of the catalogue")
    parser.add_argument("--swaps", type=int, default=20, help="number of swaps")
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args(arguments)
    world = open_world(options.build, "decomposed")
    with private_redis() as url, tempfile.TemporaryDirectory() as folder:
        with redis.Redis.from_url(url) as client:
            fill(client, world, options.items)
        repository = _two_versions(world, Path(folder))
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
    rss_mb = server.rss_mb()
    _probe(server)
    end_s = time.monotonic() + options.swaps * _SETTLE_S
    quiet = _load(server, requests, options.rate, lambda: time.monotonic() < end_s)
    quiet_stall_ms = _probe(server)["stall_ms"]
    busy, swaps = _swap_under_load(server, repository, requests, options)
    rows = (
        ("longest stall", f"{quiet_stall_ms:.1f} ms without swaps"),
        (
            "",
            f"{median(swaps.stall_ms):.1f} ms the median swap, {max(swaps.stall_ms):.1f} the worst",
        ),
        ("latency without swaps", _latencies(quiet)),
        ("latency during swaps", _latencies(busy)),
        ("living followers", f"{swaps.followers}"),
        ("memory", f"{rss_mb:.0f} MB at first, {swaps.rss_mb:.0f} MB after the last swap"),
    )
    print(f"{options.items:,} items, {options.swaps} swaps, {options.rate:g} requests/s")  # noqa: T201  # its output is the measurement
    for name, value in rows:
        print(f"{name:<22} {value}")  # noqa: T201  # its output is the measurement


def _swap_under_load(
    server: Server, repository: Repository, requests: list[bytes], options: Any
) -> tuple[Load, Swaps]:
    """Swap in a thread while an open loop sends requests; return both results."""
    swaps = Swaps([], 0, 0.0)
    done = threading.Event()
    failures: list[BaseException] = []

    def swap_all() -> None:
        try:
            for number in range(options.swaps):
                swaps.stall_ms.append(_swap(server, repository, 2 - number % 2))
        except BaseException as error:  # raised again by the caller
            failures.append(error)
        finally:
            done.set()

    swapping = threading.Thread(target=swap_all)
    swapping.start()
    load = _load(server, requests, options.rate, lambda: not done.is_set())
    swapping.join()
    if failures:
        raise failures[0]
    time.sleep(2 * _SETTLE_S)
    swaps.followers, swaps.rss_mb = int(_probe(server)["followers"]), server.rss_mb()
    return load, swaps


def _load(server: Server, requests: list[bytes], rate: float, go_on: Callable[[], bool]) -> Load:
    """Send requests at ``rate`` a second while ``go_on`` holds.

    In segments: the server closes connections that stay idle for 5 s.
    """
    rng = np.random.default_rng(1)
    loads = []
    while go_on():
        arrivals_s = poisson(rate, _SEGMENT_S, rng)
        loads.append(asyncio.run(open_loop(server.port, requests, arrivals_s)))
    seconds = sum(load.seconds for load in loads)
    return Load(seconds, np.concatenate([load.latency_ms for load in loads]), np.zeros(0))


def _swap(server: Server, repository: Repository, version: int) -> float:
    """Move the alias to ``version``, wait until it alone serves; return the longest stall in ms."""
    _probe(server)
    (name,) = repository.names()
    repository.promote(name, version)
    deadline = time.monotonic() + _SWAP_S
    while _served(server) != [version]:
        if time.monotonic() > deadline:
            raise server.fail(f"version {version} does not serve after {_SWAP_S:.0f} s")
        time.sleep(_LOOK_S)
    time.sleep(_SETTLE_S)
    stall_ms: float = _probe(server)["stall_ms"]
    log(f"version {version}: {stall_ms:.1f} ms")
    return stall_ms


def _served(server: Server) -> list[int]:
    models = json.loads(server.get("/models")[1])["models"]
    return [model["version"] for model in models]


def _probe(server: Server) -> dict[str, float]:
    probed: dict[str, float] = json.loads(server.get("/probe")[1])
    return probed


def _two_versions(world: World, folder: Path) -> Repository:
    """Return a repository with two versions of the world's model."""
    repository = Repository(folder)
    for version in (1, 2):
        shutil.copytree(world.artifact.path, repository.path(world.artifact.manifest.name, version))
    repository.promote(world.artifact.manifest.name, 1)
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
