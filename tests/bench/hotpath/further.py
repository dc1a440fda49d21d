"""Short measurements of the service alone: growth of cost, start, freshness, a soak."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import redis
from threadpoolctl import threadpool_limits

from tests.bench.common import log
from tests.bench.hotpath.agreement import Cases
from tests.bench.hotpath.load import ask_all, closed_loop, open_loop, poisson, wire
from tests.bench.hotpath.measure import CONCURRENCY, Ground, ask, cost, run
from tests.bench.hotpath.report import Cell, Table
from tests.bench.hotpath.servers import Server
from tests.bench.hotpath.variants import VARIANTS
from tests.bench.hotpath.world import Items, fill, write_items

OURS = VARIANTS[0]
_N = 500
_REQUESTS = 200
_ON_PYTHONS = (100, 500, 1000)
_SIZES = (1, 10, 50, 100, 200, 500, 1000, 2000, 5000)
_LOOPS = (1, 2, 4, 8, 16, 32, 64)
_WHOLE_REQUESTS = 20
_CHANGES = 100
_SOAK_SEGMENTS, _SOAK_REQUESTS, _SOAK_WALL_S = 10, 100_000, 900.0
_FRESH_S = 30.0
_TURNS = 7
_SLOTS = {"RANK_EXPLORE_SLOT_SHARE": "0.05"}
_TRADEOFFS = {"RANK_EXPLORE_TRADEOFF_SHARE": "0.1"}
_FEEDBACK = {
    "none": {"RANK_DECISIONS": "0"},
    "decisions": {},
    "uniform slots": _SLOTS,
    "randomised tradeoffs": _TRADEOFFS,
    "both": {**_SLOTS, **_TRADEOFFS},
}
_ALL_BYTES = str(8 << 30)  # holds a catalogue of any of the sizes


def candidates(ground: Ground, cases: Cases, _client: redis.Redis) -> Table:
    """Measure cost by the number of candidates."""
    rows: list[dict[str, Cell]] = []
    with ground.serve(OURS, _body(cases, 1)) as server:
        for n in _SIZES:
            cpu_us, load = cost(ground.budget, server, _requests(cases, n), CONCURRENCY)
            rows.append({"candidates": n, "cpu_us": cpu_us, "rps": load.rps})
    return Table("candidates", "Cost of the service by number of candidates.", rows)


def concurrency(ground: Ground, cases: Cases, _client: redis.Redis) -> Table:
    """Measure cost by the number of concurrent clients."""
    rows: list[dict[str, Cell]] = []
    requests = _requests(cases, _N)
    with ground.serve(OURS, _body(cases, 1)) as server:
        for clients in _LOOPS:
            cpu_us, load = cost(ground.budget, server, requests, clients)
            rows.append(
                {
                    "clients": clients,
                    "cpu_us": cpu_us,
                    "rps": load.rps,
                    "p50_ms": load.percentile_ms(50),
                    "p99_ms": load.percentile_ms(99),
                    "rss_mb": server.rss_mb(),
                }
            )
    return Table("concurrency", f"Cost of the service by number of clients, N = {_N}.", rows)


def catalogue(ground: Ground, _cases: Cases, client: redis.Redis, sizes: Sequence[int]) -> Table:
    """Measure start, memory, cost and full scans by the size of the catalogue.

    The plain product multiplies the (items, S) states with one vector on one core: no full scan can
    do less.
    """
    rows: list[dict[str, Cell]] = []
    for size in sorted(sizes):
        log(f"writing {size:,} items")
        fill(client, ground.world, size)
        cases = Cases(ground.world, size)
        whole = wire(OURS.path, json.dumps({"user_id": cases.user_ids[0]}).encode())
        with ground.serve(OURS, _body(cases, 1), RANK_CATALOG_MAX_BYTES=_ALL_BYTES) as server:
            rss_mb, peak_mb = server.rss_mb(), server.peak_rss_mb()
            cpu_us, load = cost(ground.budget, server, _requests(cases, _N), CONCURRENCY)
            whole_ms = _seconds(lambda: run(ask_all(server.port, [whole])), _WHOLE_REQUESTS) * 1e3  # noqa: B023  # called within the loop
            alone_ms, with_scans_ms = _p99_with_scans(ground, server, _requests(cases, 100), whole)
        vector = np.ones(cases.states.shape[1], np.float32)
        with threadpool_limits(1):
            product_ms = _seconds(lambda: cases.states @ vector, _WHOLE_REQUESTS) * 1e3  # noqa: B023  # called within the loop
        rows.append(
            {
                "items": size,
                "ready_s": server.ready_s,
                "rss_mb": rss_mb,
                "peak_rss_mb": peak_mb,
                "cpu_us": cpu_us,
                "rps": load.rps,
                "whole_ms": whole_ms,
                "product_ms": product_ms,
                "p99_ms": alone_ms,
                "p99_with_whole_ms": with_scans_ms,
            }
        )
    return Table(
        "catalogue",
        "The service by size of the catalogue: time from start to ready, memory when ready and its "
        f"peak, cost at N = {_N}, time of a full scan and of the plain matrix product, and p99 at "
        "N = 100 without and with concurrent full scans.",
        rows,
    )


def freshness(ground: Ground, cases: Cases, client: redis.Redis) -> Table:
    """Measure the time from publishing a changed item to its new score, under load."""
    item = next(ground.world.items(1))
    versions = [item, replace(item, embedding=-item.embedding)]
    body = {"user_id": cases.user_ids[0], "candidates": item.ids, "tradeoff": 0.5}
    delays_ms: list[float] = []
    with ground.serve(OURS, _body(cases, 1)) as server, _loaded(server, _requests(cases, 100)):
        for change in range(_CHANGES):
            before = _score(server, body)
            began = time.perf_counter()
            _publish(client, ground, versions[(change + 1) % 2])
            while _score(server, body) == before:
                if time.perf_counter() - began > _FRESH_S:
                    raise TimeoutError(f"no ranking used a changed item within {_FRESH_S:.0f} s")
                time.sleep(0.002)
            delays_ms.append((time.perf_counter() - began) * 1e3)
    _publish(client, ground, item)
    quantiles = np.percentile(delays_ms, [50, 99, 100])
    row = dict(zip(("p50_ms", "p99_ms", "worst_ms"), map(float, quantiles), strict=True))
    caption = "Time from publishing a changed item to its new score in a ranking, under load."
    return Table("freshness", caption, [{"changes": _CHANGES, **row}])


def pythons(ground: Ground, cases: Cases, names: Sequence[str]) -> Table:
    """Measure the service on other interpreters, each against this one in the same turn."""
    variants = {"": OURS, **{name: replace(OURS, venv=name) for name in names}}
    requests = {n: _requests(cases, n) for n in _ON_PYTHONS}
    costs: dict[tuple[str, int], list[float]] = {}
    for turn in range(_TURNS):
        for name, variant in variants.items():
            with ground.serve(variant, _body(cases, 1)) as server:
                for n, some in requests.items():
                    spent = cost(ground.budget, server, some, CONCURRENCY)[0]
                    costs.setdefault((name, n), []).append(spent)
        log(
            f"turn {turn + 1}: "
            + ", ".join(f"{name or 'this'} {c[-1]:.0f} us at {n}" for (name, n), c in costs.items())
        )
    rows: list[dict[str, Cell]] = []
    for (name, n), cpu_us in costs.items():
        ratio = np.array(cpu_us) / np.array(costs["", n])
        least, middle, most = np.quantile(ratio, [0, 0.5, 1]).tolist()
        version = subprocess.run(
            [str(variants[name].python(ground.build)), "--version"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        rows.append(
            {
                "interpreter": version,
                "candidates": n,
                "cpu_us": float(np.median(cpu_us)),
                "ratio": middle,
                "least": least,
                "most": most,
            }
        )
    return Table(
        "pythons",
        "CPU of the service on several interpreters, and its ratio to that of the first in the "
        f"same turn: median, least and most of {_TURNS} turns.",
        rows,
    )


def soak(ground: Ground, cases: Cases, _client: redis.Redis) -> Table:
    """Measure growth of latency and memory over 100,000 requests."""
    requests, rows = _requests(cases, 100), list[dict[str, Cell]]()
    end = time.monotonic() + _SOAK_WALL_S
    segment = _SOAK_REQUESTS // _SOAK_SEGMENTS
    with ground.serve(OURS, _body(cases, 1)) as server:
        for index in range(_SOAK_SEGMENTS):
            if time.monotonic() > end:
                break
            before = server.cpu_s()
            load = run(closed_loop(server.port, requests, CONCURRENCY, lambda: True, limit=segment))
            rows.append(
                {
                    "requests": (index + 1) * segment,
                    "cpu_us": (server.cpu_s() - before) / segment * 1e6,
                    "p50_ms": load.percentile_ms(50),
                    "p99_ms": load.percentile_ms(99),
                    "rss_mb": server.rss_mb(),
                }
            )
    return Table("soak", "The service over many requests at N = 100, closed loop of 8.", rows)


def feedback(ground: Ground, cases: Cases, _client: redis.Redis) -> Table:
    """Measure what the decision log and exploration cost, each against none in the same turn."""
    costs: dict[str, list[float]] = {name: [] for name in _FEEDBACK}
    requests = [
        wire(OURS.path, _body(cases, _N, seed, tradeoff=False)) for seed in range(_REQUESTS)
    ]
    for turn in range(_TURNS):
        for name, environment in _FEEDBACK.items():
            with ground.serve(OURS, _body(cases, 1), **environment) as server:
                costs[name].append(cost(ground.budget, server, requests, CONCURRENCY)[0])
        log(f"turn {turn + 1}: " + ", ".join(f"{n} {c[-1]:.0f} us" for n, c in costs.items()))
    rows: list[dict[str, Cell]] = []
    for name, cpu_us in costs.items():
        more = np.array(cpu_us) - np.array(costs["none"])
        spread = dict(
            zip(("least_us", "more_us", "most_us"), np.quantile(more, [0, 0.5, 1]), strict=True)
        )
        rows.append({"feedback": name, "cpu_us": float(np.median(cpu_us)), **spread})
    return Table(
        "feedback",
        f"CPU of the service with the decision log and exploration, N = {_N}, and how much more "
        f"that is than with none in the same turn: least, median and most of {_TURNS} turns.",
        rows,
    )


Measurement = Callable[[Ground, Cases, redis.Redis], Table]
MEASUREMENTS: dict[str, Measurement] = {
    "candidates": candidates,
    "concurrency": concurrency,
    "freshness": freshness,
    "feedback": feedback,
    "soak": soak,
}


def _body(cases: Cases, n: int, seed: int = 0, *, tradeoff: bool = True) -> bytes:
    rng = np.random.default_rng((5, n, seed))
    user = cases.user_ids[int(rng.integers(len(cases.user_ids)))]
    rows = rng.choice(len(cases.item_ids), n, replace=False)
    body = {"user_id": user, "candidates": [cases.item_ids[row] for row in rows]}
    named = {"tradeoff": int(rng.integers(101)) / 100} if tradeoff else {}
    return json.dumps({**body, **named}).encode()


def _requests(cases: Cases, n: int) -> list[bytes]:
    return [wire(OURS.path, _body(cases, n, seed)) for seed in range(_REQUESTS)]


def _p99_with_scans(
    ground: Ground, server: Server, requests: Sequence[bytes], whole: bytes
) -> tuple[float, float]:
    """Return p99 in ms of small requests, alone and during continuous full scans."""
    arrivals = poisson(50.0, ground.budget.open_s, np.random.default_rng(6))
    alone = run(open_loop(server.port, requests, arrivals))
    with _loaded(server, [whole], pause_s=0.1):
        with_scans = run(open_loop(server.port, requests, arrivals))
    return alone.percentile_ms(99), with_scans.percentile_ms(99)


@contextmanager
def _loaded(server: Server, requests: Sequence[bytes], pause_s: float = 0.005) -> Iterator[None]:
    """Run one client in a thread for the length of the block."""
    stop = threading.Event()

    def client() -> None:
        turn = 0
        while not stop.wait(pause_s):
            run(ask_all(server.port, [requests[turn % len(requests)]]))
            turn += 1

    thread = threading.Thread(target=client, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _publish(client: redis.Redis, ground: Ground, items: Items) -> None:
    pipeline = client.pipeline(transaction=True)
    write_items(pipeline, ground.world.keys, items)
    pipeline.execute()


def _score(server: Server, body: dict[str, object]) -> object:
    return ask(server, OURS.path, body)["items"][0]["score"]


def _seconds(call: Callable[[], object], times: int) -> float:
    """Return the median seconds of ``call``."""
    durations = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        durations.append(time.perf_counter() - began)
    return float(np.median(durations))
