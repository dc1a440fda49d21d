"""Measures users in memory: hit rate and latency with Redis 1 ms away, and the CPU time of a read.

``python -m tests.bench.users [--turns N]`` ranks the pages of sessions through a proxy that delays
Redis' answers, with users in memory and without, in turns within one process, so that other load on
the machine affects both alike. Reads are then timed without the proxy.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import uvloop
from pydantic import SecretStr

from service.app import create_app
from service.ranking.messages import RankRequest
from service.settings import Settings
from service.store.histories import Histories
from service.store.limit import Limit
from service.store.records import RedisStore
from service.store.user_memory import UserMemory
from service.telemetry import Telemetry
from tests.bench.common import ROOT, log
from tests.bench.histories import Caller
from tests.bench.hotpath.world import NAMESPACE, World, fill, open_world
from tests.chaos.tcp import FaultyWire
from tests.integration import redis_servers

_ITEMS, _CANDIDATES = 10_000, 500
_DELAY_S = 0.001
_AT_ONCE = 8  # sessions, and reads
_SESSIONS = 40  # a turn
_PAGES = 4  # of a session on average, at least one
_CLICKS = 0.2  # share of the pages that are clicked on
_LOOK_S = 0.1  # between pages; people look longer
_READS = 800  # a turn
_ON, _OFF = "in memory", "from Redis"


@dataclass
class Pages:
    """Milliseconds of the first page of each session and of its later ones."""

    first: list[float] = field(default_factory=list)
    later: list[float] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print hit rate, latencies and CPU times."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.users", description=__doc__)
    parser.add_argument("--turns", type=int, default=20, help="turns of each kind")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args(arguments)
    world = open_world(options.build, "decomposed")
    with _redis() as (client, port), _far(port) as far:
        fill(client, world, _ITEMS)
        uvloop.run(_sessions(world, far, options.turns))
        uvloop.run(_reads(world, port, options.turns))


@contextlib.contextmanager
def _redis() -> Iterator[tuple[Any, int]]:
    with tempfile.TemporaryDirectory(prefix="bench-users-") as folder:
        port = redis_servers.free_port()
        with redis_servers.server(Path(folder) / "redis", port) as client:
            yield client, port


@contextlib.contextmanager
def _far(port: int) -> Iterator[int]:
    """Yield a port whose answers are those of ``port``, ``_DELAY_S`` later.

    The proxy is a process: a thread would wait for this one's interpreter lock.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_forward, args=(port, there), daemon=True)
    process.start()
    there.close()
    yield here.recv()
    here.close()
    process.join()


def _forward(port: int, pipe: Any) -> None:
    with FaultyWire(port).running() as wire, contextlib.suppress(EOFError):
        wire.delay_s = _DELAY_S
        pipe.send(wire.port)
        pipe.recv()  # until the other side closes


@contextlib.asynccontextmanager
async def _serving(world: World, port: int) -> AsyncIterator[Any]:
    """Yield the state of a service whose users in memory are followed."""
    name = world.artifact.manifest.name
    url = SecretStr(f"redis://127.0.0.1:{port}")
    settings = Settings(models_dir=world.models, model=name, namespace=NAMESPACE, redis_url=url)
    app = create_app(settings.model_copy(update={"access": "open", "store_timeout_ms": 2000}))
    async with app.router.lifespan_context(app):
        state = app.state
        followed = state.users_in_memory
        while state.registry.default_label() is None or not followed.is_followed:  # noqa: ASYNC110  # no event says so
            await asyncio.sleep(0.1)
        state.settings = settings
        yield state


async def _sessions(world: World, port: int, turns: int) -> None:
    """Rank the pages of sessions and print hit rate and latencies."""
    pages = {_ON: Pages(), _OFF: Pages()}
    hits = misses = 0
    async with _serving(world, port) as state:
        histories = Histories(state.store, state.settings)
        for turn in range(turns):
            for kind, took in pages.items():
                with _memory(state.store, kind) as memory:
                    memory.report()
                    await _turn(world, state.ranker, histories, took, turn)
                    if kind == _ON:
                        hits, misses = hits + memory._hits, misses + memory._misses
    log(f"hit rate {hits / (hits + misses):.0%} of {hits + misses} pages")
    for kind, took in pages.items():
        for name, values in (("first page", took.first), ("later pages", took.later)):
            p99 = quantiles(values, n=100)[98]
            log(f"{kind:12} {name:12} p50 {median(values):6.2f} ms   p99 {p99:6.2f} ms")


@contextlib.contextmanager
def _memory(store: RedisStore, kind: str) -> Iterator[UserMemory]:
    """Have a store use its memory for the block, or one that holds nobody."""
    followed = store.users_in_memory
    if kind == _OFF:
        store.users_in_memory = UserMemory(1 << 16, Telemetry())
    try:
        yield store.users_in_memory
    finally:
        store.users_in_memory = followed


async def _turn(world: World, ranker: Any, histories: Histories, took: Pages, turn: int) -> None:
    """Rank the sessions of one turn, some at once; those of both kinds are equal."""
    items = [item_id for chunk in world.items(_ITEMS) for item_id in chunk.ids]
    users, rng = world.users()[0], random.Random(turn)
    waiting = [
        (users[rng.randrange(len(users))], 1 + int(rng.expovariate(1 / (_PAGES - 1))))
        for _ in range(_SESSIONS)
    ]

    async def visitor() -> None:
        while waiting:
            user_id, count = waiting.pop()
            for page in range(count):
                candidates = rng.sample(items, _CANDIDATES)
                request = RankRequest(user_id=user_id, candidates=candidates)
                begun_s = time.perf_counter()
                await ranker.rank(request, "id", Caller())
                took_ms = (time.perf_counter() - begun_s) * 1000
                (took.later if page else took.first).append(took_ms)
                if rng.random() < _CLICKS:
                    now_ms = int(time.time() * 1000)
                    await histories.add([(user_id, rng.choice(candidates), now_ms)])
                await asyncio.sleep(_LOOK_S)

    await asyncio.gather(*(visitor() for _ in range(_AT_ONCE)))


async def _reads(world: World, port: int, turns: int) -> None:
    """Print the CPU time of a read in this process, alone and eight in one turn of the loop."""
    users, keys = world.users()[0][:_READS], world.keys
    took_us: dict[str, list[float]] = {}
    async with _serving(world, port) as state:
        store, limit = state.store, Limit(2.0)

        async def alone() -> None:
            for user_id in users:
                await store.user(keys, user_id, limit)

        async def together() -> None:
            for start in range(0, _READS, _AT_ONCE):
                batch = users[start : start + _AT_ONCE]
                await asyncio.gather(*(store.user(keys, user_id, limit) for user_id in batch))

        ways: dict[str, Callable[[], Awaitable[None]]]
        ways = {"alone": alone, f"{_AT_ONCE} in a turn": together}
        await alone()
        for _ in range(turns):
            for way, read in ways.items():
                for kind in (_ON, _OFF):
                    with _memory(store, kind):
                        begun_s = time.process_time()
                        await read()
                        used_us = (time.process_time() - begun_s) / _READS * 1e6
                        took_us.setdefault(f"{kind}, {way}", []).append(used_us)
    for name, values in took_us.items():
        log(f"{name:26} least {min(values):6.1f} us   median {median(values):6.1f} us")


if __name__ == "__main__":
    main()
