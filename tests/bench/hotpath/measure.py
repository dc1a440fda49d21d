"""One turn of one variant: start, compare rankings, time, stop."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import uvloop

from tests.bench.hotpath.agreement import Case, check
from tests.bench.hotpath.load import Load, LoadError, ask_all, closed_loop, open_loop, poisson, wire
from tests.bench.hotpath.protocol import Task
from tests.bench.hotpath.servers import Server, free_ports, running
from tests.bench.hotpath.variants import Variant
from tests.bench.hotpath.world import NAMESPACE, World

CONCURRENCY = 8
OPEN_SHARE = 0.6  # of the closed loop's rate, in the open loop
_COMPARED = 50

T = TypeVar("T")


@dataclass(frozen=True)
class Budget:
    """Length of a closed loop: until the server has used ``cpu_s``, at most ``wall_s``."""

    cpu_s: float
    wall_s: float
    open_s: float


@dataclass(frozen=True)
class Turn:
    """Figures of one turn of a variant at one number of candidates."""

    cpu_us: float
    rps: float
    p50_ms: float
    p99_ms: float
    late_p99_ms: float
    rss_mb: float
    difference: float


@dataclass(frozen=True)
class Ground:
    """Paths, world, store and settings that all turns share."""

    build: Path
    world: World
    redis_url: str
    core: int  # of the server; client and Redis run on another
    budget: Budget
    ort_threads: int = 0  # of the idiomatic handler in every framework

    @property
    def answer(self) -> Path:
        """The file with the answer of the floor."""
        return self.build / "hotpath-data/answer.json"

    @contextmanager
    def serve(self, variant: Variant, probe: bytes, **environment: str) -> Iterator[Server]:
        """Run a variant; the block begins once it answers ``probe``."""
        port, *more = free_ports(3)
        with tempfile.TemporaryDirectory() as scratch:
            task = Task(
                artifact=str(self.world.artifact.path),
                models=str(self.world.models),
                redis_url=self.redis_url,
                namespace=NAMESPACE,
                port=port,
                more_ports=tuple(more),
                answer=str(self.answer),
                scratch=scratch,
                ort_threads=variant.ort_threads or self.ort_threads,
            )
            command = variant.command(self.build, task, environment)

            def fault() -> str:
                try:
                    run(ask_all(port, [wire(variant.path, probe)]))
                except (LoadError, TimeoutError) as error:
                    return repr(error)
                return ""

            logs = self.build / "hotpath-logs"
            with running(variant.name, command, port, self.core, logs, fault) as server:
                yield server


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of the client on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def take_turn(
    ground: Ground, variant: Variant, cases: Mapping[int, Sequence[Case]], seed: int
) -> dict[int, Turn]:
    """Return the figures of a variant by number of candidates; raises if its rankings differ."""
    first = next(iter(cases.values()))[0].body
    with ground.serve(variant, first) as server:
        return {n: _measure(ground, variant, server, some, seed) for n, some in cases.items()}


def _measure(
    ground: Ground, variant: Variant, server: Server, cases: Sequence[Case], seed: int
) -> Turn:
    requests = [wire(variant.path, case.body) for case in cases]
    answers = run(ask_all(server.port, requests[:_COMPARED]))
    difference = 0.0
    if variant.name == "floor":
        if not all(answer == ground.answer.read_bytes() for answer in answers):
            raise LoadError("the floor's answer differs from its file")
    else:
        manifest = ground.world.artifact.manifest
        tolerance = manifest.parity_tolerance * manifest.calibration.slope / 4
        difference = check(cases[:_COMPARED], answers, tolerance)
    if variant.name == "ours":
        ground.answer.write_bytes(answers[0])
    server.pin()  # also pins threads that the first requests started
    cpu_us, closed = cost(ground.budget, server, requests, CONCURRENCY)
    rng = np.random.default_rng((4, seed))
    arrivals = poisson(OPEN_SHARE * closed.rps, ground.budget.open_s, rng)
    opened = run(open_loop(server.port, requests, arrivals))
    return Turn(
        cpu_us=cpu_us,
        rps=closed.rps,
        p50_ms=opened.percentile_ms(50),
        p99_ms=opened.percentile_ms(99),
        late_p99_ms=float(np.percentile(opened.late_ms, 99)),
        rss_mb=server.rss_mb(),
        difference=difference,
    )


def cost(
    budget: Budget, server: Server, requests: Sequence[bytes], concurrency: int
) -> tuple[float, Load]:
    """Return the server's CPU microseconds per request in a closed loop, and the load."""
    before = server.cpu_s()
    end = time.monotonic() + budget.wall_s

    def go_on() -> bool:
        return time.monotonic() < end and server.cpu_s() - before < budget.cpu_s

    load = run(closed_loop(server.port, requests, concurrency, go_on))
    return (server.cpu_s() - before) / len(load.latency_ms) * 1e6, load


def ask(server: Server, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Send one request and return its ranking."""
    (answer,) = run(ask_all(server.port, [wire(path, json.dumps(body).encode())]))
    ranking: dict[str, Any] = json.loads(answer)
    return ranking
