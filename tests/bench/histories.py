"""Measures what stored histories add to a ranking, in CPU microseconds of the service's process.

``python -m tests.bench.histories [--turns N]`` ranks 500 candidates for users with and without
stored histories, in turns within one process, so that other load on the machine affects all alike.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec
import redis
import uvloop
from pydantic import SecretStr

from service.app import create_app
from service.contract.feedback import history_key
from service.ranking.messages import RankRequest
from service.settings import Settings
from tests.bench.common import ROOT, log
from tests.bench.hotpath.world import NAMESPACE, World, fill, open_world
from training.demo.local_redis import private_redis

_ITEMS, _CANDIDATES, _USERS = 10_000, 500, 8
_LENGTHS = (1, 10, 100, 500)
_REQUESTS = 80  # a turn
_NONE = "no history, none read"


class Caller:
    """Somebody who stays."""

    arrived_s = 0.0

    async def turn(self) -> None:
        """Return at once."""

    def ensure_connected(self) -> None:
        """Stay."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the median CPU time of each kind of ranking and its difference to the first."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.histories", description=__doc__)
    parser.add_argument("--turns", type=int, default=200, help="turns of each kind")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args(arguments)
    world = open_world(options.build, "decomposed")
    with private_redis() as url, redis.Redis.from_url(url) as client:
        fill(client, world, _ITEMS)
        requests = _requests(world, client)
        uvloop.run(_measure(world, url, requests, options.turns))


def _requests(world: World, client: redis.Redis) -> dict[str, list[RankRequest]]:
    """Return the requests of each kind, whose users' histories are stored."""
    items = [item_id for chunk in world.items(_ITEMS) for item_id in chunk.ids]
    users = iter(world.users()[0])
    rng = random.Random(0)
    now_ms = int(time.time() * 1000)

    def of_users(chosen: list[str], *, profiling: bool = True) -> list[RankRequest]:
        return [
            RankRequest(
                user_id=chosen[number % len(chosen)],
                candidates=rng.sample(items, _CANDIDATES),
                profiling=profiling,
            )
            for number in range(_REQUESTS)
        ]

    known = [next(users) for _ in range(_USERS)]
    kinds = {_NONE: of_users(known), "no history": of_users(known)}
    for length in _LENGTHS:
        moved = [next(users) for _ in range(_USERS)]
        for user_id in moved:
            history = [(item_id, now_ms) for item_id in rng.sample(items, length)]
            client.set(history_key(NAMESPACE, user_id), msgspec.msgpack.encode(history))
        kinds[f"history of {length}"] = of_users(moved)
    kinds["no profiling"] = of_users(known, profiling=False)
    return kinds


async def _measure(world: World, url: str, kinds: dict[str, list[RankRequest]], turns: int) -> None:
    name = world.artifact.manifest.name
    settings = Settings(
        models_dir=world.models,
        model=name,
        namespace=NAMESPACE,
        redis_url=SecretStr(url),
        user_memory=False,  # each ranking reads its user
    )
    app = create_app(settings.model_copy(update={"access": "open"}))
    took_us: dict[str, list[float]] = {kind: [] for kind in kinds}
    async with app.router.lifespan_context(app):
        while app.state.registry.default_label() is None:  # noqa: ASYNC110  # nothing to wait for
            await asyncio.sleep(0.1)
        ranker, store = app.state.ranker, app.state.store
        gc.disable()
        for _ in range(turns):
            for kind, requests in kinds.items():
                store._has_histories = kind != _NONE
                begun_s = time.process_time()
                for start in range(0, _REQUESTS, _USERS):
                    batch = requests[start : start + _USERS]
                    await asyncio.gather(*(ranker.rank(r, "id", Caller()) for r in batch))
                took_us[kind].append((time.process_time() - begun_s) / _REQUESTS * 1e6)
            gc.collect()
    for kind, values in took_us.items():
        pairs = zip(values, took_us[_NONE], strict=True)
        added = median(value - first for value, first in pairs)
        log(f"{kind:24}  least {min(values):6.0f}  median {median(values):6.0f}  {added:+6.0f}")


if __name__ == "__main__":
    main()
