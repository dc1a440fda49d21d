"""Measures how soon an item that is put is ranked, while clients rank.

``python -m tests.bench.live_items [--seconds N] [--rate N] [--puts N] [--batch N] [--replicas N]``
puts new items to the first replica under an open loop of rankings, and asks every replica for one
of them until it ranks it. Each replica has been asked before, and has noted the item as absent: so
only the change stream brings it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import redis

from tests.bench.common import ROOT, last_core, log
from tests.bench.hotpath.load import Connection, Load, connect, open_loop, poisson, wire
from tests.bench.hotpath.servers import Command, free_ports, running
from tests.bench.hotpath.world import NAMESPACE, World, fill, open_world
from training.demo.local_redis import private_redis

_CANDIDATES = 200
_REQUESTS = 200
_POLL_S = 0.002
_LATE_S = 10.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Print times from a put to its ranking, and latencies of rankings without and with puts."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.live_items", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="with puts; half of it without")
    parser.add_argument("--items", type=int, default=10_000, help="size of the catalogue")
    parser.add_argument("--rate", type=float, default=100.0, help="rankings per second, a replica")
    parser.add_argument("--puts", type=float, default=5.0, help="puts per second")
    parser.add_argument("--batch", type=int, default=10, help="items of one put")
    parser.add_argument("--replicas", type=int, default=2, help="services on one store")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args(arguments)
    world = open_world(options.build, "decomposed")
    ports = free_ports(options.replicas)
    with private_redis() as url, contextlib.ExitStack() as stack:
        with redis.Redis.from_url(url) as client:
            fill(client, world, options.items)
        for number, port in enumerate(ports):
            environment = {
                "RANK_ACCESS": "open",
                "RANK_PORT": str(port),
                "RANK_MODELS_DIR": str(world.models),
                "RANK_REDIS_URL": url,
                "RANK_NAMESPACE": NAMESPACE,
                "RANK_STORE_TIMEOUT_MS": "5000",
                "RANK_KEEP_ALIVE_S": "600",
            }
            command = Command([sys.executable, "-m", "service"], environment, "/readyz")
            name = f"live-{number}"
            stack.enter_context(
                running(name, command, port, last_core(), options.build, lambda: "")
            )
        _report(options, *asyncio.run(_measure(world, ports, options)))


async def _measure(
    world: World, ports: Sequence[int], options: argparse.Namespace
) -> tuple[list[Load], list[Load], list[tuple[float, float]]]:
    """Return loads without and with puts, and of each put the ms to its answer and to rankings."""
    requests, rng = _requests(world, options.items), np.random.default_rng(1)

    async def loads(seconds: float) -> list[Load]:
        arrivals_s = [poisson(options.rate, seconds, rng) for _ in ports]
        loops = (open_loop(port, requests, s) for port, s in zip(ports, arrivals_s, strict=True))
        return list(await asyncio.gather(*loops))

    quiet = await loads(options.seconds / 2)
    log("putting items")
    busy, puts = await asyncio.gather(loads(options.seconds), _puts(world, ports, options))
    return quiet, busy, puts


async def _puts(
    world: World, ports: Sequence[int], options: argparse.Namespace
) -> list[tuple[float, float]]:
    """Put items at even times; return of each put the ms to its answer, and to its rankings."""
    times_ms = []
    began = time.perf_counter()
    for number in range(max(1, round(options.puts * options.seconds))):
        await asyncio.sleep(began + number / options.puts - time.perf_counter())
        connections = [await connect(port) for port in ports]
        put, ask = _put(world, number, options.batch)
        for connection in connections:
            assert _status(await connection.ask(ask)) == "missing"
        sent = time.perf_counter()
        ranked = [asyncio.create_task(_ranked(c, ask)) for c in connections[1:]]
        await connections[0].ask(put)
        answered = time.perf_counter()
        await asyncio.gather(_ranked(connections[0], ask), *ranked)
        times_ms.append(((answered - sent) * 1e3, (time.perf_counter() - sent) * 1e3))
        for connection in connections:
            connection.close()
    return times_ms


async def _ranked(connection: Connection, ask: bytes) -> None:
    """Return once the replica ranks the item."""
    async with asyncio.timeout(_LATE_S):
        while _status(await connection.ask(ask)) == "missing":  # noqa: ASYNC110  # seen from outside
            await asyncio.sleep(_POLL_S)


def _status(answer: bytes) -> str:
    return str(json.loads(answer)["items"][0]["status"])


def _put(world: World, number: int, batch: int) -> tuple[bytes, bytes]:
    """Return a request that puts new items, and one that ranks the last of them."""
    rng = np.random.default_rng((4, number))
    modalities = [m for m in world.artifact.manifest.modalities if not m.learned]
    items = [
        {
            "item_id": f"put-{number}-{index}",
            "title": f"Item {index}",
            "vectors": {m.name: rng.standard_normal(m.dim).round(5).tolist() for m in modalities},
            "proxies": {proxy.name: 1.0 for proxy in world.artifact.manifest.proxies},
        }
        for index in range(batch)
    ]
    put = wire("/items", json.dumps({"items": items}).encode())
    ask = {"user_id": "u00000", "candidates": [items[-1]["item_id"]]}
    return put.replace(b"POST", b"PUT", 1), wire("/rank", json.dumps(ask).encode())


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


def _report(
    options: argparse.Namespace,
    quiet: list[Load],
    busy: list[Load],
    puts: list[tuple[float, float]],
) -> None:
    answered_ms, ranked_ms = np.array(puts).T
    rows = (
        ("put to its answer", answered_ms),
        ("put to ranked by all", ranked_ms),
        ("rankings without puts", np.concatenate([load.latency_ms for load in quiet])),
        ("rankings with puts", np.concatenate([load.latency_ms for load in busy])),
    )
    print(  # noqa: T201  # its output is the measurement
        f"{options.items:,} items, {options.replicas} replicas with {options.rate:g} rankings/s "
        f"each, {options.puts:g} puts/s of {options.batch} items"
    )
    for name, values in rows:
        print(f"{name:<22} {_percentiles(values)}, {len(values):,} of them")  # noqa: T201


def _percentiles(values_ms: Any) -> str:
    p50, p99, most = np.percentile(values_ms, (50, 99, 100))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {most:.1f} ms"


if __name__ == "__main__":
    main()
