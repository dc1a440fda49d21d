"""From rankings to files over two replicas and a worker, while each part dies: all is counted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx

from tests.chaos.redis_server import RedisServer
from tests.conftest import World
from tests.integration.conftest import deploy, until
from tests.integration.redis_servers import free_port
from tests.integration.service.api.process import serving
from tests.integration.training.feed.feed_log import FeedLog
from training.demo.local_redis import child
from training.feed.prepare import prepare_feed
from training.feed.specification import Feed

FLUSH_S = 0.05
ROUND = 20  # rankings between two deaths


@contextmanager
def _collecting(log: FeedLog, url: str) -> Iterator[subprocess.Popen[bytes]]:
    options = ["--redis", url, "--namespace", log.namespace, "--every", "0.1"]
    command = [sys.executable, "-m", "training", "collect", "--logs", str(log.folder), *options]
    with child(command) as process:
        yield process


def test_nothing_is_lost_or_doubled_whatever_dies(world: World, tmp_path: Path) -> None:
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    store = RedisServer(tmp_path / "redis", free_port(), *durable, password=None)
    store.start()
    url = f"redis://127.0.0.1:{store.port}"
    deployed = deploy(world, url, tmp_path / "models")
    log = FeedLog(store.client, tmp_path / "log", namespace=deployed.settings.namespace)
    settings = {
        "RANK_REDIS_URL": url,
        "RANK_NAMESPACE": log.namespace,
        "RANK_DECISIONS": "1",
        "RANK_DECISION_FLUSH_S": str(FLUSH_S),
    }
    user_id = world.dataset.user_ids[0]
    with ExitStack() as stack:
        stack.callback(store.close)
        first, second = (
            stack.enter_context(serving(deployed.repository.root, **settings)) for _ in range(2)
        )
        for replica in (first, second):
            until(partial(_is_ready, replica.port))
        shown = [f"r{number}" for number in range(5 * ROUND)]
        rounds = [shown[start : start + ROUND] for start in range(0, len(shown), ROUND)]

        with _collecting(log, url) as worker:
            _show_all(user_id, rounds[0], first.port, second.port)
            until(lambda: bool(log.requests("decisions")))
            _show_all(user_id, rounds[1], first.port, second.port)
            worker.send_signal(signal.SIGKILL)
        stack.enter_context(_collecting(log, url))
        _show_all(user_id, rounds[2], first.port, second.port)
        store.kill()
        store.start()
        _show_all(user_id, rounds[3], first.port, second.port)
        until(partial(_has_written, second.port, 2 * ROUND))  # half of four rounds
        second.process.kill()
        _show_all(user_id, rounds[4], first.port)

        until(lambda: set(shown) <= set(log.requests("decisions")))
        until(lambda: set(shown) <= set(log.requests("events")))
        assert log.requests("decisions") == sorted(shown)
        assert set(log.requests("events")) == set(shown)
        out, now_ms = tmp_path / "dataset", int(time.time() * 1000) + 1
        prepared = prepare_feed(Feed(), log.folder, world.dataset.path, out, (None, now_ms))
    assert (prepared.decisions, prepared.repeated, prepared.clicks) == (len(shown), 0, len(shown))


def _show_all(user_id: str, requests: list[str], *ports: int) -> None:
    """Rank, and report a click on each first item, which the store has taken afterwards."""
    with httpx.Client(timeout=10) as client:
        for number, request_id in enumerate(requests):
            address = f"http://127.0.0.1:{ports[number % len(ports)]}"
            body = {"user_id": user_id, "top_k": 3, "request_id": request_id}
            ranking = client.post(f"{address}/rank", json=body)
            assert ranking.status_code == 200, ranking.text
            item_id = ranking.json()["items"][0]["item_id"]
            clicks = [{"request_id": request_id, "item_id": item_id, "kind": "click"}]
            until(partial(_is_taken, client, address, clicks))


def _is_taken(client: httpx.Client, address: str, events: list[dict[str, str]]) -> bool:
    return client.post(f"{address}/events", json=events).status_code == 202


def _is_ready(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200


def _has_written(port: int, decisions: int) -> bool:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    return f"rank_decisions_written_total {decisions:.1f}" in text
