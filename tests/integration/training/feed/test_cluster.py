"""On Redis Cluster, shards and records are on several nodes."""

from __future__ import annotations

from pathlib import Path

from service.contract.store_url import parse
from tests.integration.redis_servers import cluster, port_of
from tests.integration.training.feed.feed_log import NOW_MS, FeedLog, decision, event
from tests.integration.training.feed.test_live_proxies import ITEMS, MINUTE_MS, Live
from training.release.store import connect


def test_shards_and_records_are_collected_and_written(tmp_path: Path) -> None:
    requests = [f"r{number:02}" for number in range(30)]
    with cluster(tmp_path / "nodes") as nodes:
        hosts = ",".join(f"127.0.0.1:{port_of(node)}" for node in nodes)
        with connect(parse(f"redis+cluster://{hosts}")) as client:
            log = FeedLog(client, tmp_path / "log", shards=3)
            log.folder.mkdir()
            live = Live(log)
            log.put(*map(decision, requests), *map(event, requests))
            live.step(NOW_MS // MINUTE_MS * MINUTE_MS)
            live.step(NOW_MS // MINUTE_MS * MINUTE_MS + MINUTE_MS)
            values = live.values()
            live.worker.release(client)
    assert log.requests("decisions") == log.requests("events") == requests
    assert log.files.shards() == [0, 1, 2]
    assert values == {item: [0, 7, 30 if item == "a" else 0] for item in ITEMS}
