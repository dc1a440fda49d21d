"""Counts what stops of a replica cost its clients.

``python -m tests.bench.restarts [--stops N] [--clients N] [--kill]`` starts the service, sends
rankings over kept-alive connections without a pause, stops it, and does so again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import redis

from service.contract.repository import Repository
from tests.bench.common import ROOT, last_core, log
from tests.bench.hotpath.load import wire
from tests.bench.hotpath.servers import Command, free_ports, running
from tests.bench.hotpath.world import NAMESPACE, World, fill, open_world
from tests.integration.service.api.stops import NOT_ACCEPTED, stop_under_load
from training.demo.local_redis import private_redis

_ITEMS = 1_000
_CANDIDATES = 200


def main(arguments: Sequence[str] | None = None) -> None:
    """Print how requests ended over all stops, and how long a stop took."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.restarts", description=__doc__)
    parser.add_argument("--stops", type=int, default=100, help="number of stops")
    parser.add_argument("--clients", type=int, default=16, help="clients, each on its connection")
    parser.add_argument("--kill", action="store_true", help="by SIGKILL instead of SIGTERM")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args(arguments)
    sign = signal.SIGKILL if options.kill else signal.SIGTERM
    world = open_world(options.build, "decomposed")
    outcomes: Counter[str] = Counter()
    lost, seconds = [], []
    with private_redis() as url, tempfile.TemporaryDirectory() as folder:
        repository = Repository(Path(folder))
        name = world.artifact.manifest.name
        shutil.copytree(world.artifact.path, repository.path(name, 1))
        repository.promote(name, 1)
        with redis.Redis.from_url(url) as client:
            fill(client, world, _ITEMS)
        for number in range(options.stops):
            ended, took_s = _stop(world, repository, url, sign, options)
            outcomes += ended
            lost.append(sum(ended.values()) - ended["200"] - ended[NOT_ACCEPTED])
            seconds.append(took_s)
            log(f"stop {number + 1}: {dict(ended)}, {took_s:.2f} s")
    print(f"{options.stops} stops by {sign.name}, {options.clients} clients")  # noqa: T201  # its output is the measurement
    for name, count in sorted(outcomes.items()):
        print(f"{name:<24} {count}")  # noqa: T201  # its output is the measurement
    print(f"{'lost or not 200, a stop':<24} at most {max(lost)}, {sum(lost)} in all")  # noqa: T201  # its output is the measurement
    print(f"{'a stop takes':<24} {median(seconds):.2f} s, at most {max(seconds):.2f} s")  # noqa: T201  # its output is the measurement


def _stop(
    world: World,
    repository: Repository,
    url: str,
    sign: signal.Signals,
    options: argparse.Namespace,
) -> tuple[Counter[str], float]:
    """Start the service, stop it under load; return how requests ended, and its last seconds."""
    (port,) = free_ports(1)
    environment = {
        "RANK_PORT": str(port),
        "RANK_MODELS_DIR": str(repository.root),
        "RANK_REDIS_URL": url,
        "RANK_NAMESPACE": NAMESPACE,
        "RANK_STORE_TIMEOUT_MS": "5000",
        "RANK_ACCESS": "open",
    }
    command = Command([sys.executable, "-m", "service"], environment, "/readyz")
    user_ids, _ = world.users()
    body = {"user_id": user_ids[0], "candidates": [f"i{n:07d}" for n in range(_CANDIDATES)]}
    request = wire("/rank", json.dumps(body).encode())
    with running("restarts", command, port, last_core(), options.build, lambda: "") as server:
        began: list[float] = []

        def stop() -> None:
            began.append(time.monotonic())
            os.kill(server.process.pid, sign)

        outcomes = stop_under_load(port, request, stop, clients=options.clients)
        server.process.wait()
        return outcomes, time.monotonic() - began[0]


if __name__ == "__main__":
    main()
