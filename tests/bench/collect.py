"""Measures rows a second of ``collect`` and ``prepare feed``, and counts under killed workers.

Run it with ``python -m tests.bench.collect``. One process on one core; times include the store's.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import redis

from service.contract.feedback import (
    RECORD,
    Decision,
    Event,
    decisions_key,
    encode,
    events_key,
)
from tests.bench.common import log
from training.demo.local_redis import private_redis
from training.feed.collector import Collector
from training.feed.log_files import DECISIONS, EVENTS, LogFolder
from training.feed.metrics import Metrics
from training.feed.prepare import prepare_feed
from training.feed.specification import Feed

PLACES, ITEMS, USERS, DIM = 20, 10_000, 100_000, 32
SPAN_MS = 6 * 3_600_000
NAMESPACE = "bench"
FEED = Feed.model_validate(
    {
        "proxies": [
            {"name": "clicks_1h", "count": "click", "window": "1h"},
            {"name": "views_7d", "count": "view", "window": "7d"},
        ]
    }
)
WORKER = (
    "import sys, threading; from pathlib import Path\n"
    "from training.feed.log_files import LogFolder; from training.feed.worker import Worker\n"
    f"Worker(sys.argv[1], {NAMESPACE!r}, LogFolder(Path(sys.argv[2])), every_s=0.01)"
    ".run(threading.Event())\n"
)


def fill(client: redis.Redis, decisions: int, begin_ms: int, seed: int) -> int:
    """Append decisions of ``PLACES`` places with their events; return the number of events."""
    rng = np.random.default_rng(seed)
    pipeline = client.pipeline(transaction=False)
    events = 0
    for number in range(decisions):
        shown = rng.choice(ITEMS, PLACES, replace=False)
        time_ms = begin_ms + SPAN_MS * number // decisions
        decision = Decision(
            request_id=f"{seed}-{number:08}",
            time_ms=time_ms,
            user_id=f"u{rng.integers(USERS)}",
            model="cp2rec@1",
            tradeoff=0.5,
            policy="uniform_slot",
            pool="catalogue",
            pool_size=ITEMS,
            seed=int(rng.integers(2**63)),
            slot=int(rng.integers(PLACES)),
            item_ids=[f"i{item:06}" for item in shown],
            scores=rng.random(PLACES).tolist(),
            propensities=(1 - rng.random(PLACES)).tolist(),
        )
        pipeline.xadd(decisions_key(NAMESPACE), {RECORD: encode(decision)}, id=f"{time_ms}-*")
        for place in range(int(rng.integers(6))):
            event = Event(
                request_id=decision.request_id,
                item_id=decision.item_ids[place],
                kind="click" if rng.random() < 0.2 else "view",
                time_ms=time_ms + 2000,
            )
            pipeline.xadd(events_key(NAMESPACE), {RECORD: encode(event)}, id=f"{time_ms}-*")
            events += 1
        if number % 2000 == 1999 or number == decisions - 1:
            pipeline.execute()
    return events


def write_items(path: Path) -> None:
    """Write a table of items with one modality."""
    vectors = np.random.default_rng(0).normal(size=(ITEMS, DIM)).astype(np.float32)
    ids = [f"i{item:06}" for item in range(ITEMS)]
    pl.DataFrame({"item_id": ids, "image": vectors}).write_parquet(path)


def speed(folder: Path, decisions: int) -> None:
    """Print rows a second of both commands."""
    begin_ms = int(time.time() * 1000) - SPAN_MS
    write_items(folder / "items.parquet")
    with private_redis() as url, redis.Redis.from_url(url) as client:
        events = fill(client, decisions, begin_ms, seed=1)
        files = LogFolder(folder / "log")
        files.root.mkdir()
        collector = Collector(files, client, NAMESPACE, metrics=Metrics(), stop=threading.Event())
        began, cpu = time.perf_counter(), time.process_time()
        collected = collector.run()
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    size = sum(path.stat().st_size for path in files.root.rglob("*.parquet"))
    log(
        f"collect: {decisions:,} decisions of {PLACES} places and {events:,} events in "
        f"{wall_s:.2f} s ({cpu_s:.2f} s of CPU): {decisions / wall_s:,.0f} decisions/s with "
        f"{events / wall_s:,.0f} events/s; {size / collected:.0f} bytes an entry"
    )
    began, cpu = time.perf_counter(), time.process_time()
    until_ms = begin_ms + 2 * SPAN_MS
    items, out = folder / "items.parquet", folder / "out"
    prepared = prepare_feed(FEED, files.root, items, out, (None, until_ms))
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    log(
        f"prepare feed: {prepared.impressions:,} impressions with {len(FEED.proxies)} proxies in "
        f"{wall_s:.2f} s ({cpu_s:.2f} s of CPU): {prepared.impressions / wall_s:,.0f} rows/s"
    )


def killed(folder: Path, decisions: int, kills: int) -> bool:
    """Kill workers while a feed is written; print what the files then hold."""
    log_folder = folder / "killed"
    log_folder.mkdir()
    with private_redis() as url, redis.Redis.from_url(url) as client:
        events, begin_ms = 0, int(time.time() * 1000) - SPAN_MS
        for round_ in range(kills):
            worker = subprocess.Popen([sys.executable, "-c", WORKER, url, str(log_folder)])
            files = LogFolder(log_folder)
            before = len(files.current(DECISIONS))
            events += fill(client, decisions // kills, begin_ms + round_ * SPAN_MS, seed=round_)
            while len(files.current(DECISIONS)) == before:  # its start takes a while
                time.sleep(0.01)
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        files = LogFolder(log_folder)
        Collector(files, client, NAMESPACE, metrics=Metrics(), stop=threading.Event()).run()
    right = True
    for table, sent in ((DECISIONS, decisions // kills * kills), (EVENTS, events)):
        paths = [file.path for file in files.current(table)]
        entries = pl.scan_parquet(paths, glob=False).select("arrived_ms", "sequence").collect()
        lost, doubled = sent - entries.n_unique(), len(entries) - entries.n_unique()
        log(f"{kills} workers killed: of {sent:,} {table} {lost} lost, {doubled} doubled")
        right &= lost == doubled == 0
    return right


def main() -> int:
    """Run both measurements; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        speed(Path(folder), options.decisions)
        return 0 if killed(Path(folder), options.decisions // 5, options.kills) else 1


if __name__ == "__main__":
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    sys.exit(main())
