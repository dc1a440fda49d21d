"""From streams to files: each entry once, whatever dies when."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
import redis

from service.contract import files as contract_files
from service.contract.feedback import RECORD, Decision, decisions_key, events_key, shard_of
from tests.integration.conftest import until
from tests.integration.training.feed.feed_log import (
    HOUR_MS,
    NOW_MS,
    FeedLog,
    decision,
    event,
    names,
)
from training.demo.local_redis import child
from training.feed import log_files
from training.feed.forgotten import GRACE_MS, read_forgotten, request_forgetting
from training.feed.log_files import FAN_IN
from training.feed.streams import GROUP, Stream


def test_records_land_in_the_hour_of_their_own_time(feed_log: FeedLog) -> None:
    feed_log.put(decision("r1"), decision("r2", NOW_MS + HOUR_MS), event("r1", value=2.5))
    feed_log.put(event("r0", time_ms=NOW_MS - 24 * HOUR_MS))  # a late one
    assert feed_log.collect() == 4
    folders = {name.rpartition("/")[0] for name in names(feed_log.folder)}
    assert folders == {
        "decisions/date=2025-11-27/hour=06",
        "decisions/date=2025-11-27/hour=07",
        "events/date=2025-11-27/hour=06",
        "events/date=2025-11-26/hour=06",
    }
    (first, second) = feed_log.rows("decisions").sort("request_id").rows(named=True)
    assert first["request_id"] == "r1"
    assert second["time_ms"] == NOW_MS + HOUR_MS
    assert first["item_ids"] == ["a", "b", "c"]
    assert first["propensities"] == [0.9, 0.5, 1.0]
    assert (first["seed"], first["slot"], first["arm"], first["degraded"]) == (None, None, None, [])
    assert feed_log.rows("events").filter(request_id="r1")["value"].to_list() == [2.5]


def test_every_field_of_a_decision_is_kept(feed_log: FeedLog) -> None:
    whole = decision(
        "r1", arm="b", policy="both", seed=2**64 - 1, slot=1, degraded=("deadline",),
        tradeoffs=(0.0, 1.0), chances=(0.25, 0.75), stands=(1, 2, 3),
        slot_places=2, listed=("x", "y"), pool_known=True,
    )  # fmt: skip
    fields = msgspec.structs.fields(Decision)
    assert all(getattr(whole, field.name) != field.default for field in fields)
    feed_log.put(whole, decision("r2"))
    feed_log.collect()
    row = feed_log.rows("decisions").filter(request_id="r1").row(0, named=True)
    assert (
        msgspec.convert({name: row[name] for name in Decision.__struct_fields__}, Decision) == whole
    )


def test_what_files_hold_leaves_the_stream(feed_log: FeedLog) -> None:
    feed_log.put(*(decision(f"r{number}") for number in range(5)))
    feed_log.collect()
    assert feed_log.client.xlen(decisions_key(feed_log.namespace)) == 0
    assert feed_log.metric("lag_entries", stream="decisions") == 0
    assert feed_log.metric("trimmed_total") == 5
    assert feed_log.collect() == 0


def test_another_group_keeps_what_it_has_not_acknowledged(feed_log: FeedLog) -> None:
    key = decisions_key(feed_log.namespace)
    feed_log.put(*(decision(f"r{number}") for number in range(4)))
    feed_log.client.xgroup_create(key, "another", id="0")
    read = feed_log.client.xreadgroup("another", "c", {key: ">"}, count=3)[0][1]
    feed_log.client.xack(key, "another", read[0][0])
    feed_log.collect()
    assert feed_log.client.xlen(key) == 3
    feed_log.client.xack(key, "another", read[1][0], read[2][0])
    feed_log.collect()
    assert feed_log.client.xlen(key) == 1


def test_an_entry_that_is_no_record_is_put_aside_with_the_reason(feed_log: FeedLog) -> None:
    key = decisions_key(feed_log.namespace)
    good, poison = (
        decision("r1"),
        {
            b"{nope": "JSON is malformed",
            b'{"request_id":"r2"}': "missing required field",
            b"": "is empty",
        },
    )
    feed_log.put(good)
    for record in poison:
        feed_log.client.xadd(key, {RECORD: record}, id=f"{NOW_MS}-*")
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "r3": ({"scores": [0.1]}, "other lengths"),
        "r4": ({"propensities": [0.0, 1.0, 1.0]}, "propensity"),
        "r5": ({"slot": 3}, "slot is no place"),
        "r6": ({"user_id": ""}, "user_id is no id"),
        "r7": ({"time_ms": 17}, "time_ms"),
        "r8": ({"item_ids": ["a", "a", "b"]}, "twice"),
        "r9": ({"seed": -1}, "out of range"),
    }
    feed_log.put(*(decision(request, **changes) for request, (changes, _) in wrong.items()))
    feed_log.put(decision("last"))
    assert feed_log.collect() == 12
    assert feed_log.requests("decisions") == ["last", "r1"]
    rejected = feed_log.rows("rejected/decisions")
    reasons = [*poison.values(), *(reason for _, reason in wrong.values())]
    for reason, row in zip(reasons, rejected.rows(named=True), strict=True):
        assert reason in row["reason"]
    assert rejected["record"].to_list()[:3] == list(poison)
    assert feed_log.metric("rejected_total", stream="decisions") == 10
    assert feed_log.client.xlen(key) == 0


def test_small_files_become_one_and_readers_see_each_entry_once(
    feed_log: FeedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [decision(f"r{number:03}") for number in range(FAN_IN)]
    for one in sent[:-1]:
        feed_log.put(one)
        feed_log.collect()
    seen = []

    def watch(remove: Any, path: Path, **options: Any) -> None:
        seen.append(feed_log.requests("decisions"))
        remove(path, **options)

    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path, **options: watch(unlink, path, **options))
    feed_log.put(sent[-1])
    feed_log.collect()
    assert len(seen) >= FAN_IN
    assert all(requests == [one.request_id for one in sent] for requests in seen[:FAN_IN])
    (file,) = feed_log.files.current("decisions")
    assert file.level == 1
    assert len([name for name in names(feed_log.folder) if name.endswith(".parquet")]) == 1


def test_a_damaged_file_does_not_keep_from_collecting(
    feed_log: FeedLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_files, "FAN_IN", 2)
    feed_log.put(decision("r1"))
    feed_log.collect()
    (file,) = feed_log.files.current("decisions")
    file.path.write_bytes(b"damaged")
    feed_log.put(decision("r2"))
    assert feed_log.collect() == 1
    assert str(file.path) in caplog.text
    assert feed_log.client.xlen(decisions_key(feed_log.namespace)) == 0


_COMMANDS = ("xreadgroup", "xack", "xtrim")


class _Killed(BaseException):
    """What a process that was killed goes on with: nothing."""


@contextlib.contextmanager
def _killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let the process die at its ``step``-th effect on the disk or in the store: before it.

    Nothing it does afterwards has an effect. Yields the names of the effects.
    """
    effects: list[str] = []

    def guarded(name: str, effect: Any) -> Any:
        def run(*arguments: Any, **options: Any) -> Any:
            effects.append(name)
            if len(effects) > step:
                raise _Killed
            return effect(*arguments, **options)

        return run

    with monkeypatch.context() as patch:
        patch.setattr(contract_files, "sync", guarded("sync", contract_files.sync))
        patch.setattr(log_files, "sync", guarded("sync", contract_files.sync))
        for name in ("replace", "unlink", "mkdir"):
            patch.setattr(Path, name, guarded(name, getattr(Path, name)))
        for name in ("xgroup_create", *_COMMANDS):
            patch.setattr(redis.Redis, name, guarded(name, getattr(redis.Redis, name)))
        # The system releases a dead process's lock, whatever became of its file.
        patch.setattr(contract_files, "_release", lambda _, descriptor: os.close(descriptor or 0))
        yield effects


