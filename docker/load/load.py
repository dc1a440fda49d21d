"""Sends realistic traffic at a bounded rate: ``python load.py``, set by environment variables.

TARGET: URL of the service. REDIS_URL: store from which user ids are read. RATE: mean rankings per
second. DURATION_S: seconds to run, 0 until a signal. CONCURRENCY: most open requests. SEED.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import random
import signal
import sys
import time
from collections import Counter
from typing import Any

import httpx
from redis.asyncio import Redis

NAMESPACE = os.environ.get("RANK_NAMESPACE", "rank")
MOST_USERS = 5000
REPORT_S = 10.0
WAVE_S = 600.0  # period in which the rate swings by a third around its mean
READY_S = 120.0


class Feed:
    """Draws requests as an app would send them: popular users and items appear more often."""

    def __init__(
        self, users: list[str], items: list[str], tradeoffs: list[float], seed: int
    ) -> None:
        self._random = random.Random(seed)
        self._users = self._random.sample(users, len(users))
        self._user_weights = _zipf(len(users))
        self._items = items
        self._item_weights = _zipf(len(items))
        self._tradeoffs = tradeoffs

    def request(self) -> dict[str, Any]:
        """Return the body of one request."""
        draw = self._random
        body: dict[str, Any] = {"user_id": draw.choices(self._users, self._user_weights)[0]}
        if draw.random() < 0.05:  # a new user
            body["user_id"] = f"new-{draw.randrange(10_000)}"
            body["history"] = self._some_items(draw.choice((0, 3, 10)))
        if draw.random() < 0.8:  # the others are full scans
            body["candidates"] = self._some_items(draw.choice((20, 50, 100, 200)))
            if draw.random() < 0.05:  # an item that is not in the catalogue
                body["candidates"].append(f"gone-{draw.randrange(1000)}")
        kind = draw.random()
        if kind < 0.5:
            body["tradeoff"] = draw.choice(self._tradeoffs)
        elif kind < 0.7:
            body["tradeoff"] = round(draw.random(), 2)
        body["top_k"] = draw.choice((10, 20, 50))
        body["explain"] = draw.random() < 0.02
        if draw.random() < 0.005:  # a client with a bug
            body["tradeoff"] = 2
        return body

    def _some_items(self, count: int) -> list[str]:
        return list(dict.fromkeys(self._random.choices(self._items, self._item_weights, k=count)))


def _zipf(count: int) -> list[float]:
    return [1 / (rank + 10) for rank in range(count)]


async def catalogue(client: httpx.AsyncClient) -> tuple[list[str], list[float]]:
    """Return item ids, best first for an average user, and the tradeoffs of the front."""
    ranking = await client.post("/rank", json={"user_id": "nobody", "top_k": 1000})
    ranking.raise_for_status()
    models = (await client.get("/models")).json()["models"]
    front = next(model["front"] for model in models if model["default"])
    items = [item["item_id"] for item in ranking.json()["items"]]
    return items, [point["tradeoff"] for point in front["points"]]


async def user_ids(url: str) -> list[str]:
    """Return the ids of at most ``MOST_USERS`` users with a record."""
    ids: set[str] = set()
    async with Redis.from_url(url, decode_responses=True) as redis:
        async for key in redis.scan_iter(f"{NAMESPACE}:*:u:*", count=1000):
            ids.add(key.split(":u:", 1)[1])
            if len(ids) >= MOST_USERS:
                break
    return sorted(ids)


async def wait_until_ready(client: httpx.AsyncClient) -> None:
    """Wait for a model that serves; raises SystemExit after ``READY_S`` seconds."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            if (await client.get("/readyz")).status_code == 200:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(1)
    raise SystemExit(f"the service was not ready within {READY_S:g} s")


async def drive(client: httpx.AsyncClient, feed: Feed, stop: asyncio.Event) -> Counter[str]:
    """Send requests until ``stop`` and count outcomes; skip those beyond the concurrency."""
    rate = float(os.environ.get("RATE", "20"))
    concurrency = int(os.environ.get("CONCURRENCY", "32"))
    outcomes: Counter[str] = Counter()
    open_requests: set[asyncio.Task[None]] = set()
    latencies: list[float] = []

    async def send() -> None:
        start_s = time.perf_counter()
        try:
            response = await client.post("/rank", json=feed.request())
        except httpx.TransportError as error:
            outcomes[type(error).__name__] += 1
            return
        outcomes[str(response.status_code)] += 1
        latencies.append(time.perf_counter() - start_s)
        if response.status_code == 200:
            outcomes.update(f"degraded: {reason}" for reason in response.json()["degraded"])

    start = reported = time.monotonic()
    for _ in itertools.count():
        now = time.monotonic()
        wave = 1 + math.sin(2 * math.pi * (now - start) / WAVE_S) / 3
        if await _stopped(stop, random.expovariate(rate * wave)):
            break
        if len(open_requests) < concurrency:
            task = asyncio.create_task(send())
            open_requests.add(task)
            task.add_done_callback(open_requests.discard)
        else:
            outcomes["skipped"] += 1
        if now - reported >= REPORT_S:
            latencies.sort()
            p99_ms = 1000 * latencies[int(0.99 * len(latencies))] if latencies else math.nan
            _report(f"{now - start:.0f} s: p99 {p99_ms:.1f} ms, {dict(sorted(outcomes.items()))}")
            latencies.clear()
            reported = now
    await asyncio.gather(*open_requests)
    return outcomes


def _report(text: str) -> None:
    print(text)  # noqa: T201  # the log of the container


async def _stopped(stop: asyncio.Event, after_s: float) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), after_s)
    except TimeoutError:
        return False
    return True


async def main() -> int:
    """Send traffic until the time is over or a signal arrives; return 1 if no ranking succeeded."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if duration_s := float(os.environ.get("DURATION_S", "0")):
        loop.call_later(duration_s, stop.set)
    async with httpx.AsyncClient(base_url=os.environ["TARGET"], timeout=10) as client:
        await wait_until_ready(client)
        items, tradeoffs = await catalogue(client)
        users = await user_ids(os.environ["REDIS_URL"])
        _report(f"{len(users)} users, {len(items)} items, tradeoffs {tradeoffs}")
        feed = Feed(users, items, tradeoffs, int(os.environ.get("SEED", "0")))
        outcomes = await drive(client, feed, stop)
    _report(f"in all: {dict(sorted(outcomes.items()))}")
    return 0 if outcomes["200"] else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
