"""A worker as a command: it starts, waits for the store, serves metrics and stops."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import redis
from typer.testing import CliRunner

from service.contract.feedback import forgotten_key
from tests.integration.conftest import until
from tests.integration.redis_servers import answers, command, free_port
from tests.integration.training.feed.feed_log import NOW_MS, FeedLog, decision, event
from training.cli.app import app
from training.demo.local_redis import child
from training.errors import PublishError
from training.feed.worker import Worker


@contextmanager
def _running(worker: Worker) -> Iterator[None]:
    """Run a worker in a thread; it has stopped after the block."""
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=20)
        assert not thread.is_alive()


def _fails(metrics: tuple[str, int]) -> bool:
    text = httpx.get(f"http://{metrics[0]}:{metrics[1]}/metrics").text
    return "rank_collect_failures_total 0.0" not in text


def _holds(log: FeedLog, requests: list[str]) -> bool:
    return log.requests("events") == log.requests("decisions") == requests


def test_a_store_that_restarts_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    server = command(tmp_path, port, "--appendonly", "yes", "--appendfsync", "always")
    client = redis.Redis(port=port)
    log = FeedLog(client, tmp_path / "log")
    metrics = ("127.0.0.1", free_port())
    worker = Worker(
        f"redis://127.0.0.1:{port}", log.namespace, log.files, every_s=0.05, metrics_address=metrics
    )
    log.folder.mkdir()
    with _running(worker):  # before there is a store
        until(partial(_fails, metrics))
        for number, requests in enumerate((["r0"], ["r0", "r1"])):
            with child(server):
                until(lambda: answers(client))
                log.put(decision(f"r{number}"), event(f"r{number}"), arrived_ms=NOW_MS + number)
                until(partial(_holds, log, requests))
        text = httpx.get(f"http://{metrics[0]}:{metrics[1]}/metrics").text
    client.close()
    assert log.requests("decisions") == ["r0", "r1"]
    assert 'rank_collect_records_total{stream="decisions"} 2.0' in text


def test_a_refused_password_ends_the_worker(feed_log: FeedLog, redis_url: str) -> None:
    url = redis_url.replace("unix://", "unix://:wrong@")
    worker = Worker(url, feed_log.namespace, feed_log.files)
    with pytest.raises(PublishError, match=r"refused the user name or password"):
        worker.run(threading.Event())


def test_the_command_drains_and_forgets(feed_log: FeedLog, redis_url: str) -> None:
    feed_log.put(decision("r1"), decision("r2", user_id="u2"), event("r1"), event("r2"))

    def run(*options: str) -> str:
        place = ["--logs", str(feed_log.folder), "--redis", redis_url]
        done = CliRunner().invoke(
            app, ["collect", *place, "--namespace", feed_log.namespace, *options]
        )
        assert done.exit_code == 0, done.output
        return done.output

    assert "4 entries collected" in run("--once")
    assert feed_log.requests("decisions") == ["r1", "r2"]
    assert "2 rows removed" in run("--forget", "u1")
    assert feed_log.requests("decisions") == ["r2"]
    assert feed_log.requests("events") == ["r2"]
    assert feed_log.client.zrange(forgotten_key(feed_log.namespace), 0, -1) == [b"u1"]