def test_a_worker_that_dies_at_any_step_loses_and_doubles_nothing(
    feed_log: FeedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its batches reach over two hours; every third file of an hour begins a compaction.
    monkeypatch.setattr(log_files, "FAN_IN", 3)
    sent, step, died = [], 0, True
    seen = set[str]()
    while died:
        for number in range(3):
            sent += [f"{step:03}-{number}"]
            hour = NOW_MS + number % 2 * HOUR_MS
            feed_log.put(decision(sent[-1], hour), event(sent[-1], time_ms=hour))
        with _killed_at(step, monkeypatch) as effects:
            try:
                feed_log.collect(batch=2)
                died = False
            except _Killed:
                pass
        seen.update(effects)
        requests = feed_log.requests("decisions")
        assert len(requests) == len(set(requests)), (step, effects[-1])
        step += 1
    feed_log.collect(batch=2)
    assert seen == {"mkdir", "sync", "replace", "unlink", "xgroup_create", *_COMMANDS}
    assert feed_log.requests("decisions") == sent
    assert feed_log.requests("events") == sent
    assert not [name for name in names(feed_log.folder) if name.endswith(".tmp")]


def test_a_dead_worker_may_be_given_entries_after_another_read_on(
    feed_log: FeedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its last command was still on the way to the store.
    key = decisions_key(feed_log.namespace)
    feed_log.put(*(decision(f"r{number}") for number in range(6)))
    feed_log.client.xgroup_create(key, GROUP, id="0")
    with monkeypatch.context() as patch:
        patch.setattr(Stream, "pending", lambda *_: ([], []))
        feed_log.client.xreadgroup(GROUP, "collect", {key: ">"}, count=2)
        feed_log.collect()
    assert feed_log.requests("decisions") == ["r2", "r3", "r4", "r5"]
    assert feed_log.client.xlen(key) == 6  # not trimmed below what is not acknowledged
    feed_log.collect()
    assert feed_log.requests("decisions") == [f"r{number}" for number in range(6)]
    assert feed_log.client.xlen(key) == 0


def test_entries_behind_those_in_the_files_are_written_too(feed_log: FeedLog) -> None:
    # As after a store that lost its streams, and whose clock went back.
    feed_log.put(decision("late"), arrived_ms=NOW_MS + 50)
    feed_log.collect()
    feed_log.client.delete(decisions_key(feed_log.namespace))
    for arrived_ms in range(NOW_MS, NOW_MS + FAN_IN):
        feed_log.put(decision(f"r{arrived_ms}"), arrived_ms=arrived_ms)
        feed_log.collect()
    assert len(feed_log.requests("decisions")) == FAN_IN + 1


def test_entries_that_a_full_stream_dropped_are_counted(feed_log: FeedLog) -> None:
    feed_log.put(decision("r0"))
    feed_log.collect()
    feed_log.put(*(decision(f"r{number}") for number in range(1, 9)))
    feed_log.client.xtrim(decisions_key(feed_log.namespace), maxlen=3, approximate=False)
    feed_log.collect()
    assert feed_log.metric("dropped_total") == 5
    assert len(feed_log.requests("decisions")) == 4


def test_entries_that_were_deleted_are_not_counted_as_dropped(feed_log: FeedLog) -> None:
    key = decisions_key(feed_log.namespace)
    feed_log.put(decision("r0"))
    feed_log.collect()
    feed_log.put(*(decision(f"r{number}") for number in range(1, 5)))
    ids = [entry_id for entry_id, _ in feed_log.client.xrange(key)]
    feed_log.client.xdel(key, ids[0], ids[2])
    feed_log.collect()
    assert feed_log.requests("decisions") == ["r0", "r2", "r4"]
    assert feed_log.metric("dropped_total") == 0
    feed_log.put(*(decision(f"r{number}") for number in range(5, 8)))
    read = feed_log.client.xreadgroup(GROUP, "collect", {key: ">"}, count=1)[0][1]
    feed_log.client.xdel(key, read[0][0])
    feed_log.collect()
    assert feed_log.requests("decisions") == ["r0", "r2", "r4", "r6", "r7"]
    assert feed_log.client.xpending(key, GROUP)["pending"] == 0
    assert feed_log.metric("dropped_total") == 1  # read, and gone before a file held it


def test_workers_share_the_shards(feed_log: FeedLog, redis_url: str) -> None:
    feed_log.shards = 4
    numbers = range(400)
    stop = threading.Event()

    def work() -> None:
        with redis.Redis.from_url(redis_url) as client:
            collector = feed_log.collector(client)
            while not stop.is_set():
                collector.run(batch=7)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        for start in numbers[::20]:
            feed_log.put(*(decision(f"r{number:03}") for number in range(start, start + 20)))
        until(lambda: len(feed_log.requests("decisions")) == len(numbers))
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    requests = [f"r{number:03}" for number in numbers]
    assert feed_log.requests("decisions") == requests
    assert {shard_of(request, 4) for request in requests} == {0, 1, 2, 3}
    assert feed_log.files.shards() == [0, 1, 2, 3]


def test_a_stop_ends_a_pass_after_the_file_in_hand(feed_log: FeedLog) -> None:
    feed_log.put(*(decision(f"r{number}") for number in range(9)))
    write = feed_log.files.write

    def stopping(*arguments: Any, **options: Any) -> Any:
        feed_log.stop.set()
        return write(*arguments, **options)

    collector = feed_log.collector()
    collector._log.write = stopping  # type: ignore[method-assign]
    assert collector.run(batch=3) == 3
    assert len(feed_log.requests("decisions")) == 3


def test_a_killed_process_loses_and_doubles_nothing(feed_log: FeedLog, redis_url: str) -> None:
    program = (
        "import sys; from pathlib import Path; import threading\n"
        "from training.feed.log_files import LogFolder\n"
        "from training.feed.worker import Worker\n"
        "url, namespace, folder = sys.argv[1:]\n"
        "Worker(url, namespace, LogFolder(Path(folder)), every_s=0.001).run(threading.Event())\n"
    )
    arguments = [redis_url, feed_log.namespace, str(feed_log.folder)]
    sent = ["0000"]
    feed_log.put(decision(sent[0]))
    with child([sys.executable, "-c", program, *arguments]) as worker:
        until(lambda: feed_log.files.current("decisions"))
        while len(feed_log.files.current("decisions")) < 6:
            sent.append(f"{len(sent):04}")
            feed_log.put(decision(sent[-1]))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    feed_log.collect()
    assert feed_log.requests("decisions") == sent


def test_a_forgotten_user_leaves_the_files_and_comes_no_more(feed_log: FeedLog) -> None:
    gone: dict[str, Any] = {"user_id": 'ü"1'}
    other: dict[str, Any] = {"user_id": "u2"}
    feed_log.put(decision("r1", **gone), decision("r2", **other), arrived_ms=NOW_MS)
    feed_log.put(event("r1"), event("r2"), event("x", **gone), arrived_ms=NOW_MS)
    bad = decision("r9", time_ms=1, **gone)
    feed_log.put(bad, arrived_ms=NOW_MS)
    clock = [NOW_MS + 1000]
    collector = feed_log.collector(now_ms=lambda: clock[0])
    collector.run()
    request_forgetting(feed_log.client, feed_log.namespace, 'ü"1', NOW_MS + 1000)
    feed_log.put(decision("r3", **gone), arrived_ms=NOW_MS + 1500)  # it waited in the service
    collector.run()
    assert feed_log.requests("decisions") == ["r1", "r2"]
    clock[0] += GRACE_MS + 1
    collector.run()
    assert feed_log.requests("decisions") == ["r2"]
    assert feed_log.requests("events") == ["r2"]
    assert not len(feed_log.rows("rejected/decisions"))
    assert read_forgotten(feed_log.client, feed_log.namespace) == {}
    feed_log.put(decision("r4", **gone), arrived_ms=NOW_MS + 2 * GRACE_MS)  # came back
    collector.run()
    assert feed_log.requests("decisions") == ["r2", "r4"]


def test_random_batches_are_as_one(feed_log: FeedLog) -> None:
    rng = random.Random(3)
    sent: list[str] = []
    for _ in range(40):
        size = rng.randrange(1, 9)
        sent += [f"{len(sent) + number:05}" for number in range(size)]
        times = [NOW_MS - rng.choice([0, 0, 1, 30]) * HOUR_MS for _ in range(size)]
        feed_log.put(*(event(r, time_ms=t) for r, t in zip(sent[-size:], times, strict=True)))
        feed_log.collect(batch=rng.randrange(1, 5))
    assert feed_log.requests("events") == sent
    rows = feed_log.rows("events")
    assert rows.select(pl.struct("arrived_ms", "sequence").n_unique()).item() == len(sent)
    assert feed_log.client.xlen(events_key(feed_log.namespace)) == 0
