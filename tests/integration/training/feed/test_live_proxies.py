"""Live proxies: what services read is what a prepared row holds."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest
import redis

from service.contract.feedback import Event
from service.contract.keys import Keys
from service.contract.manifest import Spaces
from service.contract.records import decode, encode
from tests.integration.training.feed.feed_log import HOUR_MS, NOW_MS, FeedLog, event
from training.feed.counts import add_counts, count_buckets
from training.feed.live_proxies import LiveProxies
from training.feed.log_files import FAN_IN
from training.feed.specification import CountedProxy, Feed
from training.feed.targets import Target

MINUTE_MS = 60_000
ITEMS = ["a", "b", "c", "d"]
FEED = Feed(
    proxies=tuple(
        CountedProxy.model_validate({"name": name, "count": kind, "window": window})
        for name, kind, window in (("clicks_5m", "click", "5m"), ("plays_1h", "play", "1h"))
    ),
)
TARGET = Target(
    Spaces(items="toy-items", users="toy-users", proxies="toy-proxies"),
    ("plays_1h", "age", "clicks_5m"),
)


class Live:
    """A worker's live proxies over a feed log, on a clock of the test's."""

    def __init__(self, log: FeedLog) -> None:
        self.log, self.keys = log, Keys(log.namespace, TARGET.spaces)
        log.client.sadd(self.keys.catalog, *ITEMS)
        self.publish({item: [np.nan, 7, np.nan] for item in ITEMS})
        self.worker = self.another()

    def another(self) -> LiveProxies:
        return LiveProxies(FEED, self.log.files, lambda: [TARGET], self.log.namespace)

    def publish(self, records: dict[str, list[float]]) -> None:
        """Write records and announce them, as other programs do."""
        packed = encode(np.array(list(records.values()), np.float32))
        for key, record in zip(self.keys.proxies(list(records)), packed, strict=True):
            self.log.client.set(key, record)
        self.log.client.xadd(self.keys.proxy_changes, {"ids": "\n".join(records)})

    def step(self, now_ms: int) -> int:
        self.log.collect()
        return self.worker.step(self.log.client, now_ms)

    def values(self) -> dict[str, list[float]]:
        """Return the stored proxies: plays_1h, age, clicks_5m."""
        stored = [self.log.client.get(key) for key in self.keys.proxies(ITEMS)]
        return dict(zip(ITEMS, decode(stored, 3, allow_nan=True).values.tolist(), strict=True))

    def announced(self) -> list[set[str]]:
        entries = self.log.client.xrange(self.keys.proxy_changes)
        return [set(fields[b"ids"].decode().split("\n")) for _, fields in entries]


@pytest.fixture
def live(feed_log: FeedLog) -> Live:
    return Live(feed_log)


def test_an_event_counts_once_its_bucket_has_ended_until_its_window_has(live: Live) -> None:
    start = NOW_MS // MINUTE_MS * MINUTE_MS
    live.step(start)
    assert live.values() == {item: [0, 7, 0] for item in ITEMS}
    for kind in ("click", "play", "share"):
        live.log.put(event("r1", "a", start, kind=kind), arrived_ms=start + 1)
    assert live.step(start + MINUTE_MS - 1) == 0
    assert live.step(start + MINUTE_MS) == 1
    assert live.values()["a"] == [1, 7, 1]
    assert live.announced()[-1] == {"a"}
    assert live.step(start + 5 * MINUTE_MS) == 0
    assert live.step(start + 6 * MINUTE_MS) == 1  # no event came
    assert live.values()["a"] == [1, 7, 0]
    live.step(start + HOUR_MS + MINUTE_MS)
    assert live.values()["a"] == [0, 7, 0]


def test_live_values_are_the_prepared_ones(live: Live) -> None:
    rng = random.Random(5)
    start = NOW_MS // HOUR_MS * HOUR_MS - 2 * MINUTE_MS
    sent: list[Event] = []
    rows = []
    for minute in range(90):
        now_ms = start + minute * MINUTE_MS
        for number in range(rng.randrange(5)):
            late_ms = rng.choice([0, 0, 7 * MINUTE_MS, 3 * HOUR_MS, 25 * HOUR_MS])
            kind = rng.choice(["click", "click", "play", "share"])
            one = event(f"{minute}-{number}", rng.choice(ITEMS), now_ms - late_ms, kind=kind)
            copies = [rng.choice(sent)] if sent and rng.random() < 0.4 else []
            live.log.put(one, *copies, arrived_ms=now_ms + 12_000 * number + rng.randrange(12_000))
            sent.append(one)
        if rng.random() < 0.7:  # else the worker sleeps
            ended = now_ms + MINUTE_MS
            if rng.random() < 0.1:  # another one takes over, from the files
                live.worker.release(live.log.client)
                live.worker = live.another()
            live.step(ended)
            for item, (plays, _, clicks) in live.values().items():
                rows.append((item, ended + rng.randrange(MINUTE_MS), clicks, plays))
    live.step(start + 91 * MINUTE_MS)
    assert any(file.level for file in live.log.files.current("events"))
    table = pl.DataFrame(rows, ["item_id", "time_ms", "clicks", "plays"], orient="row")
    files = [file.path for file in live.log.files.current("events")]
    prepared = add_counts(FEED, table, count_buckets(FEED, pl.scan_parquet(files, glob=False)))
    assert prepared["clicks_5m"].to_list() == table["clicks"].to_list()
    assert prepared["plays_1h"].to_list() == table["plays"].to_list()
    assert table["clicks"].n_unique() > 4
    assert len(live.log.files.current("events")) > 1
    assert FAN_IN < 90


def test_records_of_other_programs_are_completed(live: Live) -> None:
    start = NOW_MS // MINUTE_MS * MINUTE_MS
    live.log.put(event("r1", "a", start), arrived_ms=start)
    live.step(start + MINUTE_MS)
    live.publish({"a": [np.nan, 9, 400], "b": [3, 8, 0]})
    assert live.step(start + MINUTE_MS) == 2
    assert live.values()["a"] == [0, 9, 1]
    assert live.values()["b"] == [0, 8, 0]
    assert live.step(start + MINUTE_MS) == 0  # its own announcements are no news


def test_a_record_that_changes_meanwhile_is_not_overwritten(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = NOW_MS // MINUTE_MS * MINUTE_MS
    live.step(start)
    live.log.put(event("r1", "a", start), arrived_ms=start)
    pipeline = redis.Redis.pipeline

    def late(client: redis.Redis, *arguments: object, **options: bool) -> object:
        monkeypatch.setattr(redis.Redis, "pipeline", pipeline)
        live.publish({"a": [0, 55, 0]})
        return pipeline(client, *arguments, **options)

    live.log.collect()
    monkeypatch.setattr(redis.Redis, "pipeline", late)
    assert live.worker.step(live.log.client, start + MINUTE_MS) == 0
    assert live.values()["a"] == [0, 55, 0]
    assert live.step(start + MINUTE_MS) == 1
    assert live.values()["a"] == [0, 55, 1]


def test_what_a_failed_step_left_is_written_by_the_next(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.step(NOW_MS)
    live.log.put(event("r1", "a", NOW_MS), arrived_ms=NOW_MS)
    live.log.collect()
    with monkeypatch.context() as patch:
        patch.setattr(redis.Redis, "mget", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            live.worker.step(live.log.client, NOW_MS + MINUTE_MS)
    assert live.step(NOW_MS + MINUTE_MS) == 1
    assert live.values()["a"] == [0, 7, 1]


def test_only_one_worker_writes_and_another_takes_over(live: Live) -> None:
    other = live.another()
    assert live.step(NOW_MS) == len(ITEMS)
    live.publish({"a": [0, 1, 3]})
    assert other.step(live.log.client, NOW_MS) == 0
    live.worker.release(live.log.client)
    assert other.step(live.log.client, NOW_MS) == 1
    assert live.step(NOW_MS) == 0
    live.publish({"b": [0, 1, 3]})
    other.release(live.log.client)
    live.log.client.delete(live.keys.proxy_changes)  # as if many changes came in between
    assert live.step(NOW_MS) == 1


def test_an_event_that_is_collected_after_its_bucket_counts_at_once(live: Live) -> None:
    start = NOW_MS // MINUTE_MS * MINUTE_MS
    live.step(start + 2 * MINUTE_MS)
    live.log.put(event("r1", "a", start), arrived_ms=start)
    assert live.step(start + 2 * MINUTE_MS + 1000) == 1
    assert live.values()["a"] == [0, 7, 1]
    live.step(start + 6 * MINUTE_MS)
    assert live.values()["a"] == [0, 7, 0]


def test_an_event_of_an_item_that_nobody_published_writes_nothing(live: Live) -> None:
    live.step(NOW_MS)
    live.log.put(event("r1", "unknown", NOW_MS), arrived_ms=NOW_MS)
    live.step(NOW_MS + MINUTE_MS)
    assert not live.log.client.exists(*live.keys.proxies(["unknown"]))
